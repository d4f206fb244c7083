"""What PEFT says of an adapter in adapter_config.json; taken only if ours can compute the same.

Every key is on a list: it is read, or it must be empty, or it makes no difference here. A key that
is on none, of a newer PEFT, is refused unless it is empty: what PEFT adds is off while its key is
null, false or an empty list, table or text, and could compute anything while it is not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.storage.text import read_text

# What a trained adapter's numbers do not depend on, and why.
HARMLESS = {
    "auto_mapping": "the class of the base",
    "corda_config": "how CorDA starts; init_lora_weights says whether it did",
    "ensure_weight_tying": "for layers tied to the embedding; their adapters are refused anyway",
    "eva_config": "how EVA starts, which leaves the base as it is",
    "inference_mode": "whether PEFT loads it to be trained further",
    "layers_pattern": "the list that layers_to_transform counts in; OPT has one list of blocks",
    "loftq_config": "how LoftQ starts; init_lora_weights says whether it did",
    "lora_ga_config": "how LoRA-GA starts; init_lora_weights says whether it did",
    "megatron_core": "used with megatron_config alone",
    "peft_version": "what wrote the file",
    "qalora_group_size": "used with use_qalora alone",
    "revision": "the version of a base on the Hub; ours is a folder",
    "runtime_config": "how it is computed; PEFT itself does not read it from a file",
}
# What must be empty, and what it does otherwise.
OTHER_KINDS = {
    "alora_invocation_tokens": "Activated LoRA: it works only after certain tokens",
    "arrow_config": "Arrow: it chooses among several adapters",
    "fan_in_fan_out": "the weights of the base are transposed, which those of OPT are not",
    "kasa_config": "KaSA: it changes the base and scales each rank",
    "layer_replication": "blocks of the base are repeated",
    "lora_bias": "B has a bias",
    "megatron_config": "layers of Megatron's, cut up over several machines",
    "modules_to_save": "whole layers are trained beside the adapter",
    "monteclora_config": "MonteCLoRA: it draws its weights",
    "target_parameters": "parameters are adapted instead of layers",
    "trainable_token_indices": "rows of the embedding are trained",
    "use_bdlora": "BD-LoRA: A or B is made of blocks",
    "use_qalora": "QA-LoRA: its inputs are pooled",
    "velora_config": "VeLoRA: it keeps tensors beside A and B",
}
# How A and B may start: all of these leave the base as it is. "false" draws both.
STARTS = ("true", "false", "gaussian", "eva", "orthogonal", "mica")
# These take their start out of the base's weights, and PEFT can put it back when it saves.
CONVERTIBLE = ("pissa", "olora", "corda", "lora_ga")


@dataclass(frozen=True)
class PeftConfig:
    """The keys that are read, under PEFT's names; of those that are empty, PEFT's default."""

    r: int
    lora_alpha: float
    lora_dropout: float
    use_rslora: bool
    use_dora: bool
    base_model_name_or_path: str
    target_modules: str | list[str]
    exclude_modules: str | list[str]
    layers_to_transform: int | list[int]

    def selects(self, layer: str) -> bool:
        """Whether PEFT adapts a layer of the base by that name, such as
        ``model.decoder.layers.0.fc1``."""
        wanted = self.target_modules
        if self.exclude_modules and _matches(self.exclude_modules, layer):
            return False
        if isinstance(wanted, str):
            return wanted.lower() == "all-linear" or _matches(wanted, layer)
        return _matches(wanted, layer) and self._in_a_chosen_block(layer)

    def _in_a_chosen_block(self, layer: str) -> bool:
        chosen = self.layers_to_transform
        block = int(layer.removeprefix("model.decoder.layers.").partition(".")[0])
        return chosen == [] or block in ([chosen] if isinstance(chosen, int) else chosen)


def _matches(wanted: str | list[str], layer: str) -> bool:
    """As PEFT does it: a text is a pattern for the whole name, a list has names or endings."""
    if isinstance(wanted, str):
        return re.fullmatch(wanted, layer) is not None
    return any(layer == name or layer.endswith(f".{name}") for name in wanted)


def read_peft_config(path: Path) -> PeftConfig:
    """Read an adapter_config.json.

    Raises:
        UserError: It cannot be read, a value is of a wrong type, or the adapter is of a kind that
            ours is not; all such keys at once.
    """
    values = _read_object(path)
    mistakes = Mistakes()
    for key, value in values.items():
        if (error := _mistake(path, key, value)) is not None:
            mistakes.add(error)
    for key in sorted({"peft_type", "r", "lora_alpha"} - values.keys()):
        mistakes.add(_wrong(path, key, "is missing", "nothing", READ[key][1]))
    mistakes.raise_if_any()
    _refuse_uneven(path, values)
    chosen: Any = values.get("layers_to_transform")
    return PeftConfig(
        r=int(values["r"]),
        lora_alpha=float(values["lora_alpha"]),
        lora_dropout=float(values.get("lora_dropout") or 0.0),
        use_rslora=bool(values.get("use_rslora")),
        use_dora=bool(values.get("use_dora")),
        base_model_name_or_path=values.get("base_model_name_or_path") or "",
        target_modules=values.get("target_modules") or [],
        exclude_modules=values.get("exclude_modules") or [],
        layers_to_transform=[] if is_empty(chosen) else chosen,
    )


def _read_object(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        found = str(error)
    else:
        if isinstance(values, dict):
            return values
        found = f"JSON, but not of keys and values: {text.strip()}"
    raise UserError(
        path,
        "cannot be read as JSON of keys and values",
        found=found,
        expected="the JSON that PEFT's save_pretrained has written",
        fix="save the adapter again with PEFT's save_pretrained",
    )


# --- types --------------------------------------------------------------------------------------


def is_empty(value: object) -> bool:
    """Whether a value says none: null, false, or an empty list, table or text; 0 is a number."""
    return value is None or value is False or (isinstance(value, list | dict | str) and not value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # no number; one of hundreds of digits
        return False


def _is_switch(value: object) -> bool:
    return value is True or is_empty(value)


def _are_layers(value: object) -> bool:
    """Names of layers, or one pattern for them; also none."""
    if isinstance(value, str):
        try:
            return bool(re.compile(value))
        except (re.error, OverflowError, RecursionError):
            return False
    return is_empty(value) or _is_list_of(str, value)


def _are_blocks(value: object) -> bool:
    return is_empty(value) or _is_whole(value) or _is_list_of(int, value)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


# What is read: whether a value can be, and the words for what can.
READ: dict[str, tuple[Callable[[Any], bool], str]] = {
    "alpha_pattern": (
        lambda value: is_empty(value) or isinstance(value, dict),
        "a table, of no other alpha than lora_alpha",
    ),
    "base_model_name_or_path": (
        lambda value: is_empty(value) or isinstance(value, str),
        "the name of the base, as text",
    ),
    "bias": (lambda value: value == "none" or is_empty(value), '"none"'),
    "exclude_modules": (_are_layers, "names of layers, or one pattern for them"),
    "init_lora_weights": (
        lambda value: is_empty(value) or json.dumps(value).strip('"').lower() in STARTS,
        f"a start that leaves the base as it is: {', '.join(STARTS)}",
    ),
    "layers_to_transform": (_are_blocks, "numbers of blocks, or one number"),
    "lora_alpha": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "lora_dropout": (
        lambda value: is_empty(value) or (_is_number(value) and 0 <= value < 1),
        "a number from 0 to below 1",
    ),
    "peft_type": (lambda value: value == "LORA", '"LORA"'),
    "r": (lambda value: _is_whole(value) and value >= 1, "a whole number from 1 on"),
    "rank_pattern": (
        lambda value: is_empty(value) or isinstance(value, dict),
        "a table, of no other rank than r",
    ),
    "target_modules": (_are_layers, "names of layers, or one pattern for them"),
    "task_type": (lambda value: value == "CAUSAL_LM" or is_empty(value), '"CAUSAL_LM" or null'),
    "use_dora": (_is_switch, "true or false"),
    "use_rslora": (_is_switch, "true or false"),
}
# A wrong value of these is a kind of adapter rather than a slip.
KINDS = ("bias", "init_lora_weights", "peft_type", "task_type")


# --- refusals -----------------------------------------------------------------------------------


def _mistake(path: Path, key: str, value: object) -> UserError | None:
    """What is wrong with one key, if anything is."""
    other_kind = "is an adapter of another kind"
    if key in READ:
        fits, expected = READ[key]
        if fits(value):
            return None
        what = other_kind if key in KINDS else "is not what PEFT writes there"
        return _wrong(path, key, what, value, expected)
    if key in HARMLESS or is_empty(value):
        return None
    if key in OTHER_KINDS:
        return _wrong(
            path, key, f"{other_kind} ({OTHER_KINDS[key]})", value, "null, false or empty"
        )
    return _wrong(path, key, "is not known here; a newer PEFT's?", value, "null, false or empty")


def _refuse_uneven(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse ranks or alphas of single layers, unless they are those of all."""
    for key, common in (("rank_pattern", values["r"]), ("alpha_pattern", values["lora_alpha"])):
        pattern = values.get(key) or {}
        if any(value != common for value in pattern.values()):
            what = "is an adapter of another kind (not all its layers are alike)"
            raise _wrong(path, key, what, pattern, f"none other than {common}")


def _wrong(path: Path, key: str, what: str, value: object, expected: str) -> UserError:
    shown = value if what == "is missing" else json.dumps(value, ensure_ascii=False)
    return UserError(f"{path}: {key}", what, found=shown, expected=expected, fix=_fix(key, value))


def _fix(key: str, value: object) -> str:
    start = str(value).lower()
    if key == "init_lora_weights" and start.startswith(CONVERTIBLE):
        return (
            "save it with save_pretrained(..., path_initial_model_for_weight_conversion=...), "
            "which makes plain LoRA of it"
        )
    if key in KINDS or key in OTHER_KINDS or key.endswith("_pattern"):
        return "train it with plain LoRA, rsLoRA or DoRA, the same for every layer"
    if key in READ:
        return "save the adapter again with PEFT's save_pretrained"
    return "train it without; if the key changes nothing of what is computed, delete it"
