"""The figures of the ablations: one per arm, and one of all runs of all arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from minituner.reporting.figures import (
    GRAY,
    TaskNames,
    add_legend,
    from_zero,
    mean_curve,
    new_figure,
    rank_axis,
    ranks_of,
    save_figure,
    seed_points,
    set_x_label,
    set_y_label,
    style_of,
)

if TYPE_CHECKING:
    from minituner.results import ArmRow, ArmSummary


def plot_arm(summary: ArmSummary, names: TaskNames, drift_gate: float, path: str | Path) -> None:
    """One arm: curves over the ranks if it has several, otherwise gain against drift."""
    if len(set(ranks_of(summary["rows"]))) > 1:
        _plot_over_ranks(summary, names, path)
    else:
        _plot_gain_and_drift(summary, names, drift_gate, path)


# --- curves over the ranks ----------------------------------------------------------------------


def _plot_over_ranks(summary: ArmSummary, names: TaskNames, path: str | Path) -> None:
    """Accuracy and the size of the update against rank: one curve per setting."""
    figure, (left, right) = new_figure(9.6, columns=2)
    runs = list(dict.fromkeys(row["run"] for row in summary["rows"]))
    all_ranks = sorted(set(ranks_of(summary["rows"])))
    for i, name in enumerate(runs):
        rows = [row for row in summary["rows"] if row["run"] == name]
        ranks, style = ranks_of(rows), style_of(i)
        shifted = [_shift(i, len(runs), all_ranks) * rank for rank in ranks]
        seed_points(left, shifted, [row["accuracy_by_seed"] for row in rows], style[0])
        mean_curve(left, shifted, [row["accuracy"] for row in rows], style, name)
        sizes = [100 * row["scale_audit"][-1]["relative_norm"] for row in rows]
        color, marker, line = style
        right.plot(ranks, sizes, color=color, marker=marker, linestyle=line, label=name)
    interval = f"{100 * summary['confidence']:g} % intervals"
    set_y_label(left, f"test accuracy on {names.name}", f"% ({interval})")
    right.set_ylabel("size of the update, % of the weight's norm")
    from_zero(right)
    for axes in (left, right):
        rank_axis(axes, all_ranks)
    add_legend(figure, left)
    save_figure(figure, path)


def _shift(i: int, n: int, ranks: Sequence[int]) -> float:
    """The factor by which the ``i``-th of ``n`` curves is moved aside, so that the intervals of a
    rank are next to each other, and nearer to their own rank than to the next."""
    step = min(1.04, min(b / a for a, b in pairwise(ranks)) ** (0.6 / n))
    return float(step ** (i - (n - 1) / 2))


# --- gain against drift -------------------------------------------------------------------------


def _plot_gain_and_drift(
    summary: ArmSummary, names: TaskNames, drift_gate: float, path: str | Path
) -> None:
    """Gain against drift; a marker's area grows with the stored file, and the Pareto front is
    joined by a line."""
    figure, (axes,) = new_figure(8.2)
    rows = summary["rows"]
    best = [row for row in rows if {"run": row["run"], "rank": row["rank"]} in summary["front"]]
    best.sort(key=lambda row: row["gain"]["mean"])
    if best:
        axes.plot(
            [100 * row["gain"]["mean"] for row in best],
            [100 * row["text_drift"]["mean"] for row in best],
            color=GRAY,
            linestyle="--",
            linewidth=1,
            zorder=2,
            label="Pareto front",
        )
    for i, row in enumerate(rows):
        color, marker, _ = style_of(i)
        _gain_drift_seeds(axes, row, color)
        area, label = _area(row["size_ratio"]), f"{row['run']}, {100 * row['size_ratio']:.3g} %"
        _gain_drift_mean(axes, row, s=area, color=color, marker=marker, label=label)
    _gain_drift_axes(axes, rows, names, drift_gate)
    title = "run, and its stored file in % of the base's (area)"
    for handle in add_legend(figure, axes, title=title):
        if isinstance(handle, PathCollection):
            handle.set_sizes([45])
    save_figure(figure, path)


def _area(size_ratio: float) -> float:
    """A marker's area in square points: it grows with the file, up to that of a whole model."""
    return float(30 + 300 * size_ratio**0.5)


def plot_learned_vs_forgotten(
    arms: Mapping[str, ArmSummary], names: TaskNames, drift_gate: float, path: str | Path
) -> None:
    """Gain against drift for every run of every arm, single seeds behind the means."""
    figure, (axes,) = new_figure()
    for i, (arm, summary) in enumerate(arms.items()):
        color, marker, _ = style_of(i)
        own = [row for row in summary["rows"] if not row["is_study"]]
        for j, row in enumerate(own):
            _gain_drift_seeds(axes, row, color)
            label = arm if j == 0 else None
            _gain_drift_mean(axes, row, s=45, color=color, marker=marker, label=label)
    all_rows = [row for summary in arms.values() for row in summary["rows"]]
    study = {row["folder"]: row for row in all_rows if row["is_study"]}
    for j, row in enumerate(study.values()):
        label = "the study" if j == 0 else None
        style = {"color": "white", "linewidths": 1.0, "zorder": 4}
        _gain_drift_mean(axes, row, s=110, marker="*", label=label, **style)
    _gain_drift_axes(axes, all_rows, names, drift_gate)
    if arms:
        add_legend(figure, axes)
    save_figure(figure, path)


def _gain_drift_mean(axes: Axes, row: ArmRow, **style: Any) -> None:
    outlined = {"edgecolors": "black", "linewidths": 0.6, "zorder": 3}
    axes.scatter(
        100 * row["gain"]["mean"], 100 * row["text_drift"]["mean"], **{**outlined, **style}
    )


def _gain_drift_seeds(axes: Axes, row: ArmRow, color: str) -> None:
    axes.scatter(
        [100 * (accuracy - row["base_accuracy"]) for accuracy in row["accuracy_by_seed"]],
        [100 * drift for drift in row["text_drift_by_seed"]],
        s=25,
        color=color,
        alpha=0.2,
        linewidths=0,
        zorder=1,
    )


def _gain_drift_axes(
    axes: Axes, rows: Iterable[ArmRow], names: TaskNames, drift_gate: float
) -> None:
    """Labels; if a run's drift exceeds the gate, the gate and a scale that is logarithmic beyond
    1 %."""
    if max((row["text_drift"]["mean"] for row in rows), default=0.0) > drift_gate:
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        gate = f"gate: {100 * drift_gate:g} %"
        axes.axhline(100 * drift_gate, color=GRAY, linestyle=":", label=gate)
    axes.axhline(0, color=GRAY, linewidth=0.8)
    set_x_label(axes, f"learned: test accuracy gained on {names.name}", "percentage points")
    set_y_label(axes, f"forgotten: perplexity of {names.control_name}", "change in %")
