"""Figures, drawn so that the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from minituner.files import atomic_open

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Dark and light enough to be told apart in grey (Okabe & Ito's blue and vermilion).
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
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


def plot_accuracy_vs_rank(
    summary: Mapping[str, Any], gain_gate_pp: float, path: str | Path
) -> None:
    """Test accuracy against rank with intervals and seeds, the base's level and the gate."""
    figure, axes = new_figure()
    rows = summary["ranks"]
    _seed_points(axes, rows, "accuracy_by_seed", BLUE)
    _curve(axes, rows, "accuracy", BLUE, "o", "after LoRA: mean and 95 % interval")
    base = 100 * summary["base_accuracy"]["mean"]
    axes.axhline(base, color=GREY, linestyle="--", label=f"untuned base ({base:.0f} %)")
    axes.axhline(
        base + gain_gate_pp,
        color=ORANGE,
        linestyle=":",
        label=f"gate: base + {gain_gate_pp:g} points",
    )
    axes.set_ylabel(f"test accuracy, % of {summary['test_items']} minimal pairs")
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
    _curve(axes, rows, "text_drift", BLUE, "o", "whole text (the gate's figure)")
    _curve(axes, rows, "target_drift", ORANGE, "s", "answers only (stricter)")
    axes.axhline(0, color=GREY, linestyle="--", label="untuned base")
    axes.axhline(100 * drift_gate, color=GREY, linestyle=":", label=f"gate: {100 * drift_gate:g} %")
    axes.set_ylabel("control perplexity, change in %")
    _rank_axis(axes, rows)
    axes.legend(loc="best")
    save_figure(figure, path)


def _curve(
    axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str, marker: str, label: str
) -> None:
    means = [100 * row[key]["mean"] for row in rows]
    low = [100 * (row[key]["mean"] - row[key]["low"]) for row in rows]
    high = [100 * (row[key]["high"] - row[key]["mean"]) for row in rows]
    axes.errorbar(
        [row["rank"] for row in rows],
        means,
        # The mean of few skewed draws may lie outside its percentile interval by a hair.
        yerr=[[max(0.0, x) for x in low], [max(0.0, x) for x in high]],
        color=color,
        marker=marker,
        capsize=4,
        label=label,
    )


def _seed_points(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str) -> None:
    x = [row["rank"] for row in rows for _ in row[key]]
    y = [100 * value for row in rows for value in row[key]]
    axes.scatter(x, y, s=60, color=color, alpha=0.15, linewidths=0, zorder=1)


def _rank_axis(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    ranks = [row["rank"] for row in rows]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [str(rank) for rank in ranks])
    axes.minorticks_off()
    axes.set_xlabel("LoRA rank r (log2 scale)")


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
