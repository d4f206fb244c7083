"""What a figure shows: its curves, error bars, points and legend, rounded to six decimals."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

Points = list[tuple[float, float]]


def curves(axes: Axes) -> dict[str, Points]:
    """By label: the points of each line, and of the means of each line with error bars."""
    lines: dict[str, Line2D] = {str(line.get_label()): line for line in axes.lines}
    lines |= {str(c.get_label()): c.lines[0] for c in error_bars_of(axes)}
    return {
        label: _rounded(line.get_xydata())
        for label, line in lines.items()
        if not label.startswith("_")
    }


def error_bars(axes: Axes) -> dict[str, Points]:
    """By label: the lower and upper end of each vertical error bar that is drawn."""
    found = {}
    for container in error_bars_of(axes):
        (bars,) = container.lines[2]
        ends = [segment[:, 1] for segment in bars.get_segments() if len(segment)]
        found[str(container.get_label())] = _rounded(ends)
    return found


def _rounded(pairs: Any) -> Points:
    return [(round(float(a), 6), round(float(b), 6)) for a, b in pairs]


def error_bars_of(axes: Axes) -> list[ErrorbarContainer]:
    """The error bars of the axes."""
    return [c for c in axes.containers if isinstance(c, ErrorbarContainer)]


def points(axes: Axes) -> list[Points]:
    """The points of each scatter, in the order of their drawing."""
    return [
        _rounded(collection.get_offsets())
        for collection in axes.collections
        if isinstance(collection, PathCollection)
    ]


def legend(figure: Figure) -> list[str]:
    """The labels of the figure's one legend."""
    (only,) = figure.legends
    return [text.get_text() for text in only.get_texts()]
