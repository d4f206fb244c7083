"""Bases and adapters as the files that transformers and PEFT read, and back.

MiniGPT maps one to one on an OPT configuration with exact GELU, so nothing is lost or approximated.
Neither library is needed to write or read the files.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minituner.adapter import (
    AdapterConfig,
    load_adapter,
    metadata,
    read_adapter,
    save_adapter,
    wrap_as,
)
from minituner.checkpoint import load_base
from minituner.errors import UserError
from minituner.files import read_json, write_json
from minituner.lora import load_lora_state_dict
from minituner.model import MiniGPT
from minituner.tensors import load_safetensors, save_safetensors, weights_sha256
from minituner.tokenizer import BOS, EOS, PAD, UNK, load_tokenizer, special_id

POSITION_OFFSET = 2  # OPT's position embedding has this many rows before the first position
PREFIX = "base_model.model."  # before every name in a PEFT adapter
# Ours -> OPT's, for what stands in every block.
BLOCK = {
    "ln_1": "self_attn_layer_norm",
    "attn.q_proj": "self_attn.q_proj",
    "attn.k_proj": "self_attn.k_proj",
    "attn.v_proj": "self_attn.v_proj",
    "attn.o_proj": "self_attn.out_proj",
    "ln_2": "final_layer_norm",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
TOP = {
    "token_embedding": "model.decoder.embed_tokens",
    "position_embedding": "model.decoder.embed_positions",
    "ln_f": "model.decoder.final_layer_norm",
}


# --- bases --------------------------------------------------------------------------------------


def export_base(model: MiniGPT, tokenizer_path: str | Path, folder: str | Path) -> None:
    """Write an unwrapped model as a folder that ``AutoModelForCausalLM.from_pretrained`` reads.

    Raises:
        UserError: The tokenizer cannot be used with the model.
    """
    folder = Path(folder)
    tokenizer = load_tokenizer(tokenizer_path, model.config.vocab_size)
    ids = {
        f"{name}_token_id": special_id(tokenizer, token)
        for name, token in (("bos", BOS), ("eos", EOS), ("pad", PAD))
    }
    save_safetensors(folder / "model.safetensors", to_opt(model.state_dict()), {"format": "pt"})
    write_json(folder / "config.json", opt_config(model) | ids)
    write_json(folder / "generation_config.json", {**ids, "do_sample": False})
    shutil.copyfile(tokenizer_path, folder / "tokenizer.json")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": model.config.context_length,
            "padding_side": "right",
            "clean_up_tokenization_spaces": False,
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "unk_token": UNK,
        },
    )


def opt_config(model: MiniGPT) -> dict[str, Any]:
    """The OPT configuration that computes what ``model`` does."""
    shape = model.config
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.d_model,
        "word_embed_proj_dim": shape.d_model,
        "ffn_dim": 4 * shape.d_model,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "max_position_embeddings": shape.context_length,
        "activation_function": "gelu",
        "do_layer_norm_before": True,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "layerdrop": 0.0,
        "torch_dtype": "float32",
    }


def to_opt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A MiniGPT's tensors under OPT's names."""
    weights = {opt_name(name): tensor.detach().contiguous() for name, tensor in state.items()}
    positions = "model.decoder.embed_positions.weight"
    rows = weights[positions]
    weights[positions] = torch.cat([rows.new_zeros(POSITION_OFFSET, rows.shape[1]), rows])
    return weights


def opt_name(name: str) -> str:
    """What OPT calls one of our parameters or layers: ``blocks.0.mlp.fc2.weight`` is
    ``model.decoder.layers.0.fc2.weight``."""
    module, _, part = (
        name.rpartition(".") if name.endswith((".weight", ".bias")) else (name, "", "")
    )
    if module.startswith("blocks."):
        _, layer, inner = module.split(".", 2)
        module = f"model.decoder.layers.{layer}.{BLOCK[inner]}"
    else:
        module = TOP[module]
    return f"{module}.{part}" if part else module


def our_name(layer: str) -> str:
    """What we call a layer of OPT's: the inverse of :func:`opt_name` for what adapters sit on.

    Raises:
        KeyError: It is no layer of OPT's blocks.
    """
    number, _, inner = layer.removeprefix("model.decoder.layers.").partition(".")
    ours = {theirs: name for name, theirs in BLOCK.items()}
    return f"blocks.{int(number)}.{ours[inner]}"


# --- adapters -----------------------------------------------------------------------------------


