"""Atomic writes of files and folders (temporary name, fsync, rename), and JSON."""

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
from minituner.storage.text import decode_line, iter_lines, read_text, unreadable


@contextmanager
def atomic_open(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open ``path`` for writing; it appears (or is replaced) only if the block succeeds.

    Raises:
        UserError: The folder cannot be written, or the disk is full; the old file is kept.
    """
    path = Path(path)
    # Always the same name: the next process replaces what a killed one left behind.
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
        raise _unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A new folder to fill, which appears at ``path`` (or replaces the folder there, with all its
    contents) only if the block succeeds.

    Raises:
        UserError: It cannot be written, or the disk is full; the old folder is kept.
    """
    path = Path(path).resolve()
    # Always the same names, as above.
    partial, former = (path.with_name(f".{path.name}.{word}") for word in ("partial", "former"))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            shutil.rmtree(former, ignore_errors=True)
            path.rename(former)
        try:
            partial.rename(path)
        except BaseException:
            if former.exists():
                former.rename(path)
            raise
        _sync_folder(path.parent)
        shutil.rmtree(former, ignore_errors=True)
    except (OSError, UserError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise _unwritable(path, cause) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        path,
        "cannot be written",
        found=error.strerror or str(error),
        expected="a writable folder with space left on its disk",
        fix="free some space or fix the permissions, then run the same command again",
    )


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure, on file systems that support it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, completely or not at all."""
    with atomic_open(path) as stream:
        stream.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON with sorted keys and without NaN: the same bytes for the same value."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: It cannot be read or is not strict JSON (NaN is refused); the message names the
            line.
    """
    return _parsed(read_text(path), str(path))


def _parsed(text: str, place: str) -> Any:
    try:
        return _STRICT.decode(text)
    except json.JSONDecodeError as error:
        line = f":{error.lineno}" if "\n" in text else ""
        raise _not_json(f"{place}{line}", f"{error.msg} at column {error.colno}") from error
    except ValueError as error:  # NaN, or a number with thousands of digits
        raise _not_json(place, str(error)) from error
    except RecursionError as error:
        raise _not_json(place, "brackets nested too deeply") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which is not a number in JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _not_json(place: str, found: str, what: str = "is not JSON") -> UserError:
    return UserError(
        place,
        what,
        found=found,
        expected="complete JSON; in a .jsonl, one object per line",
        fix="fix the quotes, commas and braces; a file that the pipeline wrote can be deleted: it "
        "is made again",
    )


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, keys in the order given, completely or not at all."""
    with atomic_open(path) as stream:
        write_rows(stream, rows)


def write_rows(stream: IO[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line to an open file."""
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def iter_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file, as :func:`numbered_jsonl` reads them."""
    return (row for _, row in numbered_jsonl(path))


def numbered_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSON-lines file, one at a time, each with its line; blank lines are skipped.

    Raises:
        UserError: It cannot be read, or a line is not a JSON object; the message names
            ``path:line``.
    """
    try:
        with Path(path).open("rb") as stream:
            for number, raw in enumerate(iter_lines(stream, path), start=1):
                if raw and not raw.isspace():
                    yield number, _row(raw, f"{path}:{number}")
    except OSError as error:
        raise unreadable(path, error) from error


def _row(raw: bytes, place: str) -> dict[str, Any]:
    row = _parsed(decode_line(raw, place), place)
    if not isinstance(row, dict):
        raise _not_json(place, json.dumps(row, ensure_ascii=False), "is not a JSON object")
    return row


def copy_file(source: str | Path, path: str | Path) -> None:
    """Copy a file's bytes, completely or not at all."""
    with Path(source).open("rb") as original, atomic_open(path, "wb") as stream:
        shutil.copyfileobj(original, stream)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
