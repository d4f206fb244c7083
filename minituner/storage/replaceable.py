"""What may be replaced when a command writes a folder: an empty one, or its own earlier output."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path, PurePosixPath

from minituner.errors import UserError, first_of
from minituner.storage.files import sha256
from minituner.storage.text import unreadable

# By path in the folder: the sha256, or None for any contents; a folder's path ends with a slash.
Record = Mapping[str, str | None]


def require_replaceable(folder: str | Path, record: Record, kind: str) -> None:
    """Refuse to replace a folder that holds anything that is not recorded, or was changed since.

    Args:
        folder: What would be replaced; it need not exist.
        record: The files that were written earlier.
        kind: What is written: "export".

    Raises:
        UserError: Something else would be lost, or the folder cannot be read.
    """
    folder = Path(folder)
    try:
        obstacle = _obstacle(folder, record, kind)
    except OSError as error:
        raise unreadable(folder, error) from error
    if obstacle:
        article = "an" if kind[0] in "aeiou" else "a"
        raise UserError(
            folder,
            f"cannot be replaced by {article} {kind}",
            found=obstacle,
            expected=f"a new folder, an empty one, or an earlier {kind} of the same kind",
            fix="name another folder, or move away the files in this one",
        )


def _obstacle(folder: Path, record: Record, kind: str) -> str:
    """What would be lost at ``folder``; empty if nothing."""
    if not folder.is_dir():
        exists = folder.exists() or folder.is_symlink()
        return "something that is not a folder" if exists else ""
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        return "the folder you are in, or one around it"
    folders = {str(parent) for name in record for parent in PurePosixPath(f"{name}*").parents}
    foreign = list(_foreign(folder, Path(), record, folders))
    words = f"other files, another kind of {kind}, or changed since: {first_of(foreign)}"
    return words if foreign else ""


def _foreign(folder: Path, inside: Path, record: Record, folders: Container[str]) -> Iterator[str]:
    """What is not recorded or was changed, below one part of ``folder``.

    Args:
        folders: Those of the record.
    """
    for path in sorted((folder / inside).iterdir()):
        name = (inside / path.name).as_posix()
        if path.is_dir() and name in folders:
            yield from _foreign(folder, inside / path.name, record, folders)
        elif not (path.is_file() and name in record and record[name] in (None, sha256(path))):
            yield name
