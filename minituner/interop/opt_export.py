"""Bases in transformers' format.

MiniGPT maps one to one on an OPT configuration with exact GELU, so nothing is lost or approximated.
The library is not needed to write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minituner.errors import UserError
from minituner.interop.export_folder import new_export, save_export_weights
from minituner.interop.export_record import KIND, MERGED
from minituner.lora import lora_layers
from minituner.model import MiniGPT
from minituner.storage.files import copy_file, write_json
from minituner.storage.tensors import read_safetensors
from minituner.storage.text import unreadable
from minituner.tokenizer import BOS, EOS, PAD, UNK, load_tokenizer

WEIGHTS = "model.safetensors"
POSITIONS = "model.decoder.embed_positions.weight"
POSITION_OFFSET = 2  # OPT's position embedding has this many rows before the first position
# MiniGPT's names and OPT's: the layers of each block, and those outside the blocks.
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


def export_base(
    model: MiniGPT, tokenizer_path: str | Path, folder: str | Path, merged: bool = False
) -> None:
    """Write a model as a folder that ``AutoModelForCausalLM.from_pretrained`` reads.

    Args:
        merged: Whether an adapter was merged into the model: it then replaces no export of a base,
            which adapters may be written for.

    Raises:
        UserError: The model has adapters, the tokenizer cannot be used with it, or ``folder``
            cannot be replaced (see :func:`minituner.interop.export_folder.new_export`).
    """
    _require_unwrapped(model)
    tokenizer = load_tokenizer(tokenizer_path, model.config.vocab_size)
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    kind = MERGED if merged else ""
    with new_export(folder, WEIGHTS, kind) as new:
        write_json(new / "config.json", opt_config(model) | ids)
        write_json(new / "generation_config.json", {**ids, "do_sample": False})
        copy_file(tokenizer_path, new / "tokenizer.json")
        write_json(new / "tokenizer_config.json", tokenizer_config(model))
        metadata = {"format": "pt"} | ({KIND: kind} if kind else {})
        save_export_weights(new / WEIGHTS, to_opt(model.state_dict()), metadata)


def _require_unwrapped(model: MiniGPT) -> None:
    for name, _ in lora_layers(model):
        raise UserError(
            "model",
            "has adapters, which a base in transformers' format cannot hold",
            found=f"LoRA layers such as {name}",
            expected="a model without adapters",
            fix="merge them into the base with merge_and_unwrap(model), or export only the adapter "
            "with export_adapter",
        )


def tokenizer_config(model: MiniGPT) -> dict[str, Any]:
    """The settings of the tokenizer that transformers needs in addition to its file."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.context_length,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
    }


def opt_config(model: MiniGPT) -> dict[str, Any]:
    """The OPT configuration that computes the same function as ``model``."""
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
    """A MiniGPT's tensors, named and shaped as those of an OPT model."""
    weights = {opt_name(name): tensor.detach().contiguous() for name, tensor in state.items()}
    rows = weights[POSITIONS]
    weights[POSITIONS] = torch.cat([rows.new_zeros(POSITION_OFFSET, rows.shape[1]), rows])
    return weights


def opt_name(name: str) -> str:
    """OPT's name of a MiniGPT's parameter or layer: ``model.decoder.layers.0.fc2.weight`` for
    ``blocks.0.mlp.fc2.weight``."""
    module, _, part = (
        name.rpartition(".") if name.endswith((".weight", ".bias")) else (name, "", "")
    )
    if module.startswith("blocks."):
        _, layer, inner = module.split(".", 2)
        module = f"model.decoder.layers.{layer}.{BLOCK[inner]}"
    else:
        module = TOP[module]
    return f"{module}.{part}" if part else module


def is_export_of(folder: str | Path, model: MiniGPT) -> bool | None:
    """Whether the weights in an exported base's folder are those of ``model`` (unwrapped), in
    whatever float type they are stored; None if there are no weights.

    Raises:
        UserError: They cannot be read.
    """
    path = Path(folder) / WEIGHTS
    try:
        exists = path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
    if not exists:
        return None
    stored, _ = read_safetensors(path)
    return all(
        name in stored and torch.equal(stored[name], tensor.to(stored[name].dtype))
        for name, tensor in to_opt(model.state_dict()).items()
    )
