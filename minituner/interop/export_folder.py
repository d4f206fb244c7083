"""Folders for other programs: written completely, and never over a file that is not an export's.

The safetensors file of an export records the sha256 of every file next to it. So an earlier export,
which may be replaced, can be told apart from anything else, including an export that was edited.
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

# Keys in the safetensors' metadata.
RECORD = "minituner_export"
KIND = "minituner_export_kind"  # "" where it is absent


@contextmanager
def new_export(folder: str | Path, weights_name: str, kind: str = "") -> Iterator[Path]:
    """A temporary folder to fill, which becomes ``folder`` only if the block succeeds.

    The file of :func:`save_export_weights` must be written last. Only an export of the same
    ``kind`` is replaced: its metadata hold that under ``KIND``.

    Raises:
        UserError: ``folder`` exists and is not an earlier export of the same kind, or cannot be
            written; it is then unchanged.
    """
    _require_replaceable(Path(folder), weights_name, kind)
    with atomic_folder(folder) as partial:
        yield partial


def save_export_weights(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write an export's safetensors, with the record of the files next to it."""
    record = {other.name: sha256(other) for other in sorted(path.parent.iterdir())}
    save_safetensors(path, tensors, {**metadata, RECORD: json.dumps(record)})


def _require_replaceable(folder: Path, weights_name: str, kind: str) -> None:
    try:
        obstacle = _obstacle(folder, weights_name, kind)
    except OSError as error:
        raise unreadable(folder, error) from error
    if obstacle:
        raise UserError(
            folder,
            "cannot be replaced by an export",
            found=obstacle,
            expected="a new folder, an empty one, or an earlier export of the same kind",
            fix="name another folder, or move away the files in this one",
        )


def _obstacle(folder: Path, weights_name: str, kind: str) -> str:
    """What an export would destroy at ``folder``; empty if nothing."""
    if not folder.is_dir():
        exists = folder.exists() or folder.is_symlink()
        return "something that is not a folder" if exists else ""
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        return "the folder you are in, or one around it"
    record = _record_of(folder / weights_name, kind)
    foreign = [path.name for path in sorted(folder.iterdir()) if not _is_as_recorded(path, record)]
    names = ", ".join(foreign)
    return f"other files, another kind of export, or changed since: {names}" if foreign else ""


def _record_of(weights: Path, kind: str) -> dict[str, str | None]:
    """The sha256 by file of an earlier export of a kind, None for the weights; empty if it is not
    one."""
    try:
        _, metadata = read_safetensors(weights)
        if metadata.get(KIND, "") != kind:
            return {}
        # The weights cannot hold their own hash; a program that rewrites them drops the record.
        return {weights.name: None, **json.loads(metadata[RECORD])}
    except (UserError, KeyError, TypeError, ValueError):
        return {}


def _is_as_recorded(path: Path, record: Mapping[str, str | None]) -> bool:
    return path.name in record and path.is_file() and record[path.name] in (None, sha256(path))
