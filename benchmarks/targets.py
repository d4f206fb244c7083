"""The targets that minituner's speed and memory should meet, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scaling import microseconds_per_row, peak_mb

TRAINER_TARGET = 3  # times minituner's seconds


def targets_table(results: Mapping[str, Any]) -> str:
    """The targets, what was measured and the verdict, as Markdown; without unmeasured targets."""
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    for what, target, unit, below, measured in TARGETS:
        try:
            value = measured(results)
        except KeyError:
            continue
        met = value <= target if below else value >= target
        sign = "≤" if below else "≥"
        verdict = "met" if met else "**missed**"
        lines.append(f"| {what} | {sign} {target:g} {unit} | {value:.3g} {unit} | {verdict} |")
    return "\n".join(lines)


def _wall(results: Mapping[str, Any], name: str) -> float:
    return float(results["pipeline"][name]["wall_seconds"]["median"])


def _row_cost(results: Mapping[str, Any], rows: int) -> float:
    point = next(point for point in results["data"]["points"] if point["rows"] == rows)
    return microseconds_per_row(point)["median"]


def _llama_ratio(which: str, name: str, results: Mapping[str, Any]) -> float:
    return float(results["llama"][which]["ratio_to_minituner"][name]["median"])


TARGETS: tuple[tuple[str, float, str, bool, Callable[[Mapping[str, Any]], float]], ...] = (
    ("from a fresh clone to REPORT.md", 240, "s", True, lambda r: _wall(r, "from a fresh clone")),
    (
        "nothing changed, relative to an empty Snakefile",
        1.25,
        "x",
        True,
        lambda r: _wall(r, "nothing changed") / _wall(r, "nothing changed, an empty Snakefile"),
    ),
    (
        "the template edited, minus nothing changed",
        3,
        "s",
        True,
        lambda r: _wall(r, "the report's template edited") - _wall(r, "nothing changed"),
    ),
    (
        "one training sentence edited",
        100,
        "s",
        True,
        lambda r: _wall(r, "one training sentence edited"),
    ),
    (
        "transformers + PEFT + Trainer, relative to minituner",
        TRAINER_TARGET,
        "x",
        False,
        lambda r: r["training"]["ratio_to_minituner"]["Trainer"]["median"],
    ),
    (
        "a plain loop with PEFT's layer, relative to minituner",
        1.5,
        "x",
        False,
        lambda r: r["training"]["ratio_to_minituner"]["PEFT loop"]["median"],
    ),
    *(
        (
            f"{whom}, adapters on {which} of a Llama, relative to minituner",
            target,
            "x",
            False,
            partial(_llama_ratio, which, name),
        )
        for which, name, whom, target in (
            ("every layer", "PEFT loop", "a plain loop with PEFT's layer", 1),
            ("every layer", "Trainer", "transformers + PEFT + Trainer", 1.3),
            ("the top third", "PEFT loop", "a plain loop with PEFT's layer", 2),
            ("the top third", "Trainer", "transformers + PEFT + Trainer", 2),
        )
    ),
    (
        "a training step, relative to its matrix products",
        1.5,
        "x",
        True,
        lambda r: r["step"]["ratio"],
    ),
    (
        "evaluation of one rank",
        6,
        "s",
        True,
        lambda r: r["evaluation"]["wall_seconds"]["median"],
    ),
    (
        "cost per row, of 1,000,000 relative to 10,000",
        1.3,
        "x",
        True,
        lambda r: _row_cost(r, 1_000_000) / _row_cost(r, 10_000),
    ),
    (
        "peak memory at 1,000,000 rows",
        1024,
        "MB",
        True,
        lambda r: peak_mb(r["data"]["points"][-1])["max"],
    ),
    (
        "peak memory of a training job",
        1024,
        "MB",
        True,
        lambda r: r["training"]["contestants"]["minituner"]["peak_mb"]["max"],
    ),
)
