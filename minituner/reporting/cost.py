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
    if not path.is_file():
        return f"| {name} | - | - |\n"
    with path.open(encoding="utf-8") as stream:
        (measured,) = csv.DictReader(stream, delimiter="\t")
    figures = (measured[key] for key in ("s", "max_rss"))
    # Snakemake writes NA or - for a job that ended before it was measured.
    cells = (f"{float(x):.0f}" if x.replace(".", "").isdigit() else "-" for x in figures)
    return f"| {name} | {' | '.join(cells)} |\n"
