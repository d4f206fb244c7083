"""The headline run and its gates: the conditions a result must meet to be called a success."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path

from minituner.errors import UserError
from minituner.results import (
    Gates,
    HeadlineMetrics,
    ModelMetrics,
    TunedMetrics,
    read_results,
)

RULES = {
    "accuracy_gain_pp": (">=", operator.ge),
    "control_ppl_drift": ("<=", operator.le),
    "base_max_abs_diff": ("==", operator.eq),
    "adapter_size_ratio": ("<", operator.lt),
}


def headline_metrics(
    rank_metrics: TunedMetrics, base_metrics: ModelMetrics, seed: int
) -> HeadlineMetrics:
    """One run's metrics next to the base's: ``before`` and ``after``, and the adapter's size."""
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


def headline_from_files(
    metrics: str | Path, base_metrics: str | Path, seed: int
) -> HeadlineMetrics:
    """:func:`headline_metrics` from the files of the rank's and of the base's evaluation."""
    return headline_metrics(
        read_results(metrics, TunedMetrics), read_results(base_metrics, ModelMetrics), seed
    )


def compute_gates(metrics: HeadlineMetrics, thresholds: Mapping[str, float]) -> Gates:
    """Value, rule, threshold and pass of every gate, by its name.

    Args:
        thresholds: The gates section of the config, by the gate's name.
    """
    before, after = metrics["before"], metrics["after"]
    gain = after["test"]["accuracy"] - before["test"]["accuracy"]
    values = {
        # Rounded, since 29/50 - 24/50 is slightly below 10 points in binary fractions.
        "accuracy_gain_pp": round(100 * gain, 9),
        "control_ppl_drift": after["control"]["drift"]["text"],
        "base_max_abs_diff": metrics["base_max_abs_diff"],
        "adapter_size_ratio": metrics["size_ratio"],
    }
    return {
        name: {
            "value": values[name],
            "rule": rule,
            "threshold": thresholds[name],
            "pass": holds(values[name], thresholds[name]),
        }
        for name, (rule, holds) in RULES.items()
    }


def require_gates(gates: Gates, path: str | Path) -> None:
    """Print every gate.

    Args:
        path: The file that holds them, for the message.

    Raises:
        UserError: A gate fails.
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
