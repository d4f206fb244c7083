"""``plan``: what a sweep will cost, before it starts."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from minituner import commands
from minituner.cli.arguments import HERE, positive_int
from minituner.pipeline.paths import PREDICTIONS, STUDY_RECORD, training_benchmark

HELP = "predict time and memory of the sweep before it starts"
DESCRIPTION = """\
Predict what each rank of the sweep will cost: the adapter's size and whether it
passes its gate, the memory, the steps and the time, from a few steps that are
really taken. Nothing is changed; files that the pipeline has not made yet are
estimated, and the output says so. The exit code is 1 if the memory will not
suffice. After a run, its figures are shown next to the predicted ones."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    study: str
    config: list[str] | None
    cores: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "study",
        nargs="?",
        default=HERE,
        metavar="FOLDER",
        help="the study's folder (default: the working folder)",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        metavar="FILE",
        help=f"the study's config files (default: those that {STUDY_RECORD} names)",
    )
    parser.add_argument(
        "--cores",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="the cores that Snakemake will be given (default: all, %(default)s)",
    )


def run(options: Options) -> int:
    """Print the plan; a UserError follows if the memory will not suffice."""
    from minituner.pipeline.config import (
        SCHEMA,
        check_config,
        default_files,
        read_config,
        require_study,
    )
    from minituner.pipeline.project import link_project
    from minituner.planning.plan import plan_sweep
    from minituner.planning.table import describe, describe_measured, predictions
    from minituner.reporting.cost import read_measured
    from minituner.storage.files import write_json

    given = [str(Path.cwd() / file) for file in options.config or ()]
    os.chdir(options.study)  # the paths in a config are relative to its study
    files = commands.use_config_files(given or commands.config_files(), options.study)
    require_study(options.study)
    link_project()
    files = (*default_files(), *files)
    config = read_config(files)
    check_config(config, SCHEMA, files)
    plan = plan_sweep(config, options.cores)
    print(describe(plan, config["gates"]["adapter_size_ratio"]))
    measured = {f"rank {rank}": read_measured(training_benchmark(rank)) for rank in config["ranks"]}
    if comparison := describe_measured(plan, measured):
        print(f"\n{comparison}")
    write_json(PREDICTIONS, predictions(plan))
    plan.require_memory()
    return 0
