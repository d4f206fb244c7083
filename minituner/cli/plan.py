"""``plan``: what a sweep will cost, before it starts."""

from __future__ import annotations

import argparse
import os
from contextlib import chdir
from dataclasses import dataclass, replace

from minituner import commands
from minituner.cli.arguments import add_study_folder, positive_int
from minituner.pipeline.paths import PREDICTIONS, training_benchmark

HELP = "predict time and memory of the sweep before it starts"
DESCRIPTION = """\
Predict what each rank of the sweep will cost: the adapter's size and whether it
passes its gate, the memory, the steps and the time, from a few steps that are
really taken. No result is changed; what the pipeline has not made yet is made in
memory, and the output says so. The exit code is 1 if the memory will not
suffice. After a run, its figures are shown next to the predicted ones."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    study: str
    config: list[str] | None
    cores: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    add_study_folder(parser)
    parser.add_argument(
        "--cores",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="the cores that Snakemake will be given (default: all, %(default)s)",
    )


def run(options: Options) -> int:
    """Print the plan; a UserError follows if the memory will not suffice."""
    if options.config is not None:
        commands.use_config_files(options.config, folder=options.study, root=options.study)
    commands.use_study(replace(commands.study(), root="."))
    with chdir(options.study):  # where the paths in a config start
        return _plan_here(options.study, options.cores)


def _plan_here(folder: str, cores: int) -> int:
    """Print the plan of the study in the working folder.

    Args:
        folder: Its name, for messages.
    """
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

    require_study(folder)
    link_project()  # the defaults name files through it
    files = [*default_files(), *commands.config_files()]
    config = read_config(files)
    check_config(config, SCHEMA, files)
    plan = plan_sweep(config, cores)
    print(describe(plan, config["gates"]["adapter_size_ratio"]))
    measured = {f"rank {rank}": read_measured(training_benchmark(rank)) for rank in config["ranks"]}
    if comparison := describe_measured(plan, measured):
        print(f"\n{comparison}")
    write_json(PREDICTIONS, predictions(plan))
    plan.require_memory()
    return 0
