"""The verdict on a sweep, whatever words the report has for it."""

from __future__ import annotations

import pytest
from example_results import comparison_row, interval, sweep_summary

from minituner.reporting.verdicts import excludes_zero, relation_to_quoted_rank, sweep_verdict
from minituner.results import SweepSummary


def sweep(outcome: str = "flat", rank: int | None = None, n_ranks: int = 3) -> SweepSummary:
    rows = [comparison_row(r) for r in (2, 8, 32)[:n_ranks]]
    return sweep_summary(rows, outcome=outcome, elbow_rank=rank)


@pytest.mark.parametrize("outcome", ["flat", "elbow", "rising", "floor", "ceiling"])
def test_outcome_is_that_of_the_elbow(outcome: str) -> None:
    assert sweep_verdict(sweep(outcome)).outcome == outcome


def test_outcome_of_one_rank() -> None:
    verdict = sweep_verdict(sweep(n_ranks=1))
    assert verdict.outcome == "single_rank"
    assert verdict.first is verdict.last is verdict.best


def test_outcome_of_a_flat_curve_with_a_better_rank_in_between() -> None:
    summary = sweep()
    summary["elbow"]["adjusted_p"] = {"2": 0.01, "32": 0.06}
    verdict = sweep_verdict(summary)
    assert (verdict.outcome, verdict.worse) == ("hump", ["2"])
    summary["confidence"] = 0.9
    assert sweep_verdict(summary).worse == ["2", "32"]


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [(interval(-0.3), "harmful"), (interval(0.0), "floor"), (interval(-0.3, None), "floor")],
)
def test_outcome_below_the_floor(gain: dict[str, float | None], outcome: str) -> None:
    summary = sweep("floor")
    for row in summary["ranks"]:
        row["gain"] = gain
    assert sweep_verdict(summary).outcome == outcome


@pytest.mark.parametrize(
    ("largest", "course", "factor"),
    [(0.05, "same", 1), (0.06, "same", 1.2), (0.2, "grows", 4), (0.0125, "falls", 4)],
)
def test_size_course(largest: float, course: str, factor: float) -> None:
    summary = sweep()
    summary["ranks"][-1]["scale_audit"][-1]["relative_norm"] = largest
    verdict = sweep_verdict(summary)
    assert verdict.size_course == course
    assert verdict.size_factor == pytest.approx(factor)


def test_size_course_of_an_update_of_zero() -> None:
    summary = sweep()
    summary["ranks"][-1]["scale_audit"][-1]["relative_norm"] = 0.0
    assert sweep_verdict(summary).size_course == "zero"


@pytest.mark.parametrize(
    ("outcome", "rank", "relation"),
    [
        ("elbow", 8, "elbow_here"),
        ("elbow", 4, "elbow_below"),
        ("elbow", 16, "elbow_above"),
        ("rising", 32, "rises_past"),
        ("rising", 8, "rises_to"),  # a sweep that ends at 8 has no elbow there
        ("rising", 4, "rises_to"),
        ("flat", None, "unknown"),
        ("floor", None, "unknown"),
        ("ceiling", None, "unknown"),
    ],
)
def test_relation_to_quoted_rank(outcome: str, rank: int | None, relation: str) -> None:
    assert relation_to_quoted_rank(sweep(outcome, rank)["elbow"]) == relation


def test_excludes_zero() -> None:
    assert excludes_zero(interval(0.2)) and excludes_zero(interval(-0.2))
    assert not excludes_zero(interval(0.0))
    assert not excludes_zero(interval(0.05)), "an end at zero"
    assert not excludes_zero(interval(0.2, None))


@pytest.mark.parametrize(("mean", "depends"), [(0.0, False), (0.2, True), (-0.2, True)])
def test_drift_depends_if_its_paired_difference_excludes_zero(mean: float, depends: bool) -> None:
    summary = sweep("rising", 32)
    summary["drift_largest_minus_smallest"] = interval(mean)
    assert sweep_verdict(summary).drift_depends == depends
