"""Adapters in PEFT's format, which PEFT is not needed to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from minituner.bases import load_base_model
from minituner.causal_lm import CausalLM
from minituner.hf.hub import is_transformers
from minituner.interop.export_folder import new_export, save_export_weights
from minituner.interop.opt_export import is_export_of
from minituner.interop.peft_folder import CONFIG, WEIGHTS
from minituner.interop.peft_import import is_same_folder
from minituner.interop.peft_tensors import library_name, peft_name
from minituner.model import MiniGPT
from minituner.storage.adapter import AdapterConfig, load_adapter, metadata, read_adapter
from minituner.storage.files import write_json
from minituner.storage.tensors import load_safetensors


def export_adapter(
    config: AdapterConfig,
    weights: Mapping[str, Tensor],
    folder: str | Path,
    base: CausalLM,
    base_folder: str,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write an adapter as a folder that ``PeftModel.from_pretrained`` reads.

    Args:
        base: The adapter's base, with or without it.
        base_folder: The folder of the base, of a MiniGPT's export, or a name of the hub; PEFT looks
            for the base there.
        provenance: As in :func:`minituner.storage.adapter.save_adapter`.

    Raises:
        UserError: As :func:`minituner.interop.export_folder.new_export`.
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
                "target_modules": [library_name(layer, base) for layer in lora.target_modules],
                "bias": "none",
                "fan_in_fan_out": _is_transposed(base, lora.target_modules),
                "inference_mode": True,
            },
        )
        save_export_weights(
            new / WEIGHTS,
            {peft_name(name, base): tensor for name, tensor in weights.items()},
            metadata(config, provenance),
        )


def _is_transposed(base: CausalLM, layers: Sequence[str]) -> bool:
    """Whether transformers keeps the weights of these layers as (in, out), as GPT-2's are."""
    transposed = getattr(base, "transposed", ())  # of a TransformersLM, which imports transformers
    return any(layer in transposed for layer in layers)


def export_adapter_file(
    adapter: str | Path,
    base: str | Path,
    folder: str | Path,
    base_folder: str,
    tokenizer: str | Path | None = None,
) -> list[str]:
    """:func:`export_adapter` of a file written by :func:`minituner.storage.adapter.save_adapter`.

    Args:
        tokenizer: That of a transformers base whose folder has none.

    Returns:
        Warnings: PEFT will not find the base in ``base_folder``.

    Raises:
        UserError: The adapter is damaged or was made for another base; or as
            :func:`export_adapter`.
    """
    config, weights = read_adapter(adapter)
    model = load_base_model(base, tokenizer if is_transformers(str(base)) else None)
    warnings = _warnings_on_base_folder(base_folder, model, base)
    load_adapter(adapter, model)  # refuses an adapter of another base
    is_safetensors = Path(adapter).suffix == ".safetensors"
    provenance = load_safetensors(adapter)[1] if is_safetensors else None
    export_adapter(config, weights, folder, model, base_folder, provenance)
    return warnings


def _warnings_on_base_folder(base_folder: str, model: CausalLM, base: str | Path) -> list[str]:
    if isinstance(model, MiniGPT):
        is_the_base = is_export_of(base_folder, model) if base_folder else None
        fix = "write it there with python -m minituner export --to transformers, or name its folder"
    else:
        same_name = base_folder == str(base)  # of the hub, or the folder
        is_the_base = same_name or is_same_folder(base_folder, base)
        fix = "name the base's folder"
    if is_the_base:
        return []
    found = "no base" if is_the_base is None else "another base"
    return [
        f"there is {found} in {base_folder!r}, where PEFT will look for it; {fix} with --base-name"
    ]
