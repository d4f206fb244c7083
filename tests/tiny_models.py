"""Tiny random models of transformers' architectures, made from their configs and saved as anybody
saves a model: nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Before transformers is imported; the tests need no network.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from minituner.tokenizer import TextTokenizer

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
OTHER = {key: LLAMA[key] for key in LLAMA if key not in ("num_key_value_heads",)}
# By model_type: the config's values, and a linear layer of attention and one of the MLP.
SHAPES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "llama": (LLAMA, ("q_proj", "down_proj")),
    "qwen2": (LLAMA | {"tie_word_embeddings": True}, ("v_proj", "up_proj")),
    "mistral": (LLAMA | {"sliding_window": 4}, ("k_proj", "gate_proj")),
    "gemma": (LLAMA | {"head_dim": 8}, ("o_proj", "down_proj")),
    "gemma2": (LLAMA | {"head_dim": 8, "final_logit_softcapping": 3.0}, ("q_proj", "down_proj")),
    "gemma3_text": (LLAMA | {"head_dim": 8, "sliding_window": 4}, ("q_proj", "down_proj")),
    "granite": (LLAMA | {"logits_scaling": 3.0}, ("q_proj", "down_proj")),
    "cohere": (LLAMA | {"logit_scale": 0.3}, ("q_proj", "down_proj")),
    "gpt2": (
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
        ("c_attn", "mlp.c_proj"),
    ),
    "opt": (
        {**OTHER, "ffn_dim": 48, "word_embed_proj_dim": 24},
        ("out_proj", "fc2"),
    ),
    "gpt_neox": (OTHER, ("query_key_value", "dense_4h_to_h")),
}
ARCHITECTURES = list(SHAPES)


def tiny_config(model_type: str, tokenizer: TextTokenizer, **changes: Any) -> Any:
    """A config of one architecture; its vocabulary has a few rows more than the tokenizer."""
    values, _ = SHAPES[model_type]
    ids = {name: getattr(tokenizer, name) for name in ("bos_id", "eos_id", "pad_id")}
    special = {f"{name.removesuffix('_id')}_token_id": value for name, value in ids.items()}
    size = tokenizer.vocab_size + 6
    return transformers.AutoConfig.for_model(
        model_type, **{"vocab_size": size, **special, **values, **changes}
    )


def tiny_network(
    model_type: str, tokenizer: TextTokenizer, seed: int = 0, **changes: Any
) -> PreTrainedModel:
    """A model of that config whose every weight is drawn: none hides behind a zero."""
    network = AutoModelForCausalLM.from_config(tiny_config(model_type, tokenizer, **changes))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.normal_(std=0.2, generator=draw)
            if "norm" in name.replace("ln_", "norm") and name.endswith("weight"):
                parameter += 1
    return network.eval()


def save_folder(
    path: Path, network: PreTrainedModel, tokenizer: TextTokenizer, **options: Any
) -> Path:
    """Save both as transformers does.

    Args:
        options: Of ``save_pretrained``, such as ``max_shard_size``.
    """
    network.save_pretrained(path, **options)
    token = tokenizer.token
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend,
        bos_token=token(tokenizer.bos_id),
        eos_token=token(tokenizer.eos_id),
        pad_token=token(tokenizer.pad_id),
    ).save_pretrained(path)
    return path


def tiny_folder(
    path: Path, tokenizer: TextTokenizer, model_type: str = "llama", **changes: Any
) -> Path:
    """The folder of a tiny model."""
    return save_folder(path, tiny_network(model_type, tokenizer, **changes), tokenizer)
