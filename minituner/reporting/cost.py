"""Seconds and peak memory of the training jobs, from the benchmark files of Snakemake."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

HEADING = """# What the study cost

Measured during the run, on the machine that ran it, along with whatever else ran there. Unlike the
results, these numbers differ from run to run. A job trains all seeds of a rank.

| job | wall, s | peak memory, MB |
|---|---|---|
"""


def cost_table(benchmarks: Mapping[str, str | Path]) -> str:
    """A Markdown page with a row per job, with dashes if its benchmark file is missing.

    Args:
        benchmarks: The file of Snakemake's ``benchmark:`` by the job's name.
    """
    return HEADING + "".join(_row(name, Path(path)) for name, path in benchmarks.items())


def _row(name: str, path: Path) -> str:
    figures = measured(path) or (None, None)
    cells = ("-" if figure is None else f"{figure:.0f}" for figure in figures)
    return f"| {name} | {' | '.join(cells)} |\n"


def measured(path: Path) -> tuple[float | None, float | None] | None:
    """Wall time in seconds and peak memory in MB from a benchmark file; ``None`` without one."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream, delimiter="\t")
    return _number(row["s"]), _number(row["max_rss"])


def _number(text: str) -> float | None:
    """A figure; Snakemake writes NA or - for a job that ended before it was measured."""
    return float(text) if text.replace(".", "").isdigit() else None
