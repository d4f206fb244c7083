"""``generate``: both corpora, made from the verbs and the sentence frames."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

HELP = "make both corpora from the verbs and frames"
DESCRIPTION = """\
Write the study's corpus and the base's corpus from verbs.yaml and frames.yaml.
Files that already hold these bytes are left alone. If a file differs, perhaps
because it was edited by hand, nothing is written without --force."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    check: bool
    force: bool
    raw: Path
    out: Path
    config: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file differs"
    )
    mode.add_argument("--force", action="store_true", help="overwrite files that differ")
    for name, default, description in (
        ("--raw", "data/raw", "the folder of verbs.yaml and frames.yaml"),
        ("--out", "data/processed", "the folder to write the corpora to"),
    ):
        parser.add_argument(
            name,
            type=Path,
            default=Path(default),
            metavar="FOLDER",
            help=f"{description} (default: %(default)s)",
        )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("config.yaml"),
        metavar="FILE",
        help="the config whose section generate is used (default: %(default)s)",
    )


def run(options: Options) -> int:
    """Write or check the corpora; returns 1 if a check finds a file that differs."""
    from minituner.data.generate import write_corpora

    return write_corpora(
        raw=options.raw,
        out=options.out,
        config=options.config,
        check=options.check,
        force=options.force,
    )
