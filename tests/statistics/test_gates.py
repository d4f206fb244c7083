"""The headline and its gates: every gate turns at its threshold."""

from __future__ import annotations

import math
from typing import Any

import pytest

from minituner.errors import UserError
from minituner.statistics.gates import (
    compute_gates,
    headline_metrics,
    require_gates,
    thresholds_of,
)

THRESHOLDS = {
    "accuracy_gain_pp": 10.0,
    "control_ppl_drift": 0.05,
    "base_max_abs_diff": 0.0,
    "adapter_size_ratio": 0.01,
}


def headline(
    before: float = 0.25,
    after: float = 0.5,
    drift: float = 0.03,
    diff: float = 0.0,
    ratio: float = 0.005,
) -> dict[str, Any]:
    """What :func:`compute_gates` reads; by itself it passes every gate."""
    return {
        "before": {"test": {"accuracy": before}, "control": {}},
        "after": {
            "test": {"accuracy": after},
            "control": {"drift": {"text": drift, "target": 9.0}},  # the gate is on the whole text
        },
        "base_max_abs_diff": diff,
        "size_ratio": ratio,
    }


def test_compute_gates_shows_value_rule_and_threshold() -> None:
    gates = compute_gates(headline(), THRESHOLDS)
    assert gates == {
        "accuracy_gain_pp": {"value": 25.0, "rule": ">=", "threshold": 10.0, "pass": True},
        "control_ppl_drift": {"value": 0.03, "rule": "<=", "threshold": 0.05, "pass": True},
        "base_max_abs_diff": {"value": 0.0, "rule": "==", "threshold": 0.0, "pass": True},
        "adapter_size_ratio": {"value": 0.005, "rule": "<", "threshold": 0.01, "pass": True},
    }


@pytest.mark.parametrize(
    ("gate", "values", "passes"),
    [
        ("accuracy_gain_pp", {"before": 0.0, "after": 0.1}, True),
        ("accuracy_gain_pp", {"before": 0.0, "after": 0.0999}, False),
        ("accuracy_gain_pp", {"before": 0.5, "after": 0.25}, False),
        ("control_ppl_drift", {"drift": 0.05}, True),
        ("control_ppl_drift", {"drift": 0.0501}, False),
        ("control_ppl_drift", {"drift": -0.05}, True),
        ("control_ppl_drift", {"drift": math.nan}, False),
        ("base_max_abs_diff", {"diff": 1e-45}, False),
        ("base_max_abs_diff", {"diff": math.nan}, False),
        ("adapter_size_ratio", {"ratio": 0.0099}, True),
        ("adapter_size_ratio", {"ratio": 0.01}, False),
        ("adapter_size_ratio", {"ratio": 0.5}, False),
    ],
)
def test_a_gate_turns_at_its_threshold_alone(
    gate: str, values: dict[str, float], passes: bool
) -> None:
    gates = compute_gates(headline(**values), THRESHOLDS)
    assert {name: result["pass"] for name, result in gates.items()} == {
        **dict.fromkeys(THRESHOLDS, True),
        gate: passes,
    }


