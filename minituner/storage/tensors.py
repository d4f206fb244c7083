"""Files of named tensors: written completely or not at all, the same bytes for the same values, and
read back only if every tensor fits.

Torch's files are read with ``weights_only=True``, and safetensors files hold only tensors: no code
in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from minituner import commands
from minituner.errors import UserError
from minituner.storage.files import atomic_open
from minituner.storage.text import unreadable


def save_tensors(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write a mapping with ``torch.save``; the same value gives the same bytes at any path."""
    with atomic_open(path, "wb") as stream:
        torch.save(dict(value), stream)


def load_tensors(path: str | Path, expected_format: str) -> dict[str, Any]:
    """Read a file of :func:`save_tensors` without executing anything in it.

    Raises:
        UserError: It does not exist, is damaged, holds code, or is of another format.
    """
    expected = f"a file of format {expected_format!r}"
    value = read_torch_file(path, expected)
    if not isinstance(value, dict) or value.get("format") != expected_format:
        found = value.get("format", "no format") if isinstance(value, dict) else type(value)
        raise UserError(
            path,
            "is of another format",
            found=found,
            expected=expected,
            fix="write it with minituner: save_base for a base, save_adapter for an adapter",
        )
    return value


def read_torch_file(path: str | Path, expected: str, mmap: bool = False) -> Any:
    """The value that ``torch.save`` wrote, read without executing anything in the file.

    Args:
        expected: What the file should be, for messages.
        mmap: Whether to leave the tensors on the disk until they are used.

    Raises:
        UserError: The file does not exist, is damaged, or holds code.
    """
    path = _existing_file(path, expected)
    try:
        # torch before 1.6 did not write zip archives; its files cannot be memory-mapped.
        mmap = mmap and zipfile.is_zipfile(path)
        with warnings.catch_warnings(action="ignore"):  # about files of other programs
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many types for a damaged or unsafe file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, pickle.UnpicklingError):  # torch's text says how to execute it
            reason = "code, objects other than tensors, or a damaged file"
        raise UserError(
            path,
            "cannot be read as plain tensors (nothing in it was executed)",
            found=reason,
            expected=expected,
            fix="copy it again from its source, or delete it and run: "
            + commands.snakemake("report"),
        ) from error


def _existing_file(path: str | Path, expected: str) -> Path:
    """``path``, if it is a file.

    Raises:
        UserError: It is not.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            path,
            "there is no such file",
            found="a folder" if path.is_dir() else "nothing",
            expected=expected,
            fix="check the path, or let the pipeline make it: " + commands.snakemake("report"),
        )
    return path


def save_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and their metadata in safetensors format, completely or not at all."""
    content = safetensors_bytes({name: t.detach().contiguous() for name, t in tensors.items()})
    # The library writes the metadata in an order that differs from run to run.
    size = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(metadata), **json.loads(content[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors to 8 bytes
    with atomic_open(path, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + content[8 + size :])


def load_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, as float32, and its metadata.

    Raises:
        UserError: The file does not exist, is damaged, or holds numbers that are not floats.
    """
    tensors, metadata = read_safetensors(path)
    other_types = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if other_types:
        raise UserError(
            path,
            "holds numbers that are not floats",
            found=", ".join(f"{name} {tensors[name].dtype}" for name in other_types[:4]),
            expected="float32, or a type that it can represent: float16, bfloat16",
            fix="save the weights as they were trained, not quantized",
        )
    return {name: tensor.float() for name, tensor in tensors.items()}, metadata


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, in their stored types, and its metadata.

    Raises:
        UserError: The file does not exist or is damaged.
    """
    path = _existing_file(path, "a safetensors file")
    try:
        with safe_open(path, framework="pt") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, stream.metadata() or {}
    except OSError as error:
        raise unreadable(path, error) from error
    except SafetensorError as error:
        found, fix = _other_content(path) or (
            str(error).splitlines()[0],
            "copy it again from its source",
        )
        raise UserError(
            path,
            "cannot be read as safetensors",
            found=found,
            expected="a complete safetensors file",
            fix=fix,
        ) from error


def _other_content(path: Path) -> tuple[str, str] | None:
    """What a file that is often mistaken for safetensors is, and what to do; None for others."""
    with path.open("rb") as stream:
        start = stream.read(64).lstrip()
    if not start:
        return "an empty file", "copy it again from its source; check that the disk was not full"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the file", "fetch the file itself: git lfs pull"
    if start.startswith((b"PK", b"\x80")):
        return "a pickle, as torch.save writes it", "save it again as safetensors"
    if start[:1] == b"<":
        return "a web page", "download the file itself; this is a log-in or error page"
    return None


def check_tensors(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Refuse ``state`` unless it holds exactly the named tensors, of these shapes, all float32 and
    finite.

    Raises:
        UserError: With ``where`` and the first tensors that differ.
    """
    fix = "use a file written for this model and this configuration"

    def refuse(what: str, names: list[str], expected: str) -> None:
        if names:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise UserError(where, what, found=shown, expected=expected, fix=fix)

    refuse(
        "tensors are missing",
        sorted(shapes.keys() - state.keys()),
        "a tensor of each of these names",
    )
    refuse("unknown tensors", sorted(state.keys() - shapes.keys()), "only the model's own")
    refuse(
        "values that are not float32 tensors",
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
    """One sha256 over the names, types, shapes and bytes of all tensors, in order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
