"""What the ablations' figures show: the summaries' numbers, the front and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_results import arm_row, arm_summary
from matplotlib.figure import Figure
from plotted import curves, error_bars, legend, points

from minituner.reporting.ablation_plots import plot_arm, plot_learned_vs_forgotten
from minituner.reporting.figures import TaskNames
from minituner.results import ArmRow, ArmSummary

NOWHERE = Path("not-written.png")
NAMES = TaskNames("irregular verbs", "regular verbs")


def run(name: str, accuracy: float, drift: float, **other: Any) -> ArmRow:
    return arm_row(8, accuracy, drift, **({"run": name} | other))


def over_ranks(*names: str, ranks: tuple[int, ...] = (2, 4, 8)) -> ArmSummary:
    rows = [arm_row(r, 0.5 + 0.01 * r, run=name) for name in names for r in ranks]
    return arm_summary(rows, confidence=0.9)


# --- an arm over the ranks ----------------------------------------------------------------------


def test_plot_arm_over_ranks_has_a_curve_per_setting(drawn: list[Figure]) -> None:
    summary = over_ranks("fixed", "rslora")
    summary["rows"][1]["scale_audit"][-1]["relative_norm"] = 0.08
    summary["rows"][1]["accuracy"] = {"mean": 0.54, "low": 0.5, "high": 0.6}
    plot_arm(summary, NAMES, 0.05, NOWHERE)
    left, right = drawn[0].axes
    assert list(curves(left)) == list(curves(right)) == ["fixed", "rslora"]
    assert [y for _, y in curves(left)["fixed"]] == [52, 54, 58]
    assert error_bars(left)["fixed"][1] == (50, 60)
    assert curves(right)["fixed"] == [(2, 5), (4, 8), (8, 5)]
    assert left.get_ylabel() == "test accuracy on irregular verbs,\n% (90 % intervals)"
    assert legend(drawn[0]) == ["fixed", "rslora"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["2", "4", "8"]
    assert len(points(left)) == 2 and len(points(left)[0]) == 9


def test_plot_arm_sets_the_intervals_of_a_rank_next_to_each_other(drawn: list[Figure]) -> None:
    ranks = range(500, 504)
    plot_arm(over_ranks(*"abcde", ranks=tuple(ranks)), NAMES, 0.05, NOWHERE)
    x = np.array([[x for x, _ in curve] for curve in curves(drawn[0].axes[0]).values()])
    assert x.shape == (5, 4)
    assert np.allclose(x.mean(axis=0), ranks, atol=0.01)
    assert (x.max(axis=0)[:-1] < x.min(axis=0)[1:]).all(), "nearer to their own rank"


# --- gain against drift -------------------------------------------------------------------------


def test_plot_arm_has_gain_drift_and_stored_size(drawn: list[Figure]) -> None:
    rows = [run("b", 0.9, 0.02), run("a", 0.7, 0.01), run("c", 0.6, 0.04, size_ratio=0.04)]
    plot_arm(arm_summary(rows), NAMES, 0.05, NOWHERE)
    (axes,) = drawn[0].axes
    assert curves(axes)["Pareto front"] == [(20, 1), (40, 2)], "by their gain"
    seeds_of_b, b, _, a, _, c = points(axes)
    assert (b, a, c) == (*([(40, 2)], [(20, 1)], [(10, 4)]),)
    assert seeds_of_b == [(40, 2), (30, 2.4), (50, 1.6)]
    labels = ["Pareto front", "b, 0.8 %", "a, 0.8 %", "c, 4 %"]
    assert legend(drawn[0]) == labels
    small, large = (axes.collections[i].get_sizes()[0] for i in (1, 5))
    assert small < large
    assert axes.get_xlabel() == (
        "learned: test accuracy gained on irregular verbs,\npercentage points"
    )
    assert axes.get_ylabel() == ("forgotten: perplexity of regular verbs,\nchange in %")
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(("drift", "gate"), [(0.04, False), (0.06, True), (20.0, True)])
def test_plot_arm_shows_the_gate_where_a_run_exceeds_it(
    drift: float, gate: bool, drawn: list[Figure]
) -> None:
    plot_arm(arm_summary([run("a", 0.9, 0.01), run("b", 0.9, drift)]), NAMES, 0.05, NOWHERE)
    (axes,) = drawn[0].axes
    assert (axes.get_yscale() == "symlog") == gate
    assert ("gate: 5 %" in legend(drawn[0])) == gate
    if gate:
        assert [y for _, y in curves(axes)["gate: 5 %"]] == [5, 5]


def test_plot_learned_vs_forgotten_has_every_run_and_the_study_once(drawn: list[Figure]) -> None:
    study = run("study", 0.8, 0.03, is_study=True)
    arms = {
        "targets": arm_summary([study, run("q", 0.9, 0.02), run("v", 0.7, 0.01)]),
        "full": arm_summary([study, arm_row(None, 0.6, 0.04)]),
    }
    plot_learned_vs_forgotten(arms, NAMES, 0.05, NOWHERE)
    (axes,) = drawn[0].axes
    assert legend(drawn[0]) == ["targets", "full", "the study"]
    means = [scatter[0] for scatter in points(axes) if len(scatter) == 1]
    assert means == [
        *((40, 2), (20, 1), (10, 4)),
        (30, 3),  # the study, last and on top
    ]
