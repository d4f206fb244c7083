"""PEFT's adapter_config.json, accepted only if a minituner adapter can compute the same.

Every key is in one of three tables: it is read, it must be empty, or it makes no difference here. A
key in none of them comes from a newer PEFT and is refused unless it is empty: a feature is off if
its key is null, false or an empty list, object or string, and could compute anything otherwise.
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

# Keys that the output of a trained adapter does not depend on, and why.
HARMLESS = {
    "auto_mapping": "the class of the base",
    "corda_config": "the initialization by CorDA; init_lora_weights says whether it was used",
    "ensure_weight_tying": "for layers tied to the embedding; their adapters are refused anyway",
    "eva_config": "the initialization by EVA, which leaves the base unchanged",
    "fan_in_fan_out": "whether the base's weights are transposed; PEFT itself looks at the layer",
    "inference_mode": "whether PEFT loads it to be trained further",
    "loftq_config": "the initialization by LoftQ; init_lora_weights says whether it was used",
    "lora_ga_config": "the initialization by LoRA-GA; init_lora_weights says whether it was used",
    "megatron_core": "used only with megatron_config",
    "peft_version": "the version that wrote the file",
    "qalora_group_size": "used only with use_qalora",
    "revision": "the version of a base on the Hub; an exported base is a folder",
    "runtime_config": "runtime options; PEFT itself does not read them from a file",
}
# Keys that must be empty, and what they do otherwise.
OTHER_KINDS = {
    "alora_invocation_tokens": "Activated LoRA: it is active only after certain tokens",
    "arrow_config": "Arrow: it chooses among several adapters",
    "kasa_config": "KaSA: it changes the base and scales each rank",
    "layer_replication": "blocks of the base are repeated",
    "lora_bias": "B has a bias",
    "megatron_config": "Megatron layers, split over several devices",
    "modules_to_save": "whole layers are trained in addition to the adapter",
    "monteclora_config": "MonteCLoRA: it samples its weights",
    "target_parameters": "parameters are adapted instead of layers",
    "trainable_token_indices": "rows of the embedding are trained",
    "use_bdlora": "BD-LoRA: A or B is block-diagonal",
    "use_qalora": "QA-LoRA: its inputs are pooled",
    "velora_config": "VeLoRA: it has tensors in addition to A and B",
}
# The values of init_lora_weights that leave the base unchanged; "false" draws both A and B.
INITIALIZATIONS = ("true", "false", "gaussian", "eva", "orthogonal", "mica")
# These subtract the initial update from the base's weights; PEFT can convert them when it saves.
CONVERTIBLE = ("pissa", "olora", "corda", "lora_ga")


@dataclass(frozen=True)
class PeftConfig:
    """The keys that are read, under PEFT's names; for an empty one, PEFT's default."""

    r: int
    lora_alpha: float
    lora_dropout: float
    use_rslora: bool
    use_dora: bool
    base_model_name_or_path: str
    target_modules: str | list[str]
    exclude_modules: str | list[str]
    layers_to_transform: int | list[int]
    layers_pattern: str | list[str] = ""  # the lists that the numbers count in; empty for any

    def selects(self, layer: str) -> bool:
        """Whether PEFT adapts the layer of this name, such as ``model.decoder.layers.0.fc1``."""
        targets = self.target_modules
        if self.exclude_modules and _matches(self.exclude_modules, layer):
            return False
        if isinstance(targets, str):
            return targets.lower() == "all-linear" or _matches(targets, layer)
        return _matches(targets, layer) and self._is_in_selected_block(layer)

    def _is_in_selected_block(self, layer: str) -> bool:
        """As in ``check_target_module_exists`` of PEFT 0.21: the first number of the name counts,
        or that after the name of a list."""
        selected = self.layers_to_transform
        if selected == []:
            return True
        lists = self.layers_pattern or r"[^.]*"
        for name in [lists] if isinstance(lists, str) else lists:
            begin = r"(?:^|.*?\.)" if self.layers_pattern else r".*?\."
            if found := re.match(rf"{begin}{name}\.(?P<block>\d+)\.", layer):
                block = int(found["block"])
                return block in ([selected] if isinstance(selected, int) else selected)
        return False


def _matches(targets: str | list[str], layer: str) -> bool:
    """PEFT's matching: a string is a pattern for the whole name, a list has names or endings."""
    if isinstance(targets, str):
        return re.fullmatch(targets, layer) is not None
    return any(layer == name or layer.endswith(f".{name}") for name in targets)


