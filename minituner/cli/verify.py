"""``verify``: every result is checked against its manifest."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from minituner import commands
from minituner.pipeline.paths import STUDY_RECORD

HELP = "check every result against its manifest"
DESCRIPTION = """\
Recompute every hash in every manifest, from the corpus to the report, and list
the results that are stale, edited, missing or made by other package versions,
with the command that makes them again. The exit code is 0 only if every result
is current."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    config: list[str] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "--config",
        nargs="+",
        metavar="FILE",
        help=f"the study's config files (default: those that {STUDY_RECORD} names)",
    )


def run(options: Options) -> int:
    """Verify the results in the working folder; returns 1 if one of them is not current."""
    from minituner.pipeline.config import read_config
    from minituner.pipeline.verify import describe, verify

    files = commands.use_config_files(options.config or commands.config_files())
    stages = verify(read_config(files))
    print(describe(stages))
    return 0 if all(stage.current for stage in stages) else 1
