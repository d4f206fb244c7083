"""Seconds and peak memory of the training jobs: measured by Snakemake, predicted by ``plan``."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minituner.storage.files import read_json

HEADING = """# What the study cost

Measured during the run, on the machine that ran it, along with whatever else ran there. Unlike the
results, these numbers differ from run to run. A job trains all seeds of a rank.
"""
MEASURED = ("wall, s", "peak memory, MB")
PREDICTED = ("predicted, s", "predicted, MB")


class Measured(NamedTuple):
    """What a job took; None where it ended before it was measured."""

    seconds: float | None
    memory_mb: float | None  # 2**20 bytes, as Snakemake counts them


def cost_table(benchmarks: Mapping[str, str | Path], predictions: str | Path | None = None) -> str:
    """A Markdown page with a row per job, with dashes if its benchmark file is missing.

    Args:
        benchmarks: The file of Snakemake's ``benchmark:`` by the job's name.
        predictions: The file that ``plan`` writes; without it there are no predicted columns.
    """
    predicted: Mapping[str, Any] = {}
    if predictions is not None and Path(predictions).is_file():
        predicted = read_json(predictions)
    headings = ("job", *MEASURED, *(PREDICTED if predicted else ()))
    lines = [HEADING, _line(headings), "|---" * len(headings) + "|"]
    for name, path in benchmarks.items():
        took = read_measured(path) or Measured(None, None)
        row = predicted.get(name, {})
        cells = [took.seconds, took.memory_mb]
        cells += [row.get("seconds"), row.get("memory_mb")] if predicted else []
        lines.append(_line((name, *("-" if x is None else f"{x:.0f}" for x in cells))))
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def read_measured(path: str | Path) -> Measured | None:
    """The figures of a benchmark file; None if there is no such file."""
    if not Path(path).is_file():
        return None
    with Path(path).open(encoding="utf-8") as stream:
        (measured,) = csv.DictReader(stream, delimiter="\t")
    # Snakemake writes NA or - for a job that ended before it was measured.
    numbers = (measured[key] for key in ("s", "max_rss"))
    return Measured(*(float(x) if x.replace(".", "").isdigit() else None for x in numbers))
