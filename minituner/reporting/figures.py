"""The house style of the figures, and what all of them do: no legend over a point, nothing cut off,
and the same bytes from the same numbers."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from minituner.storage.files import atomic_open

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

# Dark and light enough to be told apart in gray (Okabe & Ito's blue and vermilion).
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
LEGEND_WIDTH = 60  # of a label, in letters: more than a column of any figure holds is broken

plt.rcParams.update(STYLE)


def style_of(i: int) -> tuple[str, str, str]:
    """Color, marker and line of the first, second, ... thing in a figure.

    Any of the first eight is told apart by its color or marker alone, any of 64 by both.
    """
    n = len(COLORS)
    return COLORS[i % n], MARKERS[(i + i // n) % n], LINES[i % len(LINES)]


def new_figure(width: float = 6.4, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in the house style with one row of axes.

    Args:
        width: In inches.
    """
    figure, axes = plt.subplots(
        1, columns, figsize=(width, HEIGHT), layout="constrained", squeeze=False
    )
    return figure, list(axes[0])


def add_legend(figure: Figure, *axes: Axes, title: str | None = None) -> list[Artist]:
    """One legend of all ``axes`` under them, where no point can be.

    It has as many columns as fit, and the figure grows by its height, so that the axes keep theirs.

    Returns:
        The handles, to be changed where they would be too large.
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


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all, without the metadata that would differ between versions."""
    with atomic_open(path, "wb") as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)


def name_ranks(axis: Axis, ranks: Sequence[int], apart: float) -> None:
    """A tick at every rank on a logarithmic axis; of those too near to each other some are named.

    Args:
        ranks: In ascending order.
        apart: How far names must be from each other, as a share of the axis.
    """
    low, high = map(float, axis.get_view_interval())
    named: list[int] = []
    for rank in ranks:
        if not named or math.log2(rank / named[-1]) >= apart * math.log2(high / low):
            named.append(rank)
    axis.set_ticks(ranks, [str(rank) if rank in named else "" for rank in ranks])
    axis.set_minor_locator(NullLocator())


def from_zero(axes: Axes) -> None:
    """The axis goes from zero to the largest value, and just so far beyond both that markers there
    are whole."""
    top = axes.dataLim.y1 or 1.0
    axes.set_ylim(-0.03 * top, 1.05 * top)
