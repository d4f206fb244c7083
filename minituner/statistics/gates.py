"""The headline run and its gates: the conditions a result must meet to be called a success."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minituner.errors import UserError
from minituner.results import (
    ControlMetrics,
    Doubt,
    Gate,
    Gates,
    HeadlineMetrics,
    ModelMetrics,
    TunedMetrics,
    read_results,
)

DRIFT = "control_ppl_drift"
RULES = {
    "accuracy_gain_pp": (">=", operator.ge),
    DRIFT: ("<=", operator.le),
    "base_max_abs_diff": ("==", operator.eq),
    "adapter_size_ratio": ("<", operator.lt),
}
# If tuning lowers a control set's perplexity by more than this share, it has taught the model what
# the set is made of: what the base knew of it is not what the drift measures.
MUCH_IMPROVED = 0.1
DOUBTS = {
    "unknown": "the base hardly knows this control set, so there is little to forget",
    "improved": "tuning has taught the model this control set, which hides forgetting",
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

    Each further control set has a gate ``control_ppl_drift/<name>``.

    Args:
        thresholds: By the gate's name, from :func:`thresholds_of`; a further control set that is
            not there has the threshold of ``control_ppl_drift``.
    """
    before, after = metrics["before"], metrics["after"]
    gain = after["test"]["accuracy"] - before["test"]["accuracy"]
    # Rounded, since 29/50 - 24/50 is slightly below 10 points in binary fractions.
    gates = {"accuracy_gain_pp": gate("accuracy_gain_pp", round(100 * gain, 9), thresholds)}
    for name, untuned, tuned in _control_sets(before, after):
        gates[name] = drift_gate(name, untuned, tuned, thresholds)
    for name, value in (
        ("base_max_abs_diff", metrics["base_max_abs_diff"]),
        ("adapter_size_ratio", metrics["size_ratio"]),
    ):
        gates[name] = gate(name, value, thresholds)
    return gates


def gate(name: str, value: float, thresholds: Mapping[str, float]) -> Gate:
    """One gate, of a value."""
    kind = name.partition("/")[0]
    rule, holds = RULES[kind]
    threshold = thresholds.get(name, thresholds[kind])
    return {
        "value": value,
        "rule": rule,
        "threshold": threshold,
        "pass": holds(value, threshold),
    }


def drift_gate(
    name: str, before: ControlMetrics, after: ControlMetrics, thresholds: Mapping[str, float]
) -> Gate:
    """The gate on one control set's drift, with the doubt about it if there is one.

    Args:
        before: The base's metrics.
        after: The tuned model's.
    """
    found = gate(name, after["drift"]["text"], thresholds)
    doubt = doubt_about(before, found["value"])
    return found if doubt is None else {**found, "doubt": doubt}


def doubt_about(before: ControlMetrics, drift: float) -> Doubt | None:
    """Why a drift says little about forgetting; None if it does not."""
    if "unknown_above" in before:
        return "unknown"
    return "improved" if drift < -MUCH_IMPROVED else None


def thresholds_of(config: Mapping[str, Any]) -> dict[str, float]:
    """The threshold of every gate, by its name: the section ``gates``, and each control set's own
    ``max_drift``.

    Args:
        config: The sections ``gates`` and ``task`` of the config.
    """
    task = config["task"]
    limits = {name: control.get("max_drift") for name, control in task["controls"].items()}
    # In a task of one's own pairs the first control set is the gate's.
    first = next(iter(limits), None) if task["pairs"] is not None else None
    names = {name: DRIFT if name == first else f"{DRIFT}/{name}" for name in limits}
    own = {names[name]: limit for name, limit in limits.items() if limit is not None}
    return {**config["gates"], **own}


def _control_sets(
    before: ModelMetrics, after: ModelMetrics
) -> Iterator[tuple[str, ControlMetrics, ControlMetrics]]:
    """Every control set: its gate's name, the base's metrics and the tuned model's."""
    yield DRIFT, before["control"], after["control"]
    for name, tuned in after.get("controls", {}).items():
        yield f"{DRIFT}/{name}", before["controls"][name], tuned


def require_gates(gates: Gates, path: str | Path) -> None:
    """Print every gate.

    Args:
        path: The file that holds them, for the message.

    Raises:
        UserError: A gate fails.
    """
    for name, gate in gates.items():
        verdict = "PASS" if gate["pass"] else "FAIL"
        doubt = f" ({DOUBTS[gate['doubt']]})" if "doubt" in gate else ""
        print(f"{verdict}  {name}: {gate['value']:.6g} {gate['rule']} {gate['threshold']:g}{doubt}")
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
