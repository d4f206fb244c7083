"""``init``: a folder for a new study."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from minituner.errors import UserError, first_of
from minituner.pipeline.paths import UNCOMMITTED_ENDINGS, UNCOMMITTED_FOLDERS

HELP = "begin a study in a new folder"
DESCRIPTION = """\
Write a study that runs as it is: a config.yaml whose comments say what to
decide, a small task and its control set to put your own in place of, and a
.gitignore. The folder must be new or empty."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    folder: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("folder", metavar="FOLDER", help="the folder to write")


def run(options: Options) -> int:
    """Write the study, and say what to do next."""
    folder = _empty_folder(options.folder)

    from minituner.data import skeleton
    from minituner.storage.files import write_jsonl, write_text

    pairs, control = skeleton.skeleton_pairs(), skeleton.skeleton_control()
    write_jsonl(folder / skeleton.PAIRS, pairs)
    write_jsonl(folder / skeleton.CONTROL, control)
    write_text(folder / ".gitignore", ignored())
    # Last, because a folder with a config.yaml is a study.
    write_text(folder / "config.yaml", skeleton.CONFIG.read_text(encoding="utf-8"))

    name = shlex.quote(options.folder)
    print(
        f"{folder / 'config.yaml'}  what to decide\n"
        f"{folder / skeleton.PAIRS}  the task: {len(pairs)} minimal pairs\n"
        f"{folder / skeleton.CONTROL}  the control set: {len(control)} texts\n\n"
        f"To run it as it is:\n    minituner run {name}\n"
        "Then put your own pairs and texts into these files, and run the same command again."
    )
    return 0


def ignored() -> str:
    """The .gitignore of a study: what a run makes again, except small results."""
    folders = (*UNCOMMITTED_FOLDERS, ".snakemake", "logs")
    endings = (*UNCOMMITTED_ENDINGS, "environment.json", "cost.md")
    lines = [f"{folder}/" for folder in folders] + [f"experiments/**/*{end}" for end in endings]
    return "\n".join([*lines, ""])


def _empty_folder(name: str) -> Path:
    """The folder of a new study.

    Raises:
        UserError: There is something in it.
    """
    folder = Path(name)
    if folder.is_dir():
        found = sorted(entry.name for entry in folder.iterdir())
    else:
        found = ["a file"] if folder.exists() or folder.is_symlink() else []
    if found or not name:
        raise UserError(
            name or "''",
            "cannot be the folder of a new study",
            found=first_of(found) if found else "an empty name",
            expected="a new or an empty folder; init overwrites nothing",
            fix="choose another name",
        )
    return folder
