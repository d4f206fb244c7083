"""The figure of several studies: a row of panels per task, then size and cost of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from minituner.pipeline.finished import FinishedStudy
from minituner.reporting.figures import (
    GRAY,
    add_legend,
    from_zero,
    mean_curve,
    new_figure,
    rank_axis,
    save_figure,
    style_of,
)
from minituner.statistics.study_differences import Measure

Row = Mapping[str, Any]  # of the table: see `comparison.comparison_rows`
WIDTH = 9.6  # inches
APART = 0.05  # the distance of two studies' points at the same rank, in powers of two

SCALES: dict[Measure, float] = {"accuracy": 100, "margin_nats": 1}
AXIS_NAMES: dict[Measure, str] = {
    "accuracy": "test accuracy, %",
    "margin_nats": "margin of the right form, nats",
}


def plot_comparison(
    studies: Sequence[FinishedStudy], rows: Sequence[Row], measure: Measure, path: str | Path
) -> None:
    """Draw the measure and the drift against rank, task by task, then adapter size and training
    time. Scores of different tasks have no axes in common: they cannot be ranked.

    Args:
        rows: The table of all studies.
        path: The PNG to write.
    """
    tasks = list(dict.fromkeys(study.task_name for study in studies))
    figure, axes = new_figure(WIDTH, columns=2, rows=len(tasks) + 1)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    labels = [study.label for study in studies]
    for i, task in enumerate(tasks):
        left, right = axes[2 * i : 2 * i + 2]
        of_task = [row for row in rows if row["task"] == task]
        _draw_task(left, right, of_task, labels, measure)
        for part in (left, right):
            part.set_title(_plain(task), fontsize=11)
    size, cost = axes[-2:]
    for label in labels:
        _draw_sizes(size, cost, [row for row in rows if row["study"] == label], labels)
    _finish_sizes(size, cost, rows)
    add_legend(figure, *axes)
    save_figure(figure, path)


def _draw_task(
    left: Axes, right: Axes, rows: Sequence[Row], labels: Sequence[str], measure: Measure
) -> None:
    """The measure, with each base's, and the drift of the studies of one task."""
    for label in dict.fromkeys(row["study"] for row in rows):
        own = [row for row in rows if row["study"] == label]
        style, x = _style(label, labels), _beside(own, label, labels)
        scale = SCALES[measure]
        shown = _plain(label)
        mean_curve(left, x, [_interval(row, measure) for row in own], style, shown, scale)
        left.axhline(scale * own[0][f"base_{measure}"], color=style[0], linestyle=":", linewidth=1)
        mean_curve(right, x, [_interval(row, "text_drift") for row in own], style, shown)
    right.axhline(0, color=GRAY, linestyle=":", linewidth=1, label="untuned base")
    left.set_ylabel(AXIS_NAMES[measure])
    right.set_ylabel("control perplexity, change in %")
    if measure == "accuracy":
        left.set_ylim(-3, 103)  # markers at 0 and 100 % are not cut off
    for part in (left, right):
        rank_axis(part, [row["rank"] for row in rows])


def _draw_sizes(size: Axes, cost: Axes, rows: Sequence[Row], labels: Sequence[str]) -> None:
    """One study's adapter size and, where it was measured, its training time."""
    label = rows[0]["study"]
    color, marker, line = _style(label, labels)
    style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": line}
    shares = [100 * row["size_ratio"] for row in rows]
    size.plot(_beside(rows, label, labels), shares, **style)
    timed = [row for row in rows if row["train_seconds"] is not None]
    seconds = [row["train_seconds"] for row in timed]
    cost.plot(_beside(timed, label, labels), seconds, **style)


def _finish_sizes(size: Axes, cost: Axes, rows: Sequence[Row]) -> None:
    size.set_ylabel("adapter file, % of the base's size")
    cost.set_ylabel("training of all seeds, s")
    for part in (size, cost):
        rank_axis(part, [row["rank"] for row in rows])
    from_zero(size)
    if any(row["train_seconds"] is not None for row in rows):
        from_zero(cost)
    else:
        cost.text(0.5, 0.5, "not measured here", ha="center", transform=cost.transAxes, color=GRAY)
        cost.set_yticks([])


def _style(label: str, labels: Sequence[str]) -> tuple[str, str, str]:
    return style_of(labels.index(label))


def _beside(rows: Sequence[Row], label: str, labels: Sequence[str]) -> list[float]:
    """The ranks, moved a little so that the studies' points do not cover each other."""
    position = labels.index(label) - (len(labels) - 1) / 2
    return [row["rank"] * 2 ** (APART * position) for row in rows]


def _interval(row: Row, name: str) -> Any:
    return {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def _plain(text: str) -> str:
    """Text without formulas for matplotlib, and not hidden from the legend by an underscore."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
