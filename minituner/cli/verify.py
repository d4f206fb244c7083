"""``verify``: every result is checked against its manifest."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from minituner import commands
from minituner.cli.arguments import add_study_folder
from minituner.cli.study import read_study_config

HELP = "check every result against its manifest"
DESCRIPTION = """\
Recompute every hash in every manifest, from the corpus to the report, and list
the results that are stale, edited, missing or made by other package versions,
with the command that makes them again. The exit code is 0 only if every result
is current."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    study: str
    config: list[str] | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    add_study_folder(parser)


def run(options: Options) -> int:
    """Verify a study's results; returns 1 if one of them is not current."""
    from minituner.pipeline.verify import describe, verify

    if options.config is not None:
        commands.use_config_files(options.config, folder=options.study, root=options.study)
    stages = verify(read_study_config(options.study), options.study)
    print(describe(stages))
    return 0 if all(stage.current for stage in stages) else 1
