"""What each job of the study took, from the benchmark files that Snakemake writes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

HEADING = """# What the study cost

As measured while it ran, on the machine that ran it and beside whatever else ran there; unlike the
results, this differs from run to run. A job trains all seeds of a rank.

| job | wall, s | peak memory, MB |
|---|---|---|
"""


def cost_table(benchmarks: Mapping[str, str | Path]) -> str:
    """A Markdown page with a row for each job; dashes where its benchmark file is gone.

    Args:
        benchmarks: For each job's name, the file of Snakemake's ``benchmark:``.
    """
    return HEADING + "".join(_row(name, Path(path)) for name, path in benchmarks.items())


def _row(name: str, path: Path) -> str:
    if not path.is_file():
        return f"| {name} | - | - |\n"
    with path.open(encoding="utf-8") as stream:
        (measured,) = csv.DictReader(stream, delimiter="\t")
    figures = (measured[key] for key in ("s", "max_rss"))
    # Snakemake writes NA or - where a job ended before it looked.
    cells = (f"{float(x):.0f}" if x.replace(".", "").isdigit() else "-" for x in figures)
    return f"| {name} | {' | '.join(cells)} |\n"
