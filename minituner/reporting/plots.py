"""The figures of the report: the rank sweep and the loss curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes

from minituner.errors import number_of
from minituner.reporting.figures import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    add_legend,
    from_zero,
    mean_curve,
    name_ranks,
    new_figure,
    rank_axis,
    ranks_of,
    save_figure,
    seed_points,
    style_of,
)

if TYPE_CHECKING:
    from minituner.results import SweepSummary

# --- the rank sweep -----------------------------------------------------------------------------


def plot_accuracy_vs_rank(summary: SweepSummary, gain_gate_pp: float, path: str | Path) -> None:
    """Test accuracy against rank with intervals and seeds, the base's level and the gate."""
    figure, (axes,) = new_figure()
    rows = summary["ranks"]
    ranks = ranks_of(rows)
    seed_points(axes, ranks, [row["accuracy_by_seed"] for row in rows], BLUE)
    label = f"after LoRA: mean and {100 * summary['confidence']:g} % interval"
    mean_curve(axes, ranks, [row["accuracy"] for row in rows], style_of(0), label)
    base = 100 * summary["base_accuracy"]["mean"]
    gate = base + gain_gate_pp
    axes.axhline(base, color=GRAY, linestyle="--", label=f"untuned base ({base:.0f} %)")
    label = f"gate: base + {gain_gate_pp:g} points"
    axes.axhline(gate, color=ORANGE, linestyle=":", label=label)
    axes.set_ylabel(f"test accuracy, % of {number_of(summary['test_items'], 'minimal pair')}")
    # Markers at 0 and 100 % are not cut off, and a gate above 100 % is visible.
    axes.set_ylim(min(0.0, gate) - 3, max(100.0, gate) + 3)
    rank_axis(axes, ranks)
    add_legend(figure, axes)
    save_figure(figure, path)


def plot_drift_vs_rank(summary: SweepSummary, gates: Mapping[str, float], path: str | Path) -> None:
    """Control perplexity drift against rank, over the whole text and over the answers only; and
    over the whole text for each further control set.

    Args:
        gates: The thresholds from :func:`minituner.statistics.gates.thresholds_of`.
    """
    figure, (axes,) = new_figure()
    rows = summary["ranks"]
    ranks = ranks_of(rows)
    seed_points(axes, ranks, [row["text_drift_by_seed"] for row in rows], BLUE)
    # Plain texts have no answers: both drifts are of the whole text.
    answers = any(row["target_drift"] != row["text_drift"] for row in rows)
    if answers:
        seed_points(axes, ranks, [row["target_drift_by_seed"] for row in rows], ORANGE)
    interval = f"with {100 * summary['confidence']:g} % interval"
    label = f"whole text (as in the gate), {interval}"
    mean_curve(axes, ranks, [row["text_drift"] for row in rows], style_of(0), label)
    if answers:
        label = f"answers only (stricter), {interval}"
        mean_curve(axes, ranks, [row["target_drift"] for row in rows], style_of(1), label)
    axes.axhline(0, color=GRAY, linestyle="--", label="untuned base")
    gate = 100 * gates["control_ppl_drift"]
    axes.axhline(gate, color=GRAY, linestyle=":", label=f"gate: {gate:g} %")
    _further_controls(axes, summary, gates)
    axes.set_ylabel("control perplexity, change in %")
    rank_axis(axes, ranks)
    add_legend(figure, axes)
    save_figure(figure, path)


def _further_controls(axes: Axes, summary: SweepSummary, gates: Mapping[str, float]) -> None:
    """The drift of each further control set, with its own limit, if it has one, in its color."""
    rows = summary["ranks"]
    ranks = ranks_of(rows)
    for i, name in enumerate(rows[0].get("control_drifts", {}), start=2):
        style = style_of(i)
        seed_points(axes, ranks, [row["control_drifts_by_seed"][name] for row in rows], style[0])
        drifts = [row["control_drifts"][name] for row in rows]
        mean_curve(axes, ranks, drifts, style, f"{name}, whole text")
        own = gates.get(f"control_ppl_drift/{name}")
        if own is not None:
            limit = 100 * own
            axes.axhline(limit, color=style[0], linestyle=":", label=f"gate of {name}: {limit:g} %")


def plot_scale_vs_rank(summary: SweepSummary, path: str | Path) -> None:
    """The scale audit by adapted layer: the size of the update and its effective rank."""
    figure, (left, right) = new_figure(9.6, columns=2)
    rows = summary["ranks"]
    ranks = ranks_of(rows)
    layers = [layer["layer"] for layer in rows[0]["scale_audit"]]
    # With a single layer, the mean "all" would be drawn over it.
    layers = layers[:-1] if len(layers) == 2 else layers
    for i, layer in enumerate(layers):
        color, marker, line = style_of(i)
        audits = [next(a for a in row["scale_audit"] if a["layer"] == layer) for row in rows]
        sizes = [100 * audit["relative_norm"] for audit in audits]
        for axes, values in ((left, sizes), (right, [a["effective_rank"] for a in audits])):
            label = "mean of the layers" if layer == "all" else layer
            axes.plot(ranks, values, color=color, marker=marker, linestyle=line, label=label)
    label = "full rank: effective rank = r"
    right.plot(ranks, ranks, color=GRAY, linewidth=0.8, label=label)
    left.set_ylabel("size of the update, % of the weight's norm")
    from_zero(left)
    right.set_ylabel("effective rank of the update")
    right.set_yscale("log", base=2)
    for axes in (left, right):
        rank_axis(axes, ranks)
    name_ranks(right.yaxis, ranks, apart=0.06)
    add_legend(figure, left, right)
    save_figure(figure, path)


# --- loss curves --------------------------------------------------------------------------------


def plot_fine_tuning(log_csv: str | Path, path: str | Path) -> None:
    """Training and validation loss of one run, with the control perplexity on a second axis."""
    log = pd.read_csv(log_csv)
    figure, (axes,) = new_figure()
    _losses(axes, log)
    axes.set_ylabel("loss, nats per target token")
    all_axes = [axes]
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
        all_axes.append(right)
    add_legend(figure, *all_axes)
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
