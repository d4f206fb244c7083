"""Simulated studies: their accuracy, the intervals' coverage and the rule's power."""

from __future__ import annotations

import numpy as np
import pytest

from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.simulate import (
    COVERAGE_SCENARIOS,
    Noise,
    coverage,
    power,
    simulate_answers,
)


def test_simulate_answers_have_the_given_accuracy() -> None:
    rng = np.random.default_rng(0)
    drawn = np.mean(
        [simulate_answers((0.3, 0.8), Noise(), rng).mean(axis=(1, 2)) for _ in range(2000)], axis=0
    )
    assert drawn == pytest.approx([0.3, 0.8], abs=0.01)


def test_coverage_of_the_interval() -> None:
    """400 studies: a true 95 % leaves 92 to 98 only once in a hundred times. The exact interval is
    conservative, and is the wider one near the top and for equal verbs: coverage is higher there.
    """
    rows = coverage(400, StatisticsSettings(bootstrap_draws=1000), seed=1)
    assert {row["scenario"] for row in rows} == set(COVERAGE_SCENARIOS)
    for row in rows:
        wide = row["scenario"] in ("accuracy 95 %", "accuracy 80 %, equal verbs")
        assert 0.92 <= row["coverage"] <= (1 if wide else 0.98), row
        assert row["nested"] < row["percentile"] < row["coverage"], row


def test_power_of_the_elbow_rule() -> None:
    rows = {row["scenario"]: row for row in power(100, StatisticsSettings(1000), seed=1)}
    for name, row in rows.items():
        assert sum(row["outcomes"].values()) == pytest.approx(1)
        if row["truth"] == "flat":
            assert row["right"] >= 0.9, row
            assert row["kneedle_names_a_knee"] > 0.9, name
    for name in ("elbow at 4, 30 points per rank", "elbow at 8, 30 points per rank"):
        assert rows[name]["right"] >= 0.85, rows[name]
    assert rows["elbow at 8, 10 points per rank"]["right"] < 0.5, "too small a step for any test"
