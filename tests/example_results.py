"""Small results of a study, in the types of ``minituner.results``, for the tests of the reports."""

from __future__ import annotations

import json
from typing import Any, cast

from project import ROOT

from minituner.reporting.report import Results
from minituner.results import ArmRow, ArmSummary, ComparisonRow, Interval, SweepSummary


def interval(mean: float, reach: float | None = 0.05) -> Interval:
    """An interval that reaches as far below its mean as above; without ends if ``None``."""
    if reach is None:
        return {"mean": mean, "low": None, "high": None}
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def comparison_row(
    rank: int | None,
    accuracy: float = 0.9,
    drift: float = 0.01,
    reach: float | None = 0.05,
    base: float = 0.5,
    layers: tuple[str, ...] = ("blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "all"),
) -> ComparisonRow:
    """A setting with three seeds; the drift over the answers is three times ``drift``."""
    audit = {"relative_norm": 0.05, "effective_rank": 1.5, "largest_b": 0.01}
    return {
        "rank": rank,
        "scaling": None if rank is None else 16 / rank,
        "trained_parameters": 1000 * (rank or 100),
        "file_bytes": 5000,
        "size_ratio": 0.008,
        "accuracy": interval(accuracy, None if reach is None else min(accuracy, 1 - accuracy)),
        "gain": interval(accuracy - base, reach),
        "margin_nats": interval(1.7),
        "text_drift": interval(drift, reach),
        "target_drift": interval(3 * drift, reach),
        "base_accuracy": base,
        "accuracy_by_seed": [accuracy, max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)],
        "text_drift_by_seed": [drift, 1.2 * drift, 0.8 * drift],
        "target_drift_by_seed": [3 * drift, 3.3 * drift, 2.7 * drift],
        "mcnemar_headline_seed": {"gained": 25, "lost": 1, "p": 0.0000008},
        "scale_audit": cast(Any, [{"layer": layer, **audit} for layer in layers]),
    }


def sweep_summary(
    rows: list[ComparisonRow],
    base: float = 0.5,
    confidence: float = 0.95,
    outcome: str = "flat",
    elbow_rank: int | None = None,
) -> SweepSummary:
    """A sweep whose best rank is the second of its rows."""
    ranks = [row["rank"] for row in rows]
    best = cast(int, ranks[min(1, len(ranks) - 1)])
    others = [str(rank) for rank in ranks if rank != best]

    def by_rank(label: str) -> Any:
        accuracies = {str(rank): interval(0.9) for rank in ranks}
        return {"label": label, "sentences": 26, "base": interval(0.5), "ranks": accuracies}

    return {
        "test_items": 52,
        "seeds": [0, 1, 2],
        "confidence": confidence,
        "base_accuracy": interval(base),
        "ranks": rows,
        "drift_largest_minus_smallest": interval(0.001),
        "elbow": {
            "outcome": outcome,
            "rank": elbow_rank,
            "best_rank": best,
            "largest_minus_smallest": {"mean": 0.012, "low": -0.03, "high": 0.05},
            "best_minus": {rank: interval(0.02) for rank in others},
            "adjusted_p": {rank: 0.6 for rank in others},
            "kneedle": best,
        },
        "by_label": [
            by_rank(label) for label in ("past_simple", "new complement", "trained complement")
        ],
        "by_group_and_form": [by_rank(f"{verb}/past_simple") for verb in ("eat", "go")],
        "generalization": {"difference": {str(rank): interval(-0.01) for rank in ranks}},
    }


def report_results(outcome: str = "flat", elbow_rank: int | None = None) -> Results:
    """A sweep over the ranks 2, 8 and 32, and otherwise the committed results of the study."""
    rows = [comparison_row(rank, drift=0.02) for rank in (2, 8, 32)]
    split = {
        "pairs": 40,
        "by_form": {"past_simple": 40},
        "by_group": {"walk": 20, "play": 20},
        "target_tokens": 200,
    }
    side = {"pairs": 40, "frames": {"time_last": 40}, "mean_prompt_words": 7.5}
    return {
        "pairs": cast(
            Any,
            {
                "splits": {"test": split, "control": split},
                "distributions": {"task": side, "control": side, "unseen_words": None},
            },
        ),
        "sweep": sweep_summary(rows, outcome=outcome, elbow_rank=elbow_rank),
        "metrics": committed("28-lora-finetune/metrics.json"),
        "gates": committed("28-lora-finetune/gates.json"),
        "manifest": committed("28-lora-finetune/manifest.json"),
        "training": committed("28-lora-ablate-rank/rank-8/training.json"),
        "pretraining": committed("17-minigpt-train/pretraining.json"),
        "ambiguous": [
            {"verb": "see", "word": "seed", "meaning": "the grain of a plant", "side": "wrong"}
        ],
    }


def committed(file: str) -> Any:
    """A committed results file."""
    return json.loads((ROOT / "experiments" / file).read_text(encoding="utf-8"))


def arm_row(
    rank: int | None,
    accuracy: float = 0.9,
    drift: float = 0.01,
    reach: float | None = 0.05,
    **other: Any,
) -> ArmRow:
    """A run of an arm that is not the study's; ``other`` replaces or adds fields."""
    row = {
        "run": "lora",
        "folder": f"experiments/{rank}",
        "changes": {},
        "is_study": False,
        "val_accuracy": 0.9,
        "val_perplexity": 1.5,
        "probe_failures": 0.0,
        "base_max_abs_diff": 0.0,
        "versus_study": None,
        **comparison_row(rank, accuracy, drift, reach),
    }
    return cast(ArmRow, row | other)


def arm_summary(rows: list[ArmRow], confidence: float = 0.95) -> ArmSummary:
    """An arm whose first two runs are its Pareto front."""
    return {
        "rows": rows,
        "seeds": [0, 1, 2],
        "confidence": confidence,
        "chosen": None,
        "size_limit": 0.01,
        "front": [{"run": row["run"], "rank": row["rank"]} for row in rows[:2]],
        "gaps": {},
        "held_out": None,
    }
