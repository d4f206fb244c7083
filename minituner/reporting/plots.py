"""Figures, drawn so that the same numbers give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from minituner.errors import number_of
from minituner.reporting.figures import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    add_legend,
    from_zero,
    name_ranks,
    new_figure,
    save_figure,
    style_of,
)

# --- the rank sweep -----------------------------------------------------------------------------


def plot_accuracy_vs_rank(
    summary: Mapping[str, Any], gain_gate_pp: float, path: str | Path
) -> None:
    """Test accuracy against rank with intervals and seeds, the base's level and the gate."""
    figure, (axes,) = new_figure()
    rows = summary["ranks"]
    _seed_points(axes, rows, "accuracy_by_seed", BLUE)
    label = f"after LoRA: mean and {100 * summary['confidence']:g} % interval"
    _curve(axes, rows, "accuracy", style_of(0), label)
    base = 100 * summary["base_accuracy"]["mean"]
    axes.axhline(base, color=GRAY, linestyle="--", label=f"untuned base ({base:.0f} %)")
    axes.axhline(
        base + gain_gate_pp,
        color=ORANGE,
        linestyle=":",
        label=f"gate: base + {gain_gate_pp:g} points",
    )
    axes.set_ylabel(f"test accuracy, % of {number_of(summary['test_items'], 'minimal pair')}")
    # A marker at an end is whole, and a gate that no accuracy can reach is seen.
    axes.set_ylim(min(0.0, base + gain_gate_pp) - 3, max(100.0, base + gain_gate_pp) + 3)
    _rank_axis(axes, rows)
    add_legend(figure, axes)
    save_figure(figure, path)


def plot_drift_vs_rank(summary: Mapping[str, Any], drift_gate: float, path: str | Path) -> None:
    """Control perplexity drift against rank, over the whole text and over the answers only."""
    figure, (axes,) = new_figure()
    rows = summary["ranks"]
    _seed_points(axes, rows, "text_drift_by_seed", BLUE)
    _seed_points(axes, rows, "target_drift_by_seed", ORANGE)
    _curve(axes, rows, "text_drift", style_of(0), "whole text (the gate's figure)")
    _curve(axes, rows, "target_drift", style_of(1), "answers only (stricter)")
    axes.axhline(0, color=GRAY, linestyle="--", label="untuned base")
    axes.axhline(100 * drift_gate, color=GRAY, linestyle=":", label=f"gate: {100 * drift_gate:g} %")
    axes.set_ylabel("control perplexity, change in %")
    _rank_axis(axes, rows)
    add_legend(figure, axes)
    save_figure(figure, path)


def plot_scale_vs_rank(summary: Mapping[str, Any], path: str | Path) -> None:
    """The scale audit: the size of the update, and the directions it uses, by adapted layer."""
    figure, (left, right) = new_figure(9.6, columns=2)
    rows = summary["ranks"]
    ranks = [row["rank"] for row in rows]
    layers = [layer["layer"] for layer in rows[0]["scale_audit"]]
    # One layer's mean is its own; then "all" would be drawn over it.
    layers = layers[:-1] if len(layers) == 2 else layers
    for i, layer in enumerate(layers):
        color, marker, line = style_of(i)
        audits = [next(a for a in row["scale_audit"] if a["layer"] == layer) for row in rows]
        for axes, key, scale in ((left, "relative_norm", 100), (right, "effective_rank", 1)):
            axes.plot(
                ranks,
                [scale * audit[key] for audit in audits],
                color=color,
                marker=marker,
                linestyle=line,
                label="mean of the layers" if layer == "all" else layer,
            )
    label = "as many directions as the rank allows"
    right.plot(ranks, ranks, color=GRAY, linewidth=0.8, label=label)
    left.set_ylabel("size of the update, % of the weight's norm")
    from_zero(left)
    right.set_ylabel("effective rank of the update")
    right.set_yscale("log", base=2)
    for axes in (left, right):
        _rank_axis(axes, rows)
    name_ranks(right.yaxis, ranks, apart=0.06)
    add_legend(figure, left, right)
    save_figure(figure, path)


def _curve(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    style: tuple[str, str, str],
    label: str,
    shift: float = 1.0,
) -> None:
    """Means with intervals against rank; ``shift`` moves it aside, by a factor."""
    color, marker, line = style
    axes.errorbar(
        [shift * row["rank"] for row in rows],
        [100 * row[key]["mean"] for row in rows],
        yerr=_errors([row[key] for row in rows]),
        color=color,
        marker=marker,
        linestyle=line,
        capsize=4,
        label=label,
    )


