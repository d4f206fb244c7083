"""What the report's figures show: the summary's numbers, the gates, and the config's confidence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from example_results import comparison_row, interval, sweep_summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plotted import curves, error_bars, legend, points

from minituner.reporting import plots
from minituner.reporting.figures import TaskNames
from minituner.results import SweepSummary

NOWHERE = Path("not-written.png")
NAMES = TaskNames("irregular verbs", "regular verbs")


@pytest.fixture
def summary() -> SweepSummary:
    """Three ranks at a confidence of 90 %, over a base that is right in 40 %."""
    rows = [comparison_row(r, a, d) for r, a, d in ((2, 0.6, 0.01), (4, 0.7, 0.02), (8, 0.8, 0.03))]
    return sweep_summary(rows, base=0.4, confidence=0.9)


def only_axes(drawn: list[Figure]) -> Axes:
    (figure,) = drawn
    (axes,) = figure.axes
    return axes


# --- accuracy against rank ----------------------------------------------------------------------


def test_accuracy_has_the_means_and_intervals_of_the_summary(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    summary["ranks"][0]["accuracy"] = {"mean": 0.6, "low": 0.45, "high": 0.65}
    plots.plot_accuracy_vs_rank(summary, NAMES, 10, NOWHERE)
    axes, label = only_axes(drawn), "after LoRA: mean and 90 % interval"
    assert curves(axes)[label] == [(2, 60), (4, 70), (8, 80)]
    assert error_bars(axes)[label] == [(45, 65), (40, 100), (60, 100)]


def test_accuracy_has_a_point_per_seed(summary: SweepSummary, drawn: list[Figure]) -> None:
    plots.plot_accuracy_vs_rank(summary, NAMES, 10, NOWHERE)
    (seeds,) = points(only_axes(drawn))
    assert seeds[:4] == [(2, 60), (2, 50), (2, 70), (4, 70)]
    assert len(seeds) == 9


def test_accuracy_has_the_base_and_the_gate(summary: SweepSummary, drawn: list[Figure]) -> None:
    plots.plot_accuracy_vs_rank(summary, NAMES, 12, NOWHERE)
    axes = only_axes(drawn)
    assert [y for _, y in curves(axes)["untuned base (40 %)"]] == [40, 40]
    assert [y for _, y in curves(axes)["gate: base + 12 points"]] == [52, 52]
    assert axes.get_ylabel() == "test accuracy on irregular verbs,\n% of 52 minimal pairs"
    assert axes.get_ylim() == pytest.approx((-3, 103))
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]


@pytest.mark.parametrize(("gain", "limits"), [(80, (-3, 123)), (-60, (-23, 103))])
def test_accuracy_shows_a_gate_that_is_out_of_reach(
    gain: float, limits: tuple[float, float], summary: SweepSummary, drawn: list[Figure]
) -> None:
    plots.plot_accuracy_vs_rank(summary, NAMES, gain, NOWHERE)
    assert only_axes(drawn).get_ylim() == pytest.approx(limits)


@pytest.mark.parametrize(
    ("confidence", "words"), [(0.95, "95 % interval"), (0.995, "99.5 % interval")]
)
def test_legends_name_the_confidence(
    confidence: float, words: str, summary: SweepSummary, drawn: list[Figure]
) -> None:
    summary["confidence"] = confidence
    plots.plot_accuracy_vs_rank(summary, NAMES, 10, NOWHERE)
    plots.plot_drift_vs_rank(summary, NAMES, {"control_ppl_drift": 0.05}, NOWHERE)
    accuracy, drift = map(legend, drawn)
    assert f"after LoRA: mean and {words}" in accuracy
    assert sum(words in label for label in drift) == 2


# --- drift against rank -------------------------------------------------------------------------


def test_drift_over_the_text_and_over_the_answers(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    summary["ranks"][0]["text_drift"] = {"mean": 0.01, "low": 0.005, "high": 0.02}
    plots.plot_drift_vs_rank(summary, NAMES, {"control_ppl_drift": 0.04}, NOWHERE)
    axes = only_axes(drawn)
    text = "whole text (as in the gate), with 90 % interval"
    answers = "answers only (stricter), with 90 % interval"
    assert curves(axes)[text] == [(2, 1), (4, 2), (8, 3)]
    assert curves(axes)[answers] == [(2, 3), (4, 6), (8, 9)]
    assert error_bars(axes)[text][0] == (0.5, 2)
    assert error_bars(axes)[answers] == [(-2, 8), (1, 11), (4, 14)]
    assert [y for _, y in curves(axes)["gate: 4 %"]] == [4, 4]
    assert [y for _, y in curves(axes)["untuned base"]] == [0, 0]
    of_text, of_answers = points(axes)
    assert of_text[:3] == [(2, 1), (2, 1.2), (2, 0.8)]
    assert of_answers[:3] == [(2, 3), (2, 3.3), (2, 2.7)]
    assert axes.get_ylabel() == "perplexity of regular verbs, change in %"


def test_drift_of_each_further_control_set_with_its_own_limit(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    for row, scale in zip(summary["ranks"], (1, 2, 3), strict=True):
        row["control_drifts"] = {"blimp": interval(-0.02), "french": interval(0.1 * scale)}
        by_seed = [0.1 * scale, 0.11 * scale, 0.09 * scale]
        row["control_drifts_by_seed"] = {"blimp": [-0.02] * 3, "french": by_seed}
    gates = {"control_ppl_drift": 0.05, "control_ppl_drift/french": 0.25}
    plots.plot_drift_vs_rank(summary, NAMES, gates, NOWHERE)
    axes = only_axes(drawn)
    assert curves(axes)["french, whole text"] == [(2, 10), (4, 20), (8, 30)]
    assert curves(axes)["blimp, whole text"] == [(2, -2), (4, -2), (8, -2)]
    assert error_bars(axes)["french, whole text"] == [(5, 15), (15, 25), (25, 35)]
    assert [y for _, y in curves(axes)["gate of french: 25 %"]] == [25, 25]
    assert "gate of blimp" not in "".join(curves(axes))
    assert [y for _, y in curves(axes)["gate: 5 %"]] == [5, 5]
    *_, of_blimp, of_french = points(axes)
    assert of_blimp[:2] == [(2, -2), (2, -2)]
    assert of_french[:3] == [(2, 10), (2, 11), (2, 9)]
    line = next(x for x in axes.lines if x.get_label() == "gate of french: 25 %")
    mean = next(c for c in axes.containers if c.get_label() == "french, whole text")
    assert line.get_color() == mean.lines[0].get_color()


def test_a_mean_without_an_interval_has_no_error_bar(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    for row in summary["ranks"]:
        row["text_drift"] = interval(0.01, None)
    plots.plot_drift_vs_rank(summary, NAMES, {"control_ppl_drift": 0.05}, NOWHERE)
    bars = error_bars(only_axes(drawn))["whole text (as in the gate), with 90 % interval"]
    assert bars == []


def test_a_mean_just_outside_its_interval_has_a_bar_of_length_zero_there(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    summary["ranks"][0]["text_drift"] = {"mean": 0.03, "low": 0.01, "high": 0.029}
    plots.plot_drift_vs_rank(summary, NAMES, {"control_ppl_drift": 0.05}, NOWHERE)
    bars = error_bars(only_axes(drawn))["whole text (as in the gate), with 90 % interval"]
    assert bars[0] == (1, 3)


def test_drift_without_answers_has_one_curve(summary: SweepSummary, drawn: list[Figure]) -> None:
    """As of a control of plain texts, whose answer is the text."""
    for row in summary["ranks"]:
        row["target_drift"] = row["text_drift"]
    plots.plot_drift_vs_rank(summary, NAMES, {"control_ppl_drift": 0.05}, NOWHERE)
    assert [label for label in legend(drawn[0]) if "interval" in label] == [
        "whole text (as in the gate), with 90 % interval"
    ]
    assert len(points(only_axes(drawn))) == 1


def test_axes_speak_of_the_task(summary: SweepSummary, drawn: list[Figure], log: Path) -> None:
    names = TaskNames("country capitals", "rivers")
    plots.plot_accuracy_vs_rank(summary, names, 10, NOWHERE)
    plots.plot_drift_vs_rank(summary, names, {"control_ppl_drift": 0.05}, NOWHERE)
    plots.plot_fine_tuning(log, names, NOWHERE)
    labels = [axes.get_ylabel() for figure in drawn for axes in figure.axes]
    assert labels == [
        "test accuracy on country capitals,\n% of 52 minimal pairs",
        "perplexity of rivers, change in %",
        *("loss, nats per target token", "perplexity of rivers, whole text"),
    ]


# --- scale against rank -------------------------------------------------------------------------


def test_scale_has_a_curve_per_layer_and_their_mean(
    summary: SweepSummary, drawn: list[Figure]
) -> None:
    summary["ranks"][1]["scale_audit"][1]["relative_norm"] = 0.07
    summary["ranks"][2]["scale_audit"][-1]["effective_rank"] = 3.5
    plots.plot_scale_vs_rank(summary, NOWHERE)
    left, right = drawn[0].axes
    layers = ["blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "mean of the layers"]
    assert list(curves(left)) == layers
    assert curves(left)["blocks.0.mlp.fc2"] == [(2, 5), (4, 7), (8, 5)]
    assert curves(right)["mean of the layers"] == [(2, 1.5), (4, 1.5), (8, 3.5)]
    assert curves(right)["full rank: effective rank = r"] == [(2, 2), (4, 4), (8, 8)]
    assert left.get_ylim()[0] < 0 < 7 < left.get_ylim()[1]
    assert legend(drawn[0]) == [*layers, "full rank: effective rank = r"]


def test_scale_of_a_single_layer_has_no_mean(drawn: list[Figure]) -> None:
    rows = [comparison_row(r, layers=("blocks.0.mlp.fc2", "all")) for r in (2, 4)]
    plots.plot_scale_vs_rank(sweep_summary(rows), NOWHERE)
    assert list(curves(drawn[0].axes[0])) == ["blocks.0.mlp.fc2"]


def test_scale_of_many_layers_names_only_their_mean(drawn: list[Figure]) -> None:
    layers = (*(f"layers.{i}.q_proj" for i in range(13)), "all")
    rows = [comparison_row(r, layers=layers) for r in (2, 4)]
    rows[0]["scale_audit"][12]["relative_norm"] = 0.09
    plots.plot_scale_vs_rank(sweep_summary(rows), NOWHERE)
    left = drawn[0].axes[0]
    assert list(curves(left)) == ["each of 13 layers", "mean of the layers"]
    assert len(left.lines) == 14
    assert [tuple(point) for point in left.lines[12].get_xydata()] == [(2, 9), (4, 5)]


# --- loss curves --------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Four steps; validated at the first and the last, and lowest before the end."""
    path = tmp_path / "log.csv"
    pd.DataFrame(
        {
            "step": [0, 1, 2, 3],
            "train_loss": [3.0, 2.0, 1.0, 0.5],
            "val_loss": [3.1, None, 1.1, 1.2],
            "control_perplexity": [2.0, None, None, 2.5],
        }
    ).to_csv(path, index=False)
    return path


def test_fine_tuning_has_the_losses_and_the_control(log: Path, drawn: list[Figure]) -> None:
    plots.plot_fine_tuning(log, NAMES, NOWHERE)
    left, right = drawn[0].axes
    assert curves(left)["training batch"] == [(0, 3.0), (1, 2.0), (2, 1.0), (3, 0.5)]
    assert curves(left)["validation"] == [(0, 3.1), (2, 1.1), (3, 1.2)]
    assert curves(right)["control perplexity (right axis)"] == [(0, 2.0), (3, 2.5)]
    assert left.get_ylabel() == "loss, nats per target token"
    assert left.get_xlabel() == "optimizer step"
    for axes, top in ((left, 3.1), (right, 2.5)):
        low, high = axes.get_ylim()
        assert low < 0 < top < high
    assert len(legend(drawn[0])) == 3


def test_pretraining_marks_the_step_that_is_kept(log: Path, drawn: list[Figure]) -> None:
    plots.plot_pretraining(log, NOWHERE)
    axes = only_axes(drawn)
    assert curves(axes)["kept: step 2"] == [(2, 1.1)]
    assert axes.get_ylabel() == "loss, nats per token"
    assert legend(drawn[0]) == ["training batch", "validation", "kept: step 2"]
