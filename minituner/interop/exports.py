"""Folders for other programs: written whole, and only where nothing of anybody's is lost.

An export's safetensors record the sha256 of every file beside them. So a former export, which may
be replaced, is told from all else, an edited one included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from minituner.errors import UserError
from minituner.storage.files import atomic_folder, sha256
from minituner.storage.tensors import read_safetensors, save_safetensors
from minituner.storage.text import unreadable

RECORD = "minituner_export"  # the key in the safetensors' metadata


@contextmanager
def new_export(folder: str | Path, weights_name: str) -> Iterator[Path]:
    """A folder to fill, which appears at ``folder`` only if the block succeeds; the last file to
    write is that of :func:`save_export_weights`.

    Raises:
        UserError: Something stands there that is not a former export of the same kind, or it
            cannot be written; what stood there stays.
    """
    _require_replaceable(Path(folder), weights_name)
    with atomic_folder(folder) as partial:
        yield partial


def save_export_weights(
    path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]
) -> None:
    """Write an export's safetensors, with the record of the files that lie beside them."""
    beside = {other.name: sha256(other) for other in sorted(path.parent.iterdir())}
    save_safetensors(path, tensors, {**texts, RECORD: json.dumps(beside)})


def _require_replaceable(folder: Path, weights_name: str) -> None:
    try:
        found = _in_the_way(folder, weights_name)
    except OSError as error:
        raise unreadable(folder, error) from error
    if found:
        raise UserError(
            folder,
            "cannot take an export",
            found=found,
            expected="a new folder, an empty one, or a former export of the same kind",
            fix="name another folder, or move away what lies there",
        )


def _in_the_way(folder: Path, weights_name: str) -> str:
    """What an export of that kind would do away with, if anything."""
    if not folder.is_dir():
        there = folder.exists() or folder.is_symlink()
        return "something that is not a folder" if there else ""
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        return "the folder you are in, or one around it"
    paths = sorted(folder.iterdir())
    record = _record_of(folder / weights_name)
    foreign = [path.name for path in paths if not _is_as_recorded(path, record)]
    return f"other files, or changed since: {', '.join(foreign)}" if foreign else ""


def _record_of(weights: Path) -> dict[str, str | None]:
    """What lies in a former export, and each file's sha256; nothing if it is not one."""
    try:
        _, texts = read_safetensors(weights)
        # They have no hash of themselves; who writes them again does not write the record.
        return {weights.name: None, **json.loads(texts[RECORD])}
    except (UserError, KeyError, TypeError, ValueError):
        return {}


def _is_as_recorded(path: Path, record: Mapping[str, str | None]) -> bool:
    return path.name in record and path.is_file() and record[path.name] in (None, sha256(path))