@pytest.mark.parametrize("items", [40, 50, 200])
def test_a_gain_of_exactly_ten_points_passes_whatever_the_start(items: int) -> None:
    for right in range(items - items // 10 + 1):
        values = {"before": right / items, "after": (right + items // 10) / items}
        assert compute_gates(headline(**values), THRESHOLDS)["accuracy_gain_pp"]["pass"], values


def test_require_gates_prints_passing_gates(capsys: pytest.CaptureFixture[str]) -> None:
    require_gates(compute_gates(headline(), THRESHOLDS), "REPORT.md")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["PASS", f"{name}:"] for name in THRESHOLDS]


def test_require_gates_names_the_failing_gates(capsys: pytest.CaptureFixture[str]) -> None:
    gates = compute_gates(headline(drift=0.2, ratio=0.02), THRESHOLDS)
    with pytest.raises(UserError) as refusal:
        require_gates(gates, "gates.json")
    message = str(refusal.value)
    assert message.startswith("gates.json: ")
    assert "found:    control_ppl_drift = 0.2, adapter_size_ratio = 0.02\n" in message
    assert "expected: control_ppl_drift <= 0.05, adapter_size_ratio < 0.01\n" in message
    assert "accuracy_gain_pp" not in message
    assert "base_max_abs_diff" not in message
    verdicts = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["PASS", "FAIL", "PASS", "FAIL"]


# --- further control sets -------------------------------------------------------------------------


def with_controls(unknown: str = "", **drifts: float) -> dict[str, Any]:
    """A headline run with further control sets, of which the base hardly knows one."""
    metrics = headline()
    metrics["before"]["controls"] = {
        name: {"unknown_above": 500.0} if name == unknown else {} for name in drifts
    }
    metrics["after"]["controls"] = {
        name: {"drift": {"text": drift, "target": 9.0}} for name, drift in drifts.items()
    }
    return metrics


def test_every_further_control_set_has_its_own_gate_and_limit() -> None:
    limits = {**THRESHOLDS, "control_ppl_drift/french": 0.2}
    gates = compute_gates(with_controls(french=0.1, blimp=0.1), limits)
    assert [name for name in gates if name not in THRESHOLDS] == [
        "control_ppl_drift/french",
        "control_ppl_drift/blimp",
    ]
    assert gates["control_ppl_drift/french"] == {
        "value": 0.1, "rule": "<=", "threshold": 0.2, "pass": True
    }  # fmt: skip
    assert gates["control_ppl_drift/blimp"] == {
        "value": 0.1, "rule": "<=", "threshold": 0.05, "pass": False
    }  # fmt: skip


def config_of(pairs: str | None, **limits: float | None) -> dict[str, Any]:
    controls = {name: {"file": f"{name}.jsonl", "max_drift": x} for name, x in limits.items()}
    return {"gates": THRESHOLDS, "task": {"pairs": pairs, "controls": controls}}


def test_thresholds_are_the_gates_and_each_control_sets_own() -> None:
    assert thresholds_of(config_of(None)) == THRESHOLDS
    found = thresholds_of(config_of(None, french=0.2, blimp=None))
    assert found == {**THRESHOLDS, "control_ppl_drift/french": 0.2}


def test_first_control_set_of_own_pairs_is_the_gates() -> None:
    found = thresholds_of(config_of("pairs.jsonl", own=0.01, french=0.2))
    assert found == {
        **THRESHOLDS,
        "control_ppl_drift": 0.01,
        "control_ppl_drift/french": 0.2,
    }
    assert thresholds_of(config_of("pairs.jsonl", own=None)) == THRESHOLDS


@pytest.mark.parametrize(
    ("unknown", "drift", "doubt"),
    [
        ("french", -0.4, "unknown"),  # measured: 686 before and 412 after, of 1,024 tokens
        ("french", 0.01, "unknown"),
        ("", -0.11, "improved"),
        ("", -0.1, None),
        ("", 0.5, None),
    ],
)
def test_a_drift_that_says_little_is_doubted(unknown: str, drift: float, doubt: str | None) -> None:
    gates = compute_gates(with_controls(unknown, french=drift), THRESHOLDS)
    assert gates["control_ppl_drift/french"].get("doubt") == doubt
    assert "doubt" not in gates["control_ppl_drift"]


def test_require_gates_prints_the_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    require_gates(compute_gates(with_controls("french", french=-0.4), THRESHOLDS), "gates.json")
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "french" in x]
    assert line == (
        "PASS  control_ppl_drift/french: -0.4 <= 0.05 "
        "(the base hardly knows this control set, so there is little to forget)"
    )


# --- the headline ---------------------------------------------------------------------------------


def test_headline_is_one_seeds_run_next_to_the_base() -> None:
    runs = [{"seed": s, "base_max_abs_diff": 0.0, "base_sha256": {"before": s}} for s in (4, 7)]
    rank = {"rank": 8, "scaling": 2.0, "trained_parameters": 5, "size_ratio": 0.1}
    metrics = headline_metrics({**rank, "file_bytes": 9, "runs": runs}, {"test": 1}, seed=7)
    assert metrics == {
        **rank,
        "seed": 7,
        "base_max_abs_diff": 0.0,
        "base_sha256": {"before": 7},
        "before": {"test": 1},
        "after": runs[1],
    }
