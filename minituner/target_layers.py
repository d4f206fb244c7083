"""The linear layers that get an adapter: chosen by name, and by their transformer layer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from minituner.errors import UserError

ALL_LINEAR = "all-linear"  # as in PEFT: every linear layer except the output head
Layers = str | tuple[int, ...] | None  # "last 8", "first 2", numbers counted from 0, or all
FORMAT = "null (all), `last 8`, `first 2`, or layer numbers counted from 0, such as [0, 5]"


def is_layers(value: object) -> bool:
    """Whether a value is of the type :data:`Layers`, with at least one layer and none twice."""
    if isinstance(value, tuple):
        whole = all(type(number) is int and number >= 0 for number in value)
        return whole and 0 < len(value) == len(set(value))
    return value is None or (
        isinstance(value, str) and bool(re.fullmatch(r"(first|last) [1-9][0-9]*", value))
    )


def select_layers(
    names: Sequence[str], target_modules: Sequence[str], layers: Layers = None
) -> list[str]:
    """The layers that get an adapter, in the model's order.

    Args:
        names: The model's linear layers (:func:`minituner.causal_lm.linear_layers`), by their
            dotted names.
        target_modules: Names or their dotted endings, or ``all-linear``.
        layers: The transformer layers to which the choice is restricted.

    Raises:
        UserError: A target matches nothing, there are not that many layers, one of them holds no
            target, or a target is in none of them.
    """
    matched = {target: _matching(names, target) for target in target_modules}
    unmatched = [target for target, found in matched.items() if not found]
    if unmatched or not matched:
        endings = sorted({".".join(name.split(".")[-2:]) for name in names})
        raise UserError(
            "target_modules",
            "matches no linear layer of the model",
            found=", ".join(unmatched) or "an empty list",
            expected=f"{ALL_LINEAR}, layer names or their endings: {', '.join(endings) or 'none'}",
            fix="name at least one of those",
        )
    if layers is not None:
        matched = _restricted(matched, layers, layer_numbers(names))
    return [name for name in names if any(name in found for found in matched.values())]


def _matching(names: Iterable[str], target: str) -> set[str]:
    if target == ALL_LINEAR:
        return set(names)
    return {name for name in names if name == target or name.endswith(f".{target}")}


def _restricted(
    matched: Mapping[str, set[str]], layers: str | tuple[int, ...], number_of: Mapping[str, int]
) -> dict[str, set[str]]:
    """What each target matches in the chosen transformer layers.

    Raises:
        UserError: As in :func:`select_layers`.
    """
    chosen = choose_numbers(layers, sorted(set(number_of.values())))
    inside = {
        target: {name for name in found if number_of.get(name) in chosen}
        for target, found in matched.items()
    }
    missing = [target for target, found in inside.items() if not found]
    empty = chosen - {number_of[name] for found in inside.values() for name in found}
    if missing or empty:
        wanted = [name for target in missing or matched for name in matched[target]]
        elsewhere = {number_of[name] for name in wanted if name in number_of}
        raise UserError(
            "layers",
            "a target is in none of the chosen layers"
            if missing
            else "a chosen layer holds none of the targets",
            found=f"no {' or '.join(missing or matched)} in {numbers_shown(empty or chosen)}",
            expected=f"layers with one, which are in {numbers_shown(elsewhere)}",
            fix="choose other layers, or other target_modules",
        )
    return inside


def layer_numbers(names: Iterable[str]) -> dict[str, int]:
    """The number of the transformer layer of each name that is in one: 3 for
    ``model.layers.3.mlp.up_proj``, ``transformer.h.3.attn.c_proj`` or ``blocks.3.mlp.fc2``.

    It is the first number in a name. If names have numbers after different beginnings, the list of
    layers is the one that holds most of the names.
    """
    lists: dict[str, dict[str, int]] = defaultdict(dict)
    for name in names:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdecimal():
                lists[".".join(parts[:i])][name] = int(part)
                break
    return max(lists.values(), key=len, default={})


def layer_list(names: Iterable[str]) -> str | None:
    """The dotted name of the list that :func:`layer_numbers` counts in, such as ``model.layers``;
    None if there is none."""
    for name, number in layer_numbers(names).items():
        parts = name.split(".")
        return ".".join(parts[: parts.index(str(number))])
    return None


def choose_numbers(layers: str | Sequence[int], existing: Sequence[int]) -> set[int]:
    """The numbers of the chosen layers.

    Args:
        existing: The numbers of the model's layers, ascending.

    Raises:
        UserError: There are fewer layers, or a number does not exist.
    """
    if isinstance(layers, str):
        end, count = layers.split()
        wrong = "" if int(count) <= len(existing) else layers
        chosen = existing[-int(count) :] if end == "last" else existing[: int(count)]
    else:
        wrong = ", ".join(str(number) for number in layers if number not in existing)
        chosen = layers
    if wrong:
        raise UserError(
            "layers",
            "asks for layers that the model does not have",
            found=wrong,
            expected=f"some of {numbers_shown(existing)}" if existing else "null: it has no list",
            fix="choose among those, or all with null",
        )
    return set(chosen)


def numbers_shown(numbers: Iterable[int]) -> str:
    """Numbers of layers in words: ``layer 3``, ``layers 0 and 5``, ``layers 0 to 11``."""
    ordered = sorted(numbers)
    if not ordered:
        return "no layer"
    if len(ordered) == 1:
        return f"layer {ordered[0]}"
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"layers {ordered[0]} to {ordered[-1]}"
    return f"layers {', '.join(map(str, ordered[:-1]))} and {ordered[-1]}"
