"""Base checkpoints: a MiniGPT's shape and weights, and the hash of its tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from minituner.errors import UserError
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPT, MiniGPTConfig
from minituner.storage.files import sha256
from minituner.storage.tensors import check_tensors, load_tensors, save_tensors
from minituner.storage.text import unreadable

BASE_FORMAT = "minigpt-1"


def save_base(path: str | Path, model: MiniGPT, tokenizer_path: str | Path | None = None) -> None:
    """Write a plain model's config and weights, and its tokenizer's hash if it has one.

    Raises:
        UserError: The model has adapters; nothing is written.
    """
    # Found by name: if this module imported `lora`, an edit of `lora` would rerun pretraining.
    for name in (name for name in model.state_dict() if name.endswith(".lora_A")):
        raise UserError(
            path,
            "is not written: the model has adapters",
            found=f"LoRA layers such as {name.removesuffix('.lora_A')}",
            expected="a plain model",
            fix="save the adapter with save_adapter, or the result of merge_and_unwrap(model)",
        )
    weights = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    save_tensors(
        path,
        {
            "format": BASE_FORMAT,
            "config": asdict(model.config),
            "tokenizer_sha256": None if tokenizer_path is None else sha256(tokenizer_path),
            "weights": weights,
        },
    )


def load_base(path: str | Path, tokenizer_path: str | Path | None = None) -> MiniGPT:
    """Read a base model, in ``eval`` mode.

    Args:
        tokenizer_path: The tokenizer to use with it; refused if the base was saved with another.

    Raises:
        UserError: The file is unsafe or damaged, its weights do not fit its config, or the
            tokenizer is not the file that it names.
    """
    value = load_tensors(path, BASE_FORMAT)
    try:
        config = MiniGPTConfig(**value["config"])
        weights = {str(name): tensor for name, tensor in value["weights"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=str(error),
            expected=f"the fields of MiniGPTConfig: {', '.join(MiniGPTConfig.__annotations__)}",
            fix="write the file with minituner.storage.checkpoint.save_base",
        ) from error
    if tokenizer_path is not None:
        _check_tokenizer(tokenizer_path, value.get("tokenizer_sha256"), path)
    # Not on the meta device: initializing an embedding there imports torch's compiler, which takes
    # over a second.
    with torch.random.fork_rng(devices=[]):
        model = new_minigpt(config)
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    check_tensors(weights, shapes, str(path))
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval()


def _check_tokenizer(tokenizer_path: str | Path, recorded: object, base_path: str | Path) -> None:
    """Refuse a tokenizer other than the one that the base was saved with, if it names one."""
    try:
        digest = sha256(tokenizer_path)
    except OSError as error:
        raise unreadable(tokenizer_path, error) from error
    if recorded not in (None, digest):
        raise UserError(
            tokenizer_path,
            "is not the file that the base was saved with",
            found=f"sha256 {digest[:12]}: another tokenizer, or the same one written again",
            expected=f"sha256 {str(recorded)[:12]}, as {base_path} says",
            fix="use that file; or, if this is the base's own tokenizer with other settings, "
            "save the base with it: minituner.storage.checkpoint.save_base",
        )
