"""The safetensors files of a transformers model's folder, checked without reading their tensors."""

from __future__ import annotations

import json
from pathlib import Path

from minituner.errors import UserError, first_of
from minituner.storage.files import read_json
from minituner.storage.text import unreadable

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LONGEST_HEADER = 100_000_000  # bytes, as in the safetensors library
SAVE_AGAIN = (
    "with transformers, where the model can be loaded: model.save_pretrained(FOLDER) and "
    "tokenizer.save_pretrained(FOLDER)"
)


def weight_files(path: Path) -> list[Path]:
    """The files that hold a model's weights, as transformers chooses them.

    Raises:
        UserError: There are none, or some are missing.
    """
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    if not (path / INDEX).is_file():
        raise _no_weights(path)
    index = read_json(path / INDEX)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise UserError(
            path / INDEX,
            "names no shards",
            found="no weight_map, or an empty one",
            expected="the file of each weight",
            fix="copy it again from its source",
        )
    files = [path / name for name in sorted({str(name) for name in shards.values()})]
    outside = [file for file in files if file.parent != path]
    missing = [file.name for file in files if not file.is_file()]
    if outside or missing:
        raise UserError(
            path,
            "lacks shards of the model" if missing else "has shards in another folder",
            found=f"no {first_of(missing, 5)}" if missing else str(outside[0]),
            expected=f"the {len(files)} files that {INDEX} names",
            fix="copy them from its source into the folder",
        )
    return files


def _no_weights(path: Path) -> UserError:
    """What there is instead of safetensors, and what to do."""
    others = sorted(file.name for file in path.iterdir() if file.suffix == ".safetensors")
    pickles = sorted(
        file.name for file in path.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt")
    )
    fix = "copy them from its source into the folder"
    if len(others) == 1:
        fix = f"rename it to {WEIGHTS}, if it holds the whole model"
    elif others:
        fix = (
            f"copy {INDEX}, which says what is in which of them, from their source into the folder"
        )
    elif pickles:
        fix = f"convert it once, if you trust its source, {SAVE_AGAIN}, which writes safetensors"
    return UserError(
        path,
        "has its weights only as pickles, which can hold code and are never loaded"
        if pickles and not others
        else "has no weights",
        found=first_of(others or pickles, 5) or "no safetensors file",
        expected=f"{WEIGHTS}, or its shards and {INDEX}",
        fix=fix,
    )


def check_safetensors(path: Path) -> None:
    """Check that a safetensors file is complete: its header says how long it is.

    Raises:
        UserError: It is shorter or longer, or not a safetensors file.
    """
    size = path.stat().st_size
    expected = _expected_bytes(path)
    if size != expected:
        raise UserError(
            path,
            "is not a safetensors file" if expected is None else "is not complete",
            found=f"{size:,} bytes",
            expected="a header and tensors"
            if expected is None
            else f"{expected:,} bytes, as its header says",
            fix="copy it again from its source; if it is a Git LFS pointer, run: git lfs pull",
        )


def _expected_bytes(path: Path) -> int | None:
    """The size that a file's header says; None if it has no such header."""
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            text = stream.read(length) if length <= LONGEST_HEADER else b""
        if len(text) < length:
            return None
        tensors = [value for name, value in json.loads(text).items() if name != "__metadata__"]
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
    except OSError as error:
        raise unreadable(path, error) from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return 8 + length + max(ends, default=0)
