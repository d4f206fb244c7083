"""Base checkpoints: written whole, read back only if every tensor fits.

Files are read with ``weights_only=True``: nothing in them is ever executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minituner.errors import UserError
from minituner.files import atomic_open, sha256
from minituner.model import MiniGPT, MiniGPTConfig

BASE_FORMAT = "minigpt-1"


def save_tensors(path: str | Path, value: Mapping[str, Any]) -> None:
    """``torch.save`` to a stream: whole or not at all, and the same bytes for the same value."""
    with atomic_open(path, "wb") as stream:
        torch.save(dict(value), stream)


def load_tensors(path: str | Path, expected_format: str) -> dict[str, Any]:
    """Read a file of :func:`save_tensors` without running anything in it.

    Raises:
        UserError: There is no file, it is damaged, holds code, or is of another format.
    """
    path = Path(path)
    expected = f"a file of format {expected_format!r}"
    if not path.is_file():
        raise UserError(
            path,
            "there is no such file",
            found="nothing",
            expected=expected,
            mend="check the path in config.yaml, or let the pipeline make it: snakemake report",
        )
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            path,
            "cannot be read as plain tensors (nothing in it was executed)",
            found=reason[:200],
            expected=expected,
            mend="copy it again from its source, or delete it and run: snakemake report",
        ) from error
    if not isinstance(value, dict) or value.get("format") != expected_format:
        found = value.get("format", "no format") if isinstance(value, dict) else type(value)
        raise UserError(
            path,
            "is of another format",
            found=found,
            expected=expected,
            mend="write it with minituner: save_base for a base, save_adapter for an adapter",
        )
    return value


def save_base(path: str | Path, model: MiniGPT, tokenizer_path: str | Path | None = None) -> None:
    """Write an unwrapped model's config and weights, and its tokenizer's hash if it has one."""
    weights = {name: t.detach().contiguous() for name, t in model.state_dict().items()}
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
        tokenizer_path: The tokenizer it is to be used with; refused if the base names another.

    Raises:
        UserError: The file is unsafe or damaged, its weights do not fit its config, or the
            tokenizer is another base's.
    """
    value = load_tensors(path, BASE_FORMAT)
    try:
        config = MiniGPTConfig(**value["config"])
        weights = dict(value["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=str(error),
            expected=f"the fields of MiniGPTConfig: {', '.join(MiniGPTConfig.__annotations__)}",
            mend="write the file with minituner.checkpoint.save_base",
        ) from error
    recorded = value.get("tokenizer_sha256")
    if tokenizer_path is not None and recorded not in (None, sha256(tokenizer_path)):
        raise UserError(
            tokenizer_path,
            "is the tokenizer of another base",
            found=f"sha256 {sha256(tokenizer_path)[:12]}",
            expected=f"sha256 {str(recorded)[:12]}, as {path} says",
            mend="name the tokenizer.json that the base was trained with",
        )
    # Not on the meta device: drawing an embedding there imports torch's compiler, over a second.
    with torch.random.fork_rng(devices=[]):
        model = MiniGPT(config)
    shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    check_tensors(weights, shapes, str(path))
    model.load_state_dict(weights, strict=True, assign=True)
    return model.eval()


def check_tensors(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Refuse ``state`` unless it holds exactly the named tensors, of these shapes, all finite.

    Raises:
        UserError: Naming ``where`` and the first tensors that differ.
    """
    mend = "use a file written for this model and this configuration"

    def refuse(what: str, names: list[str], expected: str) -> None:
        if names:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise UserError(where, what, found=shown, expected=expected, mend=mend)

    refuse("tensors are missing", sorted(shapes.keys() - state.keys()), "these to be there")
    refuse("unknown tensors", sorted(state.keys() - shapes.keys()), "none but the model's own")
    refuse(
        "values that are no float32 tensors",
        [name for name in sorted(shapes) if getattr(state[name], "dtype", None) != torch.float32],
        "float32 tensors",
    )
    wrong = [name for name in sorted(shapes) if tuple(state[name].shape) != shapes[name]]
    refuse(
        "tensors of another shape",
        [f"{name} {tuple(state[name].shape)}" for name in wrong],
        ", ".join(f"{name} {shapes[name]}" for name in wrong[:4]),
    )
    broken = [name for name in sorted(shapes) if not bool(torch.isfinite(state[name]).all())]
    refuse("weights that are not finite (NaN or infinity)", broken, "finite numbers")


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """One hash over names, types, shapes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