def _errors(estimates: Sequence[Mapping[str, float | None]]) -> list[list[float]]:
    """How far each interval reaches below and above its mean, in percent; NaN draws nothing."""

    # The mean of few skewed draws may lie outside its percentile interval by a hair.
    def reach(end: float | None, mean: float, sign: int) -> float:
        return math.nan if end is None else max(0.0, 100 * sign * (end - mean))

    return [
        [reach(e[end], float(e["mean"] or 0), sign) for e in estimates]
        for end, sign in (("low", -1), ("high", 1))
    ]


def _seed_points(
    axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str, shift: float = 1.0
) -> None:
    x = [shift * row["rank"] for row in rows for _ in row[key]]
    y = [100 * value for row in rows for value in row[key]]
    axes.scatter(x, y, s=60, color=color, alpha=0.15, linewidths=0, zorder=1)


def _rank_axis(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xscale("log", base=2)
    name_ranks(axes.xaxis, sorted({row["rank"] for row in rows}), apart=0.045)
    axes.set_xlabel("LoRA rank r (log2 scale)")


# --- the ablations ------------------------------------------------------------------------------


def plot_arm(summary: Mapping[str, Any], drift_gate: float, path: str | Path) -> None:
    """One arm: curves over the ranks if it has several, else gain against drift."""
    if len({row["rank"] for row in summary["rows"]} - {None}) > 1:
        _plot_over_ranks(summary, path)
    else:
        _plot_gain_and_drift(summary, drift_gate, path)


def _plot_over_ranks(summary: Mapping[str, Any], path: str | Path) -> None:
    """Accuracy, and the size of the update, against rank: one curve a setting."""
    figure, (left, right) = new_figure(9.6, columns=2)
    names = list(dict.fromkeys(row["run"] for row in summary["rows"]))
    # Intervals stand beside each other, and nearer to their own rank than to the next.
    ranks = sorted({row["rank"] for row in summary["rows"]})
    step = min(1.04, min(b / a for a, b in pairwise(ranks)) ** (0.6 / len(names)))
    for i, name in enumerate(names):
        rows = [row for row in summary["rows"] if row["run"] == name]
        style = style_of(i)
        shift = step ** (i - (len(names) - 1) / 2)
        _seed_points(left, rows, "accuracy_by_seed", style[0], shift)
        _curve(left, rows, "accuracy", style, name, shift)
        right.plot(
            [row["rank"] for row in rows],
            [100 * row["scale_audit"][-1]["relative_norm"] for row in rows],
            color=style[0],
            marker=style[1],
            linestyle=style[2],
            label=name,
        )
    left.set_ylabel("test accuracy, %")
    right.set_ylabel("size of the update, % of the weight's norm")
    from_zero(right)
    for axes in (left, right):
        _rank_axis(axes, summary["rows"])
    add_legend(figure, left)
    save_figure(figure, path)


def _plot_gain_and_drift(summary: Mapping[str, Any], drift_gate: float, path: str | Path) -> None:
    """Gain against drift, the area of a marker as what is stored; the front is joined."""
    figure, (axes,) = new_figure(8.2)
    rows = summary["rows"]
    best = [row for row in rows if {"run": row["run"], "rank": row["rank"]} in summary["front"]]
    best.sort(key=lambda row: float(row["gain"]["mean"]))
    if best:
        axes.plot(
            [100 * row["gain"]["mean"] for row in best],
            [100 * row["text_drift"]["mean"] for row in best],
            color=GRAY,
            linestyle="--",
            linewidth=1,
            zorder=2,
            label="not beaten in both",
        )
    for i, row in enumerate(rows):
        color, marker, _ = style_of(i)
        _gain_drift_seeds(axes, row, color)
        _gain_drift_mean(
            axes,
            row,
            s=_area(row["size_ratio"]),
            color=color,
            marker=marker,
            label=f"{row['run']}, {100 * row['size_ratio']:.3g} %",
        )
    _gain_drift_axes(axes, rows, drift_gate)
    title = "run, and its stored file in % of the base's (area)"
    for handle in add_legend(figure, axes, title=title):
        if isinstance(handle, PathCollection):
            handle.set_sizes([45])
    save_figure(figure, path)


def _area(size_ratio: float) -> float:
    """A marker's area, in points squared: it grows with the file, and even a whole model fits."""
    return float(30 + 300 * size_ratio**0.5)


def plot_learned_vs_forgotten(
    arms: Mapping[str, Mapping[str, Any]], drift_gate: float, path: str | Path
) -> None:
    """Gain against drift for every run of every arm, seeds behind the means."""
    figure, (axes,) = new_figure()
    for i, (arm, summary) in enumerate(arms.items()):
        color, marker, _ = style_of(i)
        own = [row for row in summary["rows"] if not row["is_study"]]
        for j, row in enumerate(own):
            _gain_drift_seeds(axes, row, color)
            label = arm if j == 0 else None
            _gain_drift_mean(axes, row, s=45, color=color, marker=marker, label=label)
    study = {
        row["folder"]: row
        for summary in arms.values()
        for row in summary["rows"]
        if row["is_study"]
    }
    for j, row in enumerate(study.values()):
        label = "the study" if j == 0 else None
        style = {"color": "white", "linewidths": 1.0, "zorder": 4}
        _gain_drift_mean(axes, row, s=110, marker="*", label=label, **style)
    _gain_drift_axes(axes, [row for s in arms.values() for row in s["rows"]], drift_gate)
    if arms:
        add_legend(figure, axes)
    save_figure(figure, path)


def _gain_drift_mean(axes: Axes, row: Mapping[str, Any], **style: Any) -> None:
    outlined = {"edgecolors": "black", "linewidths": 0.6, "zorder": 3}
    axes.scatter(
        100 * row["gain"]["mean"], 100 * row["text_drift"]["mean"], **{**outlined, **style}
    )


def _gain_drift_seeds(axes: Axes, row: Mapping[str, Any], color: str) -> None:
    axes.scatter(
        [100 * (accuracy - row["base_accuracy"]) for accuracy in row["accuracy_by_seed"]],
        [100 * drift for drift in row["text_drift_by_seed"]],
        s=25,
        color=color,
        alpha=0.2,
        linewidths=0,
        zorder=1,
    )


def _gain_drift_axes(axes: Axes, rows: Sequence[Mapping[str, Any]], drift_gate: float) -> None:
    """Where a run drifts past the gate, the drift's scale is logarithmic beyond 1 %."""
    if max((row["text_drift"]["mean"] for row in rows), default=0.0) > drift_gate:
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        gate = f"gate: {100 * drift_gate:g} %"
        axes.axhline(100 * drift_gate, color=GRAY, linestyle=":", label=gate)
    axes.axhline(0, color=GRAY, linewidth=0.8)
    axes.set_xlabel("learned: test accuracy gained, percentage points")
    axes.set_ylabel("forgotten: control perplexity, change in %")


# --- loss curves --------------------------------------------------------------------------------


def plot_fine_tuning(log_csv: str | Path, path: str | Path) -> None:
    """Training and validation loss of one run, with the control perplexity on a second axis."""
    log = pd.read_csv(log_csv)
    figure, (axes,) = new_figure()
    _losses(axes, log)
    axes.set_ylabel("loss, nats per target token")
    every = [axes]
    control = log.dropna(subset=["control_perplexity"])
    if not control.empty:
        right = axes.twinx()
        right.plot(
            control["step"],
            control["control_perplexity"],
            color=GRAY,
            marker="^",
            linestyle=":",
            label="control perplexity (right axis)",
        )
        right.set_ylabel("control perplexity, whole text")
        right.grid(False)
        right.spines["right"].set_visible(True)
        from_zero(right)
        every.append(right)
    add_legend(figure, *every)
    save_figure(figure, path)


def plot_pretraining(log_csv: str | Path, path: str | Path) -> None:
    """Training and validation loss of the base."""
    figure, (axes,) = new_figure()
    log = pd.read_csv(log_csv)
    _losses(axes, log)
    best = log.nsmallest(1, "val_loss").iloc[0]
    axes.plot(
        best["step"],
        best["val_loss"],
        color=BLACK,
        marker="*",
        markersize=11,
        linestyle="none",
        label=f"kept: step {best['step']:.0f}",
    )
    axes.set_ylabel("loss, nats per token")
    add_legend(figure, axes)
    save_figure(figure, path)


def _losses(axes: Axes, log: pd.DataFrame) -> None:
    axes.plot(log["step"], log["train_loss"], color=BLUE, alpha=0.6, label="training batch")
    val = log.dropna(subset=["val_loss"])
    axes.plot(val["step"], val["val_loss"], color=ORANGE, marker="o", label="validation")
    axes.set_xlabel("optimizer step")
    from_zero(axes)
