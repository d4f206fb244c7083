"""Which study the results here belong to; a study is named by its config files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from minituner import commands
from minituner.errors import UserError
from minituner.pipeline.paths import STUDY_RECORD as RECORD
from minituner.storage.files import read_json, write_json

OVERWRITE = "overwrite_results"  # the key for --config


def owner(folder: str | Path = ".") -> tuple[str, ...] | None:
    """The config files of the study whose results are in a folder; ``None`` if there are none.

    Raises:
        UserError: The record of them is damaged.
    """
    record = Path(folder, RECORD)
    if not record.exists():
        return None
    try:
        names = read_json(record)["config_files"]
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("no list of files")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            record,
            "does not say whose results these are",
            found=str(error).splitlines()[0],
            expected='{"config_files": ["config.yaml"]}, with the study\'s other config files',
            fix="correct it, or delete the results too: the folder experiments, and REPORT.md",
        ) from error
    return tuple(names)


def asked_to_overwrite(value: object) -> bool:
    """Whether the value of ``--config overwrite_results=`` is true.

    Raises:
        UserError: It is neither true nor false.
    """
    if str(value).lower() not in ("true", "false"):
        raise UserError(
            f"--config: {OVERWRITE}",
            "is neither true nor false",
            found=repr(value),
            expected="true, or nothing at all",
            fix=f"write --config {OVERWRITE}=true",
        )
    return str(value).lower() == "true"


def require_own_results(arguments: Sequence[str]) -> None:
    """Refuse to run where there are results of other config files: they would be replaced, or
    mistaken for this study's.

    Args:
        arguments: The arguments of the running Snakemake command.

    Raises:
        UserError: Naming the alternatives.
    """
    ours, theirs = commands.config_files(), owner()
    if theirs in (None, ours):
        return
    replace = commands.with_config(arguments, OVERWRITE, "true")
    raise UserError(
        RECORD,
        "the results here belong to another study",
        found=f"made with {' and '.join(theirs or ())}",
        expected=f"results made with {' and '.join(ours)}, or none",
        fix="one of these:"
        f"\n    {_in_a_folder_of_its_own(ours)}"
        f"\n    continue the other study: {commands.snakemake('report', files=theirs or ())}"
        f"\n    replace its results: {replace}",
    )


def _in_a_folder_of_its_own(config_files: Sequence[str]) -> str:
    """How to run a study with these config files in a new folder next to this one."""
    last = Path(config_files[-1])
    name = last.stem if last.name != commands.CONFIG else last.resolve().parent.name
    while Path("..", name).exists():
        name += "-study"
    folder = shlex.quote(os.path.normpath(Path(commands.folder(), "..", name)))
    return (
        f"give this study a folder of its own: minituner init {folder}, write what {last} sets "
        f"into its config.yaml (paths are relative to that folder), and: minituner run {folder} "
        "report"
    )


def claim_results() -> None:
    """Record that the results here belong to this study from now on."""
    if owner() != commands.config_files():
        write_json(RECORD, {"config_files": list(commands.config_files())})
