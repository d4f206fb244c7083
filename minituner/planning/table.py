"""A plan as text for the terminal, and what was predicted next to what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minituner.errors import number_of
from minituner.memory import megabytes
from minituner.planning.plan import Plan
from minituner.reporting.cost import Measured


def describe(plan: Plan, gate: float) -> str:
    """The plan in words and tables.

    Args:
        gate: ``gates.adapter_size_ratio``.
    """
    lines = [
        f"{number_of(len(plan.ranks), 'rank')} x {number_of(plan.seeds, 'seed')} over a base of "
        f"{plan.base_weights:,} weights ({megabytes(plan.base_bytes)}), on {plan.train_pairs:,} "
        f"training pairs, computed on: {plan.device}",
        *(f"ESTIMATE: {reason}" for reason in plan.estimates),
        "",
        *_table(
            {
                "rank": [r.rank for r in plan.ranks],
                "trained weights": [f"{r.trained_weights:,}" for r in plan.ranks],
                "adapter, bytes": [f"{r.adapter_bytes:,}" for r in plan.ranks],
                "of the base": [f"{100 * r.size_ratio:.2f} %" for r in plan.ranks],
                f"below {100 * gate:g} %": ["yes" if r.gate_holds else "NO" for r in plan.ranks],
                "steps": [f"{r.steps:,}" for r in plan.ranks],
                "s/step": [f"{r.step_seconds:.3g}" for r in plan.ranks],
                "train, s": [f"{r.train_seconds:,.0f}" for r in plan.ranks],
                "evaluate, s": [f"{r.evaluate_seconds:,.0f}" for r in plan.ranks],
                "train, MB": [_mb(plan, r.train_memory.total) for r in plan.ranks],
                "evaluate, MB": [_mb(plan, r.evaluate_memory.total) for r in plan.ranks],
            }
        ),
        "",
        "Steps are per seed; seconds and memory are of a job, which runs all seeds of a rank.",
        f"A job takes {plan.start_seconds:.1f} s and {megabytes(plan.start_bytes)} before its own "
        "work begins; this is included.",
        f"The sweep takes about {_duration(plan.total_seconds)} with {plan.cores} cores, without "
        "pretraining, the ablations and the report.",
        f"{number_of(plan.jobs_at_a_time, 'job')} at a time: up to about "
        f"{megabytes(plan.jobs_at_a_time * plan.peak_bytes)} of {megabytes(plan.available_bytes)} "
        "available.",
    ]
    return "\n".join(lines)


def _mb(plan: Plan, count: int) -> str:
    return f"{(plan.start_bytes + count) / 1e6:,.0f}"


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


def predictions(plan: Plan) -> dict[str, Any]:
    """What ``cost`` shows next to what the training jobs took, by the job's name."""
    return {
        f"rank {r.rank}": {
            "seconds": round(r.train_seconds, 1),
            "memory_mb": round((plan.start_bytes + r.train_memory.total) / 2**20, 1),
        }
        for r in plan.ranks
    }


def describe_measured(plan: Plan, measured: Mapping[str, Measured | None]) -> str:
    """What was predicted next to what the training jobs of the last run took; empty without one.

    Args:
        measured: By the job's name.
    """
    rows = [(name, row, measured.get(name)) for name, row in predictions(plan).items()]
    found = [(name, row, took) for name, row, took in rows if took is not None]
    if not found:
        return ""
    table = _table(
        {
            "training": [name for name, _, _ in found],
            "predicted, s": [f"{row['seconds']:,.0f}" for _, row, _ in found],
            "measured, s": [_cell(took.seconds) for _, _, took in found],
            "predicted, MB": [f"{row['memory_mb']:,.0f}" for _, row, _ in found],
            "measured, MB": [_cell(took.memory_mb) for _, _, took in found],
        }
    )
    return "\n".join(["The last run took:", "", *table])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _table(columns: Mapping[str, Sequence[object]]) -> list[str]:
    """Lines of right-aligned columns under their headings."""
    cells = [[heading, *map(str, values)] for heading, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    rows = zip(*cells, strict=True)
    return ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
