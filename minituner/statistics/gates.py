"""The headline run and its gates: what must hold before a result is called a success."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minituner.errors import UserError
from minituner.storage.files import read_json


def headline_metrics(
    rank_metrics: Mapping[str, Any], base_metrics: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """One run's metrics beside the base's: ``before`` and ``after``, and the adapter's size."""
    run = next(run for run in rank_metrics["runs"] if run["seed"] == seed)
    return {
        "rank": rank_metrics["rank"],
        "seed": seed,
        "scaling": rank_metrics["scaling"],
        "trained_parameters": rank_metrics["trained_parameters"],
        "size_ratio": rank_metrics["size_ratio"],
        "base_max_abs_diff": run["base_max_abs_diff"],
        "base_sha256": run["base_sha256"],
        "before": base_metrics,
        "after": run,
    }


def compute_gates(metrics: Mapping[str, Any], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Value, threshold and pass of every gate, from :func:`headline_metrics`."""
    before, after = metrics["before"], metrics["after"]
    # Rounded, since 29/50 - 24/50 is a hair below 10 points in binary fractions.
    gain_pp = round(100 * (after["test"]["accuracy"] - before["test"]["accuracy"]), 9)
    drift = after["control"]["drift"]["text"]
    difference = metrics["base_max_abs_diff"]
    ratio = metrics["size_ratio"]

    def gate(value: float, rule: str, threshold: float, passed: bool) -> dict[str, Any]:
        return {"value": value, "rule": rule, "threshold": threshold, "pass": passed}

    limits = thresholds
    return {
        "accuracy_gain_pp": gate(
            gain_pp, ">=", limits["accuracy_gain_pp"], gain_pp >= limits["accuracy_gain_pp"]
        ),
        "control_ppl_drift": gate(
            drift, "<=", limits["control_ppl_drift"], drift <= limits["control_ppl_drift"]
        ),
        "base_max_abs_diff": gate(
            difference, "==", limits["base_max_abs_diff"], difference == limits["base_max_abs_diff"]
        ),
        "adapter_size_ratio": gate(
            ratio, "<", limits["adapter_size_ratio"], ratio < limits["adapter_size_ratio"]
        ),
    }


def require_gates(gates: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Print every gate.

    Raises:
        UserError: One fails.
    """
    for name, gate in gates.items():
        verdict = "PASS" if gate["pass"] else "FAIL"
        print(f"{verdict}  {name}: {gate['value']:.6g} {gate['rule']} {gate['threshold']:g}")
    failed = {name: gate for name, gate in gates.items() if not gate["pass"]}
    if failed:
        raise UserError(
            path,
            f"the headline run fails the gate {', '.join(failed)}",
            found=", ".join(f"{name} = {gate['value']:.6g}" for name, gate in failed.items()),
            expected=", ".join(
                f"{name} {gate['rule']} {gate['threshold']:g}" for name, gate in failed.items()
            ),
            fix="REPORT.md shows where it falls short; change the training, not the gate",
        )


def headline_from_files(
    rank_metrics: str | Path, base_metrics: str | Path, seed: int
) -> dict[str, Any]:
    """:func:`headline_metrics` of the files that ``evaluate`` and ``evaluate_base`` wrote."""
    return headline_metrics(read_json(rank_metrics), read_json(base_metrics), seed)
