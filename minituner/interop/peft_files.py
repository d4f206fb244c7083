"""Adapters as the folders that PEFT reads and writes.

An imported adapter computes what PEFT's does, or it is refused: its config is held against a list
(:mod:`minituner.interop.peft_config`), its tensors against the base. PEFT is not needed for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from minituner.adapter_tensors import load_lora_state_dict
from minituner.errors import UserError
from minituner.interop.adapter_folders import CONFIG, WEIGHTS, require_adapter_folder
from minituner.interop.exports import new_export, save_export_weights
from minituner.interop.opt import is_export_of, opt_name
from minituner.interop.peft_config import PeftConfig, read_peft_config
from minituner.interop.peft_tensors import changes_nothing, our_tensors, peft_name
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.storage.adapter import (
    AdapterConfig,
    load_adapter,
    metadata,
    read_adapter,
    save_adapter,
)
from minituner.storage.checkpoint import load_base
from minituner.storage.files import write_json
from minituner.storage.tensors import load_safetensors, weights_sha256
from minituner.storage.text import unreadable

# --- export -------------------------------------------------------------------------------------


def export_adapter(
    config: AdapterConfig,
    weights: Mapping[str, Tensor],
    folder: str | Path,
    base_folder: str,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write an adapter as a folder that ``PeftModel.from_pretrained`` reads.

    Args:
        provenance: As in :func:`minituner.storage.adapter.save_adapter`.
        base_folder: What is written as the name of the base: where its export lies.

    Raises:
        UserError: As :func:`minituner.interop.exports.new_export`.
    """
    lora = config.lora
    with new_export(folder, WEIGHTS) as new:
        write_json(
            new / CONFIG,
            {
                "peft_type": "LORA",
                "task_type": "CAUSAL_LM",
                "base_model_name_or_path": base_folder,
                "r": lora.r,
                "lora_alpha": lora.alpha,
                "lora_dropout": lora.dropout,
                "use_rslora": lora.use_rslora,
                "use_dora": lora.use_dora,
                "target_modules": [opt_name(layer) for layer in lora.target_modules],
                "bias": "none",
                "fan_in_fan_out": False,
                "inference_mode": True,
            },
        )
        save_export_weights(
            new / WEIGHTS,
            {peft_name(name): tensor for name, tensor in weights.items()},
            metadata(config, provenance),
        )


def export_adapter_file(
    adapter: str | Path, base: str | Path, folder: str | Path, base_folder: str
) -> list[str]:
    """:func:`export_adapter` of a file of :func:`minituner.storage.adapter.save_adapter`.

    Returns:
        What the user should know of the export: whether PEFT will find the base.

    Raises:
        UserError: The adapter is damaged or was made for another base; or as
            :func:`export_adapter`.
    """
    config, weights = read_adapter(adapter)
    model = load_base(base)
    notes = _notes_on_base_folder(base_folder, model)
    load_adapter(adapter, model)  # refuses another base
    _, provenance = (
        load_safetensors(adapter) if Path(adapter).suffix == ".safetensors" else ({}, {})
    )
    export_adapter(config, weights, folder, base_folder, provenance)
    return notes


def _notes_on_base_folder(base_folder: str, model: MiniGPT) -> list[str]:
    the_base = is_export_of(base_folder, model) if base_folder else None
    if the_base:
        return []
    lies_there = "no base" if the_base is None else "another base"
    return [
        f"{lies_there} lies in {base_folder!r}, where PEFT will look for it; write it there with "
        "python -m minituner export --to transformers, or name its folder with --base-name"
    ]


# --- import -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """An adapter of PEFT's as one of ours.

    Args:
        notes: What the user should know of it.
    """

    config: AdapterConfig
    weights: dict[str, Tensor]
    notes: list[str]


def import_adapter(folder: str | Path, base: MiniGPT) -> Imported:
    """Read a folder that PEFT has saved over an exported base.

    Args:
        base: That base, unwrapped.

    Raises:
        UserError: A file is missing or damaged, the adapter is of a kind that ours is not, or it
            was trained over another base.
    """
    folder = Path(folder)
    require_adapter_folder(folder)
    theirs = read_peft_config(folder / CONFIG)
    weights, texts = load_safetensors(folder / WEIGHTS)
    base_sha256 = weights_sha256(base.state_dict())
    notes = _notes_on_base(folder, theirs, texts.get("base_sha256"), base, base_sha256)
    ours = our_tensors(folder, weights, theirs, base)
    layers = tuple(dict.fromkeys(name.rpartition(".")[0] for name in ours))
    if changes_nothing(ours, base):
        notes.append(f"the adapter changes nothing: A or B is zero in every layer of {folder}")
    lora = LoRAConfig(
        r=theirs.r,
        alpha=theirs.lora_alpha,
        dropout=theirs.lora_dropout,
        target_modules=layers,
        use_rslora=theirs.use_rslora,
        use_dora=theirs.use_dora,
    )
    config = AdapterConfig(base_sha256, lora, seed=0)
    return Imported(config, ours, notes)


def import_adapter_file(folder: str | Path, base: str | Path, adapter: str | Path) -> list[str]:
    """Write what PEFT has trained over an exported base as an adapter file of ours.

    Returns:
        The notes of :class:`Imported`.

    Raises:
        UserError: It is no such adapter, does not fit the base, or ``adapter`` is neither new nor
            an adapter of ours.
    """
    _require_adapter_path(Path(adapter))
    model = load_base(base)
    imported = import_adapter(folder, model)
    wrap(model, imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights, str(folder))
    save_adapter(adapter, model, imported.config.base_sha256, imported.config.seed)
    return imported.notes


def _require_adapter_path(path: Path) -> None:
    """Refuse to write where the file would not be read again, or over anything but an adapter."""
    found = None if path.suffix in (".pt", ".safetensors") else f"an ending {path.suffix!r}"
    try:
        if path.exists() or path.is_symlink():
            read_adapter(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except UserError:
        found = "something else that lies there"
    if found:
        raise UserError(
            path,
            "cannot take an adapter",
            found=found,
            expected="a new file, or a former adapter of minituner's, that ends in .pt or "
            ".safetensors",
            fix="name another file",
        )


# --- the base -----------------------------------------------------------------------------------


def _notes_on_base(
    folder: Path, theirs: PeftConfig, recorded: str | None, base: MiniGPT, base_sha256: str
) -> list[str]:
    """Refuse an adapter that was trained over another base, and say so where it cannot be told.

    Args:
        recorded: The base's hash that our own exports carry.
    """
    named = theirs.base_model_name_or_path
    if recorded is not None:
        the_base: bool | None = recorded == base_sha256
    else:
        the_base = is_export_of(named, base) if named else None
    if the_base is None:
        return [
            f"{folder / CONFIG}: base_model_name_or_path: no base lies in {named!r}, so it is not "
            "known whether the adapter was trained over this one"
        ]
    if not the_base:
        raise UserError(
            f"{folder / CONFIG}: base_model_name_or_path",
            "was trained over another base",
            found=f"{named}, with other weights"
            if recorded is None
            else f"base {recorded[:12]}, as {WEIGHTS} says",
            expected=f"base {base_sha256[:12]}",
            fix="name that base with --base, or train the adapter over an export of this one",
        )
    return []
