"""``compare``: several finished studies side by side."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minituner.errors import UserError

if TYPE_CHECKING:
    from minituner.statistics.study_differences import Measure

HELP = "put several finished studies side by side"
DESCRIPTION = """\
Write one page, one table (CSV) and one figure of several finished studies: accuracy
or margin, drift, adapter size and training cost against rank. Studies of the same
task with the same test items are also compared item by item, with intervals; where
that is not possible, the page says why. Nothing in a study's folder is changed."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    studies: list[str]
    out: str
    measure: Measure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument(
        "studies", nargs="+", metavar="STUDY", help="the folder of a study that has run"
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOLDER",
        help="the folder to write: a new one, or one with an earlier comparison only",
    )
    parser.add_argument(
        "--measure",
        choices=["accuracy", "margin_nats"],
        default="accuracy",
        help="what is compared (default: %(default)s)",
    )


def run(options: Options) -> int:
    """Write the comparison."""
    if len(options.studies) < 2:
        raise UserError(
            "compare",
            "needs at least two studies",
            found=f"only {options.studies[0]}",
            expected="the folders of two or more studies",
            fix="name another study, or read this one's own report: "
            f"{options.studies[0]}/REPORT.md",
        )

    from minituner.reporting.comparison import PAGE, compare_studies

    compare_studies(options.studies, options.measure, options.out)
    print(f"{options.out}/{PAGE}")
    return 0
