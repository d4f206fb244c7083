"""Bases as the files that transformers reads.

MiniGPT maps one to one on an OPT configuration with exact GELU, so nothing is lost or approximated.
The library is not needed to write the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minituner.interop.exports import new_export, save_export_weights
from minituner.model import MiniGPT
from minituner.storage.files import copy_file, write_json
from minituner.storage.tensors import read_safetensors
from minituner.storage.text import unreadable
from minituner.tokenizer import BOS, EOS, PAD, UNK, load_tokenizer, special_id

WEIGHTS = "model.safetensors"
POSITION_OFFSET = 2  # OPT's position embedding has this many rows before the first position
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


def export_base(model: MiniGPT, tokenizer_path: str | Path, folder: str | Path) -> None:
    """Write an unwrapped model as a folder that ``AutoModelForCausalLM.from_pretrained`` reads.

    Raises:
        UserError: The tokenizer cannot be used with the model, or ``folder`` not be replaced (see
            :func:`minituner.interop.exports.new_export`).
    """
    tokenizer = load_tokenizer(tokenizer_path, model.config.vocab_size)
    ids = {
        f"{name}_token_id": special_id(tokenizer, token)
        for name, token in (("bos", BOS), ("eos", EOS), ("pad", PAD))
    }
    with new_export(folder, WEIGHTS) as new:
        write_json(new / "config.json", opt_config(model) | ids)
        write_json(new / "generation_config.json", {**ids, "do_sample": False})
        copy_file(tokenizer_path, new / "tokenizer.json")
        write_json(new / "tokenizer_config.json", tokenizer_config(model))
        save_export_weights(new / WEIGHTS, to_opt(model.state_dict()), {"format": "pt"})


def tokenizer_config(model: MiniGPT) -> dict[str, Any]:
    """What transformers is to know of a tokenizer beside its file."""
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


def is_export_of(folder: str | Path, model: MiniGPT) -> bool | None:
    """Whether the weights in a base's folder are those of ``model`` (unwrapped), in whatever type
    of float they are stored; None if there are none.

    Raises:
        UserError: They cannot be read.
    """
    path = Path(folder) / WEIGHTS
    try:
        there = path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error
    if not there:
        return None
    stored, _ = read_safetensors(path)
    return all(
        name in stored and torch.equal(stored[name], tensor.to(stored[name].dtype))
        for name, tensor in to_opt(model.state_dict()).items()
    )
