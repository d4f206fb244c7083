"""The project, which holds the code, and how a study in another folder names its files.

Such a study has a link to the project, so its inputs and manifests have the same paths wherever the
project lies, and moving the project reruns nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from minituner.errors import UserError

PROJECT = Path(__file__).resolve().parent.parent.parent
LINK = ".snakemake/minituner"  # in a study's folder


def is_project(folder: str | Path = ".") -> bool:
    """Whether a study's folder is the project's own."""
    return PROJECT.samefile(folder)


def from_study(path: str, folder: str | Path = ".") -> str:
    """A path in the project, as a study in ``folder`` names it."""
    return path if is_project(folder) else f"{LINK}/{path}"


def locate(path: str, folder: str | Path = ".") -> Path:
    """The file of a path that a study in ``folder`` names; the link need not exist."""
    inside = path.removeprefix(f"{LINK}/")
    return Path(folder, path) if inside == path else PROJECT / inside


def link_project() -> None:
    """Make the link in the working folder, or correct it; the project's own folder has none.

    Raises:
        UserError: The folder's file system has no links, or does not let us write.
    """
    link = Path(LINK)
    if is_project() or (link.is_symlink() and link.readlink() == PROJECT):
        return
    partial = link.with_name(f"{link.name}.{os.getpid()}")
    try:
        link.parent.mkdir(exist_ok=True)
        partial.symlink_to(PROJECT, target_is_directory=True)
        partial.replace(link)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(
            LINK,
            "the link to the project cannot be made",
            found=error.strerror or str(error),
            expected="a folder that you may write to, on a file system with symbolic links",
            fix="put the study's folder elsewhere",
        ) from error
