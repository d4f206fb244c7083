"""Files are written whole or not at all: a temporary file, fsync, then a rename."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from minituner.errors import UserError


@contextmanager
def atomic_open(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing; it appears (or is replaced) only if the block succeeds.

    Raises:
        UserError: The folder cannot be written or the disk is full; what stood at ``path`` stays.
    """
    path = Path(path)
    # Always the same name: what a killed process left behind is taken up by the next.
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
        with partial.open(mode, encoding=encoding, newline=newline) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            path,
            "cannot be written",
            found=error.strerror or str(error),
            expected="a writable folder with space left on its disk",
            mend="free some space or mend the permissions, then run the same command again",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON, the same bytes for the same value: sorted keys, no NaN."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file that the pipeline wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, keys in the order given, whole or not at all."""
    with atomic_open(path) as stream:
        write_rows(stream, rows)


def write_rows(stream: IO[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line to an open file."""
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def iter_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file that the pipeline wrote, one at a time."""
    with Path(path).open(encoding="utf-8") as stream:
        yield from map(json.loads, stream)


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy a file's bytes, whole or not at all."""
    with Path(source).open("rb") as original, atomic_open(path, "wb") as stream:
        shutil.copyfileobj(original, stream)


def sha256(path: str | Path) -> str:
    """The file's sha256, in hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
