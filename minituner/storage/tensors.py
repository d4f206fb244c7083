"""Files of named tensors: written whole, the same bytes for the same values, read back only if
every tensor fits.

Torch's files are read with ``weights_only=True``, and safetensors hold nothing else: nothing in a
file is ever executed.
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
    """``torch.save`` to a stream: whole or not at all, and the same bytes for the same value."""
    with atomic_open(path, "wb") as stream:
        torch.save(dict(value), stream)


def load_tensors(path: str | Path, expected_format: str) -> dict[str, Any]:
    """Read a file of :func:`save_tensors` without running anything in it.

    Raises:
        UserError: There is no file, it is damaged, holds code, or is of another format.
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
    """What ``torch.save`` has written, without running anything in it.

    Args:
        expected: What the file should be, for messages.
        mmap: Leave the tensors on the disk until they are used.

    Raises:
        UserError: There is no file, it is damaged, or it holds code.
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
    try:
        # Files of torch before 1.6 are no zip archives, and cannot be left on the disk.
        mmap = mmap and zipfile.is_zipfile(path)
        with warnings.catch_warnings(action="ignore"):  # of other programs' files
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, pickle.UnpicklingError):  # torch's own words say how to run it
            reason = "code, objects that are no tensors, or a damaged file"
        raise UserError(
            path,
            "cannot be read as plain tensors (nothing in it was executed)",
            found=reason,
            expected=expected,
            fix="copy it again from its source, or delete it and run: "
            + commands.snakemake("report"),
        ) from error


def save_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors and texts about them as safetensors, whole or not at all."""
    content = safetensors_bytes({name: t.detach().contiguous() for name, t in tensors.items()})
    # The library writes metadata in an order that differs from run to run.
    size = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(metadata), **json.loads(content[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors to 8 bytes
    with atomic_open(path, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + content[8 + size :])


def load_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, as float32, and its metadata.

    Raises:
        UserError: There is no file, it is damaged, or it holds numbers that are not floats.
    """
    tensors, texts = read_safetensors(path)
    whole = [name for name, tensor in tensors.items() if not tensor.is_floating_point()]
    if whole:
        raise UserError(
            path,
            "holds numbers that are not floats",
            found=", ".join(f"{name} {tensors[name].dtype}" for name in whole[:4]),
            expected="float32, or floats that it can hold: float16, bfloat16",
            fix="save the weights as they are trained, not quantized",
        )
    return {name: tensor.float() for name, tensor in tensors.items()}, texts


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, of the types they are stored in, and its metadata.

    Raises:
        UserError: There is no file, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            path,
            "there is no such file",
            found="a folder" if path.is_dir() else "nothing",
            expected="a safetensors file",
            fix="fix the path",
        )
    try:
        with safe_open(path, framework="pt") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, stream.metadata() or {}
    except OSError as error:
        raise unreadable(path, error) from error
    except SafetensorError as error:
        found, fix = _what_else(path) or (
            str(error).splitlines()[0],
            "copy it again from its source",
        )
        raise UserError(
            path,
            "cannot be read as safetensors",
            found=found,
            expected="a whole safetensors file",
            fix=fix,
        ) from error


def _what_else(path: Path) -> tuple[str, str] | None:
    """What often lies there under the name of a safetensors file, and what to do about it."""
    with path.open("rb") as stream:
        start = stream.read(64).lstrip()
    if not start:
        return "an empty file", "copy it again from its source; check that the disk was not full"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS's, in place of the file", "fetch the file itself: git lfs pull"
    if start.startswith((b"PK", b"\x80")):
        return "a pickle, as torch.save writes it", "save it again as safetensors"
    if start[:1] == b"<":
        return "a web page", "download the file itself; the page stands for a log-in or an error"
    return None


def check_tensors(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], where: str
) -> None:
    """Refuse ``state`` unless it holds exactly the named tensors, of these shapes, all finite.

    Raises:
        UserError: Naming ``where`` and the first tensors that differ.
    """
    fix = "use a file written for this model and this configuration"

    def refuse(what: str, names: list[str], expected: str) -> None:
        if names:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise UserError(where, what, found=shown, expected=expected, fix=fix)

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
