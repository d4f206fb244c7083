"""How time and memory grow with each size of the work: the last section of RESULTS.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from measure import shown, spread

Spread = dict[str, float]  # median, min and max, as measure.spread gives them


@dataclass(frozen=True)
class Series:
    """Time and memory at several values of one size."""

    name: str
    x: list[float]
    seconds: list[Spread]
    peak_mb: list[Spread]

    @property
    def single_runs(self) -> bool:
        """Whether each point was measured only once."""
        return all(seconds["min"] == seconds["max"] for seconds in self.seconds)


def scaling_series(results: Mapping[str, Any]) -> list[Series]:
    """The series of all four sizes: rows, rank, seeds and width."""
    rows = results["data"]["points"]
    series = [
        Series(
            "rows of the corpus",
            [point["rows"] for point in rows],
            [point["seconds_in_all"] for point in rows],
            [peak_mb(point) for point in rows],
        )
    ]
    for section, name in (
        ("ranks", "rank, one seed"),
        ("seeds", "seeds, headline rank"),
        ("widths", "width, one seed"),
    ):
        points = results[section]["points"]
        series.append(
            Series(
                name,
                [point["value"] for point in points],
                [_as_spread(point["seconds"]) for point in points],
                [_as_spread(point["peak_mb"]) for point in points],
            )
        )
    return series


def peak_mb(point: Mapping[str, Any]) -> Spread:
    """The peak memory of the largest of the data stages."""
    stages = point["peak_mb"].values()
    return {key: max(stage[key] for stage in stages) for key in ("median", "min", "max")}


def microseconds_per_row(point: Mapping[str, Any]) -> Spread:
    """The time of the three data stages together, per row."""
    return {key: 1e6 * value / point["rows"] for key, value in point["seconds_in_all"].items()}


def _as_spread(value: float | Spread) -> Spread:
    """Of a point that was measured once, a single number."""
    return value if isinstance(value, dict) else spread([value])


def plot_scaling(series: Sequence[Series], path: Path) -> None:
    """Draw seconds and memory on log scales, with bars from the minimum to the maximum."""
    figure, axes = plt.subplots(2, len(series), figsize=(14, 6), layout="constrained")
    for column, one in enumerate(series):
        for row, (label, y) in enumerate((("seconds", one.seconds), ("peak, MB", one.peak_mb))):
            _draw(axes[row][column], one.x, y)
            axes[row][column].set(xlabel=one.name, ylabel=label)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw(panel: Axes, x: Sequence[float], y: Sequence[Spread]) -> None:
    median, low, high = (np.array([point[key] for point in y]) for key in ("median", "min", "max"))
    panel.loglog(x, median, "o-", color="#0072B2")
    panel.vlines(x, low, high, color="#0072B2")
    panel.set_ylim(*at_least_a_decade([*low, *high]))
    panel.set_title(f"exponent {exponent(x, median):.2f}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.grid(alpha=0.25, which="both")


def at_least_a_decade(y: Sequence[float]) -> tuple[float, float]:
    """Limits of a log axis around y, far enough apart that a flat curve looks flat."""
    margin = max(1.2, math.sqrt(10 * min(y) / max(y)))
    return min(y) / margin, max(y) * margin


def scaling_section(series: Sequence[Series]) -> str:
    """The section of RESULTS.md."""
    lines = [
        "## Scaling",
        "",
        "![Seconds and memory against rows, rank, seeds and width](scaling.png)",
        "",
        "The exponent is that of a power law through the upper half of the points. The start-up "
        "time of a process and the memory of its libraries make it smaller. "
        + _repetitions(series),
        "",
        "| against | from | to | seconds | exponent | peak, MB | exponent |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in series:
        seconds, memory = (
            f"{shown(y[0], digits)} to {shown(y[-1], digits)} "
            f"| {exponent(one.x, [point['median'] for point in y]):.2f}"
            for y, digits in ((one.seconds, 1), (one.peak_mb, 0))
        )
        lines.append(f"| {one.name} | {one.x[0]:,} | {one.x[-1]:,} | {seconds} | {memory} |")
    return "\n".join(lines)


def _repetitions(series: Sequence[Series]) -> str:
    """Which points are single runs, and which are medians."""
    medians = "medians, with bars from the minimum to the maximum in the figure"
    single = [one.name for one in series if one.single_runs]
    if len(single) == len(series):
        return "All points are single runs."
    if single:
        return f"Single runs: {'; '.join(single)}. The other points are {medians}."
    return f"The points are {medians}."


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of a line through the upper half of the points, on log scales."""
    half = math.ceil(len(x) / 2)
    return float(np.polyfit(np.log(x[-half:]), np.log(y[-half:]), 1)[0])
