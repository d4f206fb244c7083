"""Figures, drawn so that the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from minituner.files import atomic_open
from minituner.text import number_of

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

# Dark and light enough to be told apart in grey (Okabe & Ito's blue and vermilion).
BLUE, ORANGE, GREEN, PURPLE, BLACK, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#000000",
    "#666666",
)
# Colour, marker and line of the first, second, ... thing in a figure: each tells it apart alone.
STYLES = (
    (BLUE, "o", "-"),
    (ORANGE, "s", "--"),
    (GREEN, "^", ":"),
    (PURPLE, "D", "-."),
    (BLACK, "v", "-"),
    (GREY, "P", "--"),
    ("#56B4E9", "X", ":"),
    ("#E69F00", "<", "-."),
)
STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


plt.rcParams.update(STYLE)


def new_figure() -> tuple[Figure, Axes]:
    """A figure in the house style with one pair of axes."""
    return plt.subplots(figsize=(6.4, 4.2), layout="constrained")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG, whole or not at all, without the metadata that would differ between versions."""
    with atomic_open(path, "wb") as stream:
        figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)


# --- the rank sweep -----------------------------------------------------------------------------


def plot_accuracy_vs_rank(
    summary: Mapping[str, Any], gain_gate_pp: float, path: str | Path
) -> None:
    """Test accuracy against rank with intervals and seeds, the base's level and the gate."""
    figure, axes = new_figure()
    rows = summary["ranks"]
    _seed_points(axes, rows, "accuracy_by_seed", BLUE)
    _curve(axes, rows, "accuracy", STYLES[0], "after LoRA: mean and 95 % interval")
    base = 100 * summary["base_accuracy"]["mean"]
    axes.axhline(base, color=GREY, linestyle="--", label=f"untuned base ({base:.0f} %)")
    axes.axhline(
        base + gain_gate_pp,
        color=ORANGE,
        linestyle=":",
        label=f"gate: base + {gain_gate_pp:g} points",
    )
    axes.set_ylabel(f"test accuracy, % of {number_of(summary['test_items'], 'minimal pair')}")
    axes.set_ylim(0, 103)
    _rank_axis(axes, rows)
    axes.legend(loc="lower right")
    save_figure(figure, path)


def plot_drift_vs_rank(summary: Mapping[str, Any], drift_gate: float, path: str | Path) -> None:
    """Control perplexity drift against rank, over the whole text and over the answers only."""
    figure, axes = new_figure()
    rows = summary["ranks"]
    _seed_points(axes, rows, "text_drift_by_seed", BLUE)
    _seed_points(axes, rows, "target_drift_by_seed", ORANGE)
    _curve(axes, rows, "text_drift", STYLES[0], "whole text (the gate's figure)")
    _curve(axes, rows, "target_drift", STYLES[1], "answers only (stricter)")
    axes.axhline(0, color=GREY, linestyle="--", label="untuned base")
    axes.axhline(100 * drift_gate, color=GREY, linestyle=":", label=f"gate: {100 * drift_gate:g} %")
    axes.set_ylabel("control perplexity, change in %")
    _rank_axis(axes, rows)
    axes.legend(loc="best")
    save_figure(figure, path)


