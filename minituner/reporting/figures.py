"""The style of the figures and the parts they share: no legend over a point, nothing cut off, and
the same bytes from the same numbers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from minituner.storage.files import atomic_open

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

if TYPE_CHECKING:
    from minituner.results import ComparisonRow, Interval


# Distinguishable in grayscale too (the palette of Okabe & Ito).
BLUE, ORANGE, GREEN, PURPLE, BLACK, GRAY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#000000",
    "#666666",
)
COLORS = (BLUE, ORANGE, GREEN, PURPLE, BLACK, GRAY, "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", "--", ":", "-.")
STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
HEIGHT = 4.2  # of a figure without its legend, in inches
LEGEND_WIDTH = 60  # characters after which a label is broken: the width of the narrowest figure
Y_LABEL_WIDTH = 40  # the same for the label of a y axis, which is as long as the figure is high

plt.rcParams.update(STYLE)


@dataclass(frozen=True)
class TaskNames:
    """What the axes speak of: two values of the config's section ``task``."""

    name: str  # what is taught: "irregular verbs"
    control_name: str  # what must not be forgotten: "regular verbs"


def style_of(i: int) -> tuple[str, str, str]:
    """Color, marker and line of the ``i``-th series of a figure, counted from 0.

    The first eight differ in color and in marker, the first 64 in at least one of them.
    """
    n = len(COLORS)
    return COLORS[i % n], MARKERS[(i + i // n) % n], LINES[i % len(LINES)]


def new_figure(width: float = 6.4, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row.

    Args:
        width: In inches.
    """
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, rows * HEIGHT), layout="constrained", squeeze=False
    )
    return figure, list(axes.flat)


def add_legend(figure: Figure, *axes: Axes, title: str | None = None) -> list[Artist]:
    """One legend of all ``axes``, below them, where no point can be.

    It has as many columns as fit, at most three. The figure grows by its height, so that the axes
    keep theirs.

    Returns:
        The handles, for a caller that must change their size.
    """
    labeled = {
        textwrap.fill(label, LEGEND_WIDTH, break_on_hyphens=False): handle
        for part in axes
        for handle, label in zip(*part.get_legend_handles_labels(), strict=True)
    }
    if not labeled:
        return []
    room = 0.97 * figure.dpi * figure.get_figwidth()
    for columns in range(min(3, len(labeled)), 0, -1):
        legend = figure.legend(
            list(labeled.values()),
            list(labeled),
            loc="outside lower center",
            ncols=columns,
            title=title,
            fontsize=9,
            title_fontsize=9,
        )
        extent = legend.get_window_extent()
        if extent.width <= room or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
    return [handle for handle in legend.legend_handles if handle is not None]


def set_x_label(axes: Axes, what: str, unit: str) -> None:
    """Label the x axis, on as many lines as it takes."""
    axes.set_xlabel(_label(what, unit, LEGEND_WIDTH))


def set_y_label(axes: Axes, what: str, unit: str) -> None:
    """Label the y axis, on as many lines as it takes."""
    axes.set_ylabel(_label(what, unit, Y_LABEL_WIDTH))


def _label(what: str, unit: str, width: int) -> str:
    """``what, unit`` on one line, or with the unit on a line of its own."""
    label = f"{what}, {unit}"
    if len(label) <= width:
        return label
    return f"{textwrap.fill(f'{what},', width, break_on_hyphens=False)}\n{unit}"


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG atomically, without the metadata that differ between versions of matplotlib."""
    with atomic_open(path, "wb") as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)


def name_ranks(axis: Axis, ranks: Sequence[int], apart: float) -> None:
    """A tick at every rank on a logarithmic axis, with labels that do not overlap.

    Args:
        ranks: In ascending order.
        apart: The least distance between two labels, as a share of the axis.
    """
    low, high = map(float, axis.get_view_interval())
    named: list[int] = []
    for rank in ranks:
        if not named or math.log2(rank / named[-1]) >= apart * math.log2(high / low):
            named.append(rank)
    axis.set_ticks(ranks, [str(rank) if rank in named else "" for rank in ranks])
    axis.set_minor_locator(NullLocator())


def from_zero(axes: Axes) -> None:
    """Let the y axis go from zero to the largest value, with a margin for whole markers."""
    top = axes.dataLim.y1 or 1.0
    axes.set_ylim(-0.03 * top, 1.05 * top)


# --- curves over the ranks ----------------------------------------------------------------------


def ranks_of(rows: Iterable[ComparisonRow]) -> list[int]:
    """The ranks of the rows that have one."""
    return [row["rank"] for row in rows if row["rank"] is not None]


def mean_curve(
    axes: Axes,
    x: Sequence[float],
    estimates: Sequence[Interval],
    style: tuple[str, str, str],
    label: str,
    scale: float = 100,
) -> None:
    """Means with their intervals, times ``scale``: in percent by default."""
    color, marker, line = style
    axes.errorbar(
        x,
        [scale * estimate["mean"] for estimate in estimates],
        yerr=[
            [_reach(e["low"], e["mean"], -scale) for e in estimates],
            [_reach(e["high"], e["mean"], +scale) for e in estimates],
        ],
        color=color,
        marker=marker,
        linestyle=line,
        capsize=4,
        label=label,
    )


def _reach(end: float | None, mean: float, scale: float) -> float:
    """The length of one side of an error bar; NaN, which draws nothing, without an end.

    The mean of few skewed draws may be just outside its percentile interval: the length is then 0.
    """
    return math.nan if end is None else max(0.0, scale * (end - mean))


def seed_points(
    axes: Axes, x: Sequence[float], by_seed: Sequence[Sequence[float]], color: str
) -> None:
    """Faint points for single seeds, in percent.

    Args:
        by_seed: For each of ``x`` the values of its seeds.
    """
    at = [position for position, values in zip(x, by_seed, strict=True) for _ in values]
    points = [100 * value for values in by_seed for value in values]
    axes.scatter(at, points, s=60, color=color, alpha=0.15, linewidths=0, zorder=1)


def rank_axis(axes: Axes, ranks: Iterable[int]) -> None:
    """Make the x axis that of the ranks."""
    axes.set_xscale("log", base=2)
    name_ranks(axes.xaxis, sorted(set(ranks)), apart=0.045)
    axes.set_xlabel("LoRA rank r (log2 scale)")