def read_peft_config(path: Path) -> PeftConfig:
    """Read an adapter_config.json.

    Raises:
        UserError: It cannot be read, a value is of a wrong type, or the adapter is of a kind that
            minituner does not have; all such keys in one message.
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
    blocks: Any = values.get("layers_to_transform")
    return PeftConfig(
        r=int(values["r"]),
        lora_alpha=float(values["lora_alpha"]),
        lora_dropout=float(values.get("lora_dropout") or 0.0),
        use_rslora=bool(values.get("use_rslora")),
        use_dora=bool(values.get("use_dora")),
        base_model_name_or_path=values.get("base_model_name_or_path") or "",
        target_modules=values.get("target_modules") or [],
        exclude_modules=values.get("exclude_modules") or [],
        layers_to_transform=[] if is_empty(blocks) else blocks,
        layers_pattern=values.get("layers_pattern") or "",
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
        found = f"JSON, but not an object: {text.strip()}"
    raise UserError(
        path,
        "cannot be read as a JSON object",
        found=found,
        expected="the JSON that PEFT's save_pretrained writes",
        fix="save the adapter again with PEFT's save_pretrained",
    )


# --- types --------------------------------------------------------------------------------------


def is_empty(value: object) -> bool:
    """Whether a value means none: null, false, or an empty list, object or string, but not 0."""
    return value is None or value is False or (isinstance(value, list | dict | str) and not value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # not a number; an integer of hundreds of digits
        return False


def _is_flag(value: object) -> bool:
    return value is True or is_empty(value)


def _is_layer_selection(value: object) -> bool:
    """Whether a value is a list of layer names, one pattern for them, or empty."""
    if isinstance(value, str):
        try:
            return bool(re.compile(value))
        except (re.error, OverflowError, RecursionError):
            return False
    return is_empty(value) or _is_list_of(str, value)


def _is_block_selection(value: object) -> bool:
    return is_empty(value) or _is_whole(value) or _is_list_of(int, value)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


# Keys that are read: a check of the value, and a description of the values that pass it.
READ: dict[str, tuple[Callable[[Any], bool], str]] = {
    "alpha_pattern": (
        lambda value: is_empty(value) or isinstance(value, dict),
        "an object with no alpha other than lora_alpha",
    ),
    "base_model_name_or_path": (
        lambda value: is_empty(value) or isinstance(value, str),
        "the name of the base, as a string",
    ),
    "bias": (lambda value: value == "none" or is_empty(value), '"none"'),
    "exclude_modules": (_is_layer_selection, "a list of layer names, or one pattern for them"),
    "init_lora_weights": (
        lambda value: is_empty(value) or json.dumps(value).strip('"').lower() in INITIALIZATIONS,
        f"an initialization that leaves the base unchanged: {', '.join(INITIALIZATIONS)}",
    ),
    "layers_pattern": (_is_layer_selection, "the name of a list of blocks, or several"),
    "layers_to_transform": (_is_block_selection, "a list of block numbers, or one number"),
    "lora_alpha": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "lora_dropout": (
        lambda value: is_empty(value) or (_is_number(value) and 0 <= value < 1),
        "a number of at least 0 and below 1",
    ),
    "peft_type": (lambda value: value == "LORA", '"LORA"'),
    "r": (lambda value: _is_whole(value) and value >= 1, "a whole number of at least 1"),
    "rank_pattern": (
        lambda value: is_empty(value) or isinstance(value, dict),
        "an object with no rank other than r",
    ),
    "target_modules": (_is_layer_selection, "a list of layer names, or one pattern for them"),
    "task_type": (lambda value: value == "CAUSAL_LM" or is_empty(value), '"CAUSAL_LM" or null'),
    "use_dora": (_is_flag, "true or false"),
    "use_rslora": (_is_flag, "true or false"),
}
# A wrong value of these keys means another kind of adapter, not a mistake in the file.
KINDS = ("bias", "init_lora_weights", "peft_type", "task_type")


# --- refusals -----------------------------------------------------------------------------------


def _mistake(path: Path, key: str, value: object) -> UserError | None:
    """The error in one key; None if there is none."""
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
    return _wrong(
        path, key, "is not a known key; from a newer PEFT?", value, "null, false or empty"
    )


def _refuse_uneven(path: Path, values: Mapping[str, Any]) -> None:
    """Refuse ranks or alphas of single layers, unless they equal the common ones."""
    for key, common in (("rank_pattern", values["r"]), ("alpha_pattern", values["lora_alpha"])):
        pattern = values.get(key) or {}
        if any(value != common for value in pattern.values()):
            what = "is an adapter of another kind (its layers differ in rank or alpha)"
            raise _wrong(path, key, what, pattern, f"no value other than {common}")


def _wrong(path: Path, key: str, what: str, value: object, expected: str) -> UserError:
    shown = value if what == "is missing" else json.dumps(value, ensure_ascii=False)
    return UserError(f"{path}: {key}", what, found=shown, expected=expected, fix=_fix(key, value))


def _fix(key: str, value: object) -> str:
    if key == "init_lora_weights" and str(value).lower().startswith(CONVERTIBLE):
        return (
            "save it with save_pretrained(..., path_initial_model_for_weight_conversion=...), "
            "which converts it to plain LoRA"
        )
    if key in KINDS or key in OTHER_KINDS or key.endswith("_pattern"):
        return "train it with plain LoRA, rsLoRA or DoRA, the same for every layer"
    if key in READ:
        return "save the adapter again with PEFT's save_pretrained"
    return "train the adapter without it; if the key does not change the output, delete it"
