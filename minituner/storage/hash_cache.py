"""SHA-256 of large files, remembered as long as their size and time of change are the same.

Every job hashes its inputs, and a base may have gigabytes. ``verify`` does not use this: it reads
every byte.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from minituner.storage.files import sha256

FOLDER = Path(".snakemake/minituner-hashes")  # may be deleted at any time
SMALL_BYTES = 2**24  # below, reading the file takes milliseconds
SETTLED_SECONDS = 2.0  # a file that changed later than that may change again at the same time stamp


def remembered_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal; read from the file only if it is small or has changed
    since it was last read."""
    path = Path(path)
    status = path.stat()
    if status.st_size < SMALL_BYTES:
        return sha256(path)
    resolved = str(path.resolve())
    key = [resolved, status.st_size, status.st_mtime_ns]
    note = FOLDER / f"{hashlib.sha256(resolved.encode()).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["file"] == key:
            return str(known["sha256"])
    digest = sha256(path)
    if time.time() - status.st_mtime > SETTLED_SECONDS:
        _write(note, json.dumps({"file": key, "sha256": digest}))
    return digest


def _write(path: Path, text: str) -> None:
    """Write a file at once, if it can be: several jobs may write the same one."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
            stream.write(text)
        Path(stream.name).replace(path)
