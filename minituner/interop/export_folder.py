"""Folders for other programs: written completely, and never over a file that is not an export's.

An export records the sha256 of every file in it: in the metadata of its safetensors file or, where
another library writes the weights, in a file of its own. So an earlier export, which may be
replaced, can be told apart from anything else, including an export that was edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from minituner.errors import UserError
from minituner.interop.export_record import KIND, RECORD, RECORD_FILE
from minituner.storage.files import atomic_folder, read_json, sha256, write_json
from minituner.storage.replaceable import require_replaceable
from minituner.storage.tensors import read_safetensors, save_safetensors


@contextmanager
def new_export(folder: str | Path, weights_name: str, kind: str = "") -> Iterator[Path]:
    """A temporary folder to fill, which becomes ``folder`` only if the block succeeds.

    The file of :func:`save_export_weights` must be written last. Only an export of the same
    ``kind`` is replaced: its metadata hold that under ``KIND``.

    Raises:
        UserError: ``folder`` exists and is not an earlier export of the same kind, or cannot be
            written; it is then unchanged.
    """
    require_replaceable(folder, _record_of(Path(folder) / weights_name, kind), "export")
    with atomic_folder(folder) as partial:
        yield partial


def save_export_weights(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write an export's safetensors, with the record of the files next to it."""
    record = {other.name: sha256(other) for other in sorted(path.parent.iterdir())}
    save_safetensors(path, tensors, {**metadata, RECORD: json.dumps(record)})


@contextmanager
def new_recorded_export(folder: str | Path, kind: str) -> Iterator[Path]:
    """As :func:`new_export`, for weights that another library writes: the record is a file.

    Raises:
        UserError: As :func:`new_export`.
    """
    require_replaceable(folder, _record_in_file(Path(folder) / RECORD_FILE, kind), "export")
    with atomic_folder(folder) as partial:
        yield partial
        files = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        write_json(partial / RECORD_FILE, {"kind": kind, "files": files})


def _record_in_file(path: Path, kind: str) -> dict[str, str | None]:
    try:
        value = read_json(path)
        return {path.name: None, **value["files"]} if value["kind"] == kind else {}
    except (UserError, KeyError, TypeError):
        return {}


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