def plot_scale_vs_rank(summary: Mapping[str, Any], path: str | Path) -> None:
    """The scale audit: the size of the update, and the directions it uses, by adapted layer."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
    rows = summary["ranks"]
    ranks = [row["rank"] for row in rows]
    layers = [layer["layer"] for layer in rows[0]["scale_audit"]]
    # One layer's mean is its own; then "all" would be drawn over it.
    layers = layers[:-1] if len(layers) == 2 else layers
    for i, layer in enumerate(layers):
        color, marker, line = STYLES[i % len(STYLES)]
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
    right.plot(ranks, ranks, color=GREY, linewidth=0.8)
    right.annotate(
        "as many as the rank allows",
        (ranks[len(ranks) // 2], ranks[len(ranks) // 2]),
        xytext=(-8, 8),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    left.set_ylabel("size of the update, % of the weight's norm")
    left.set_ylim(0, None)
    right.set_ylabel("effective rank of the update")
    right.set_yscale("log", base=2)
    right.set_yticks(ranks, [str(rank) for rank in ranks])
    for axes in (left, right):
        _rank_axis(axes, rows)
    left.legend(loc="best", fontsize=9)
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


def _errors(estimates: Sequence[Mapping[str, float]]) -> list[list[float]]:
    """How far each interval reaches below and above its mean, in percent."""
    # The mean of few skewed draws may lie outside its percentile interval by a hair.
    below = [max(0.0, 100 * (e["mean"] - e["low"])) for e in estimates]
    above = [max(0.0, 100 * (e["high"] - e["mean"])) for e in estimates]
    return [below, above]


def _seed_points(
    axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str, shift: float = 1.0
) -> None:
    x = [shift * row["rank"] for row in rows for _ in row[key]]
    y = [100 * value for row in rows for value in row[key]]
    axes.scatter(x, y, s=60, color=color, alpha=0.15, linewidths=0, zorder=1)


def _rank_axis(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ranks = sorted({row["rank"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(rank) for rank in ranks])
    axes.minorticks_off()
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
    names = list(dict.fromkeys(row["run"] for row in summary["rows"]))
    for i, name in enumerate(names):
        rows = [row for row in summary["rows"] if row["run"] == name]
        style = STYLES[i % len(STYLES)]
        shift = 1.04 ** (i - (len(names) - 1) / 2)  # so that intervals do not hide each other
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
    right.set_ylim(0, None)
    for axes in (left, right):
        _rank_axis(axes, summary["rows"])
        axes.legend(loc="best")
    save_figure(figure, path)


def _plot_gain_and_drift(summary: Mapping[str, Any], drift_gate: float, path: str | Path) -> None:
    """Gain against drift, the area of a marker as what is stored; the front is joined."""
    figure, axes = plt.subplots(figsize=(8.2, 4.2), layout="constrained")
    rows = summary["rows"]
    best = [row for row in rows if {"run": row["run"], "rank": row["rank"]} in summary["front"]]
    best.sort(key=lambda row: float(row["gain"]["mean"]))
    if best:
        axes.plot(
            [100 * row["gain"]["mean"] for row in best],
            [100 * row["text_drift"]["mean"] for row in best],
            color=GREY,
            linestyle="--",
            linewidth=1,
            zorder=2,
            label="not beaten in both",
        )
    for i, row in enumerate(rows):
        color, marker, _ = STYLES[i % len(STYLES)]
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
    legend = axes.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        fontsize=9,
        title="run, and its stored file\nin % of the base's (area)",
        title_fontsize=9,
    )
    for handle in legend.legend_handles:
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
    figure, axes = new_figure()
    for i, (arm, summary) in enumerate(arms.items()):
        color, marker, _ = STYLES[i % len(STYLES)]
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
        axes.legend(loc="best", fontsize=9)
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
        axes.axhline(100 * drift_gate, color=GREY, linestyle=":", label=gate)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("learned: test accuracy gained, percentage points")
    axes.set_ylabel("forgotten: control perplexity, change in %")


# --- loss curves --------------------------------------------------------------------------------


def plot_fine_tuning(log_csv: str | Path, path: str | Path) -> None:
    """Training and validation loss of one run, with the control perplexity on a second axis."""
    log = pd.read_csv(log_csv)
    figure, axes = new_figure()
    _losses(axes, log)
    axes.set_ylabel("loss, nats a target token")
    control = log.dropna(subset=["control_perplexity"])
    if not control.empty:
        right = axes.twinx()
        right.plot(
            control["step"],
            control["control_perplexity"],
            color=GREY,
            marker="^",
            linestyle=":",
            label="control perplexity (right axis)",
        )
        right.set_ylabel("control perplexity, whole text")
        right.grid(False)
        right.spines["right"].set_visible(True)
        right.set_ylim(0, 1.3 * control["control_perplexity"].max())
        _joint_legend(axes, right)
    else:
        axes.legend()
    save_figure(figure, path)


def plot_pretraining(log_csv: str | Path, path: str | Path) -> None:
    """Training and validation loss of the base."""
    figure, axes = new_figure()
    log = pd.read_csv(log_csv)
    _losses(axes, log)
    best = log.nsmallest(1, "val_loss").iloc[0]
    axes.annotate(
        f"kept: step {best['step']:.0f}",
        (best["step"], best["val_loss"]),
        xytext=(0, 28),
        textcoords="offset points",
        ha="right",
        arrowprops={"arrowstyle": "->", "color": GREY},
    )
    axes.set_ylabel("loss, nats a token")
    axes.legend()
    save_figure(figure, path)


def _losses(axes: Axes, log: pd.DataFrame) -> None:
    axes.plot(log["step"], log["train_loss"], color=BLUE, alpha=0.6, label="training batch")
    val = log.dropna(subset=["val_loss"])
    axes.plot(val["step"], val["val_loss"], color=ORANGE, marker="o", label="validation")
    axes.set_xlabel("optimizer step")
    axes.set_ylim(0, None)


def _joint_legend(left: Axes, right: Axes) -> None:
    handles, labels = left.get_legend_handles_labels()
    more_handles, more_labels = right.get_legend_handles_labels()
    left.legend(handles + more_handles, labels + more_labels)
