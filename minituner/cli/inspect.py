"""``inspect``: what a file or a folder of the study is, in a few lines."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minituner.cli.explanation import Explanation
from minituner.errors import UserError
from minituner.storage.text import unreadable

HELP = "say what a file or folder of the study is"
DESCRIPTION = """\
Say in a few lines what a file of the study, or a folder of them, holds: weights,
a transformers model, an export, a tokenizer, a manifest, a corpus, minimal pairs,
results, a whole study. No code in a file is ever executed."""

SUPPORTED = (
    "a base checkpoint or an adapter (.pt, .safetensors), a tokenizer, a manifest or results "
    "(.json), a corpus, pairs or texts (.jsonl), a table (.csv, .tsv), verbs, frames or a config "
    "(.yaml), a figure (.png), a report (.md), a folder of these, a transformers model or a PEFT "
    "adapter"
)


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    file: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("file", metavar="FILE", help="the file or folder")


def run(options: Options) -> int:
    """Print the explanation."""
    print(explain(options.file))
    return 0


def explain(path: str | Path) -> str:
    """A few lines on what the file or folder holds.

    Raises:
        UserError: It does not exist, is damaged, or is not of a kind that the study has.
    """
    if not str(path):  # Path would take it for the working folder
        raise UserError(
            "inspect",
            "was given an empty name",
            found="''",
            expected=SUPPORTED,
            fix="name one of those",
        )
    path = Path(path)
    try:
        return str(_explainer_of(path, path.stat())(path))
    except FileNotFoundError as error:
        raise UserError(
            path, "there is no such file", found="nothing", expected=SUPPORTED, fix="fix the path"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _explainer_of(path: Path, status: os.stat_result) -> Callable[[Path], Explanation]:
    """The function that explains files of this kind.

    Raises:
        UserError: There is none.
    """
    if stat.S_ISDIR(status.st_mode):
        from minituner.cli.inspect_folder import explain_folder

        return explain_folder
    explainers, suffix = _explainers(), path.suffix.lower() or path.name
    if not stat.S_ISREG(status.st_mode):
        found = "a pipe, a socket or a device"
    elif suffix not in explainers:
        found = f"a file that ends in {suffix!r}" if path.suffix else "a name without an ending"
    elif status.st_size == 0 and suffix != ".jsonl":  # a corpus may have no rows
        found = "an empty file"
    else:
        return explainers[suffix]
    raise UserError(
        path,
        "is not a kind of file that the study has",
        found=found,
        expected=SUPPORTED,
        fix="name one of those",
    )


def _explainers() -> dict[str, Callable[[Path], Explanation]]:
    """The functions that explain a file, by the suffix of its name."""
    from minituner.cli.inspect_json import explain_json, explain_jsonl
    from minituner.cli.inspect_tensors import explain_safetensors, explain_torch_file
    from minituner.cli.inspect_text import explain_figure, explain_table, explain_text, explain_yaml

    return {
        ".pt": explain_torch_file,
        ".safetensors": explain_safetensors,
        ".json": explain_json,
        ".jsonl": explain_jsonl,
        ".csv": explain_table,
        ".tsv": explain_table,
        ".yaml": explain_yaml,
        ".yml": explain_yaml,
        ".png": explain_figure,
        ".md": explain_text,
        ".txt": explain_text,
        ".gitignore": explain_text,
        ".log": explain_text,
    }