def export_adapter(
    config: AdapterConfig,
    weights: Mapping[str, Tensor],
    folder: str | Path,
    base_folder: str,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write an adapter as a folder that ``PeftModel.from_pretrained`` reads.

    Args:
        provenance: As in :func:`minituner.adapter.save_adapter`.
        base_folder: What is written as the name of the base: where its export lies.
    """
    folder = Path(folder)
    write_json(
        folder / "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_folder,
            "r": config.r,
            "lora_alpha": config.alpha,
            "lora_dropout": config.dropout,
            "use_rslora": config.use_rslora,
            "use_dora": config.use_dora,
            "target_modules": [opt_name(layer) for layer in config.target_modules],
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
        },
    )
    save_safetensors(
        folder / "adapter_model.safetensors",
        {peft_name(name): tensor for name, tensor in weights.items()},
        metadata(config, provenance),
    )


def import_adapter(folder: str | Path, base_sha256: str) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """Read a folder that PEFT has saved over an exported base.

    Args:
        base_sha256: The :func:`minituner.tensors.weights_sha256` of that base.

    Raises:
        UserError: A file is missing or damaged, or the adapter is of a kind that ours is not.
    """
    folder = Path(folder)
    path = folder / "adapter_config.json"
    values = _read_json(path)
    weights, _ = load_safetensors(folder / "adapter_model.safetensors")
    _refuse_other_kinds(path, values)
    try:
        ours = {our_adapter_name(name): tensor for name, tensor in weights.items()}
    except (KeyError, ValueError) as error:
        raise UserError(
            folder / "adapter_model.safetensors",
            "adapts a layer that a MiniGPT has not",
            found=str(error),
            expected=f"layers of OPT's blocks: {', '.join(BLOCK.values())}",
            mend="train the adapter over a base exported by python -m minituner export",
        ) from error
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in ours))
    config = AdapterConfig(
        base_sha256=base_sha256,
        r=int(values["r"]),
        alpha=float(values["lora_alpha"]),
        dropout=float(values.get("lora_dropout", 0.0)),
        target_modules=tuple(layers),
        seed=0,
        use_rslora=bool(values.get("use_rslora", False)),
        use_dora=bool(values.get("use_dora", False)),
    )
    return config, ours


def _refuse_other_kinds(path: Path, values: Mapping[str, Any]) -> None:
    wanted = {
        "peft_type": "LORA",
        "bias": "none",
        "fan_in_fan_out": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
    }
    for key, expected in wanted.items():
        found = values.get(key, expected)
        if found != expected:
            raise UserError(
                f"{path}: {key}",
                "is an adapter of another kind",
                found=found,
                expected=str(expected),
                mend="train it with plain LoRA, rsLoRA or DoRA, the same for every layer",
            )
    missing = [key for key in ("r", "lora_alpha") if key not in values]
    if missing:
        raise UserError(
            path,
            "is no LoRA config",
            found=f"no {missing[0]}",
            expected="r and lora_alpha",
            mend="name a folder that PEFT's save_pretrained has written",
        )


def peft_name(name: str) -> str:
    """``blocks.0.mlp.fc2.lora_A`` is ``base_model.model.model.decoder.layers.0.fc2.lora_A.weight``;
    DoRA's magnitude is PEFT's ``lora_magnitude_vector``, without an ending."""
    layer, _, part = name.rpartition(".")
    part = "lora_magnitude_vector" if part == "magnitude" else f"{part}.weight"
    return f"{PREFIX}{opt_name(layer)}.{part}"


def our_adapter_name(name: str) -> str:
    """The inverse of :func:`peft_name`.

    Raises:
        KeyError, ValueError: It is no tensor of an adapter over OPT's blocks.
    """
    layer, _, part = name.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
    parts = {"lora_A": "lora_A", "lora_B": "lora_B", "lora_magnitude_vector": "magnitude"}
    return f"{our_name(layer)}.{parts[part]}"


# --- from file to file --------------------------------------------------------------------------


def export_adapter_file(
    adapter: str | Path, base: str | Path, folder: str | Path, base_folder: str
) -> None:
    """:func:`export_adapter` of a file of :func:`minituner.adapter.save_adapter`.

    Raises:
        UserError: The adapter is damaged or was made for another base.
    """
    config, weights = read_adapter(adapter)
    load_adapter(adapter, load_base(base))  # refuses another base
    _, provenance = (
        load_safetensors(adapter) if Path(adapter).suffix == ".safetensors" else ({}, {})
    )
    export_adapter(config, weights, folder, base_folder, provenance)


def import_adapter_file(folder: str | Path, base: str | Path, adapter: str | Path) -> None:
    """Write what PEFT has trained over an exported base as an adapter file of ours.

    Raises:
        UserError: It is no such adapter, or does not fit the base.
    """
    model = load_base(base)
    base_sha256 = weights_sha256(model.state_dict())
    config, weights = import_adapter(folder, base_sha256)
    wrap_as(model, config)
    load_lora_state_dict(model, weights, str(folder))
    save_adapter(adapter, model, base_sha256, config.seed)


# --- files --------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            path,
            "cannot be read",
            found=str(error).splitlines()[0],
            expected="the JSON that PEFT's save_pretrained has written",
            mend="name the folder that holds adapter_config.json",
        ) from error
    return values
