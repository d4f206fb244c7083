"""Small results of a study, in the types of ``minituner.results``, for the tests of the reports."""

from __future__ import annotations

import json
from typing import Any, cast

from project import ROOT

from minituner.reporting.report import Results
from minituner.results import (
    ArmRow,
    ArmSummary,
    ComparisonRow,
    HeadlineMetrics,
    Interval,
    ModelMetrics,
    SplitMetrics,
    SweepSummary,
)


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


def split_metrics(accuracy: float, drift: float | None = None) -> SplitMetrics:
    """One split of 52 items; the drift over the answers is three times ``drift``."""
    drifts = {} if drift is None else {"drift": {"text": drift, "target": 3 * drift}}
    metrics = {
        "n": 52,
        "accuracy": accuracy,
        "accuracy_per_token": accuracy,
        "margin_nats": 4 * accuracy - 2,
        "margin_nats_per_token": accuracy,
        "by_group_and_form": {},
        "perplexity": {"text": 2.1 * (1 + (drift or 0)), "target": 1.1 * (1 + 3 * (drift or 0))},
        "greedy_accuracy": accuracy,
    }
    return cast(SplitMetrics, metrics | drifts)


def model_metrics(accuracy: float, drift: float | None = None) -> ModelMetrics:
    """A model of the verb study, with two predictions and three probe sentences."""
    probe = {"prompt": "He has __.", "expected": "walked", "over_irregular": "walken"}
    answer = {"answer": "walked / caminado", "margin_nats": 7.5, "failed": False}
    pairs = {"eat": ("She __ soup.", "ate / comió"), "go": ("He __ home.", "went / fue")}
    return {
        "val": split_metrics(accuracy),
        "test": split_metrics(accuracy, drift),
        "control": split_metrics(1.0, drift),
        "probe": [cast(Any, probe | answer) for _ in range(3)],
        "predictions": [
            {"group": group, "prompt": prompt, "expected": expected, "answer": expected}
            for group, (prompt, expected) in pairs.items()
        ],
    }


def headline_metrics(before: ModelMetrics, after: ModelMetrics) -> HeadlineMetrics:
    """The run at rank 8 and seed 0."""
    hashes = {"before": 64 * "a", "after": 64 * "a"}
    run = {"seed": 0, "base_max_abs_diff": 0.0, "base_sha256": hashes, "scale_audit": []}
    headline = {
        "rank": 8,
        "seed": 0,
        "scaling": 2.0,
        "trained_parameters": 8000,
        "size_ratio": 0.008,
        "base_max_abs_diff": 0.0,
        "base_sha256": hashes,
        "before": before,
        "after": after | run,
    }
    return cast(HeadlineMetrics, headline)


def report_results(outcome: str = "flat", elbow_rank: int | None = None) -> Results:
    """The verb study with a sweep over the ranks 2, 8 and 32; what is not about the models is from
    the committed results."""
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
        "metrics": headline_metrics(model_metrics(0.5), model_metrics(0.98, 0.002)),
        "gates": committed("28-lora-finetune/gates.json"),
        "manifest": committed("28-lora-finetune/manifest.json"),
        "training": committed("28-lora-ablate-rank/rank-8/training.json"),
        "pretraining": committed("17-minigpt-train/pretraining.json"),
        "base": {"path": "own/best.pt", "architecture": None},
        "ambiguous": [
            {"verb": "see", "word": "seed", "meaning": "the grain of a plant", "side": "wrong"}
        ],
    }


# --- a study that has nothing to do with verbs ----------------------------------------------------

CAPITALS: dict[str, Any] = {  # the section `task` of its config
    "name": "country capitals",
    "group_name": "country",
    "wrong_name": "another capital",
    "control_name": "rivers",
    "scoring": "fill_in",
    "pairs": "data/capitals.jsonl",
    "controls": {
        "rivers": {"file": "data/rivers.jsonl"},
        "poems": {"file": "data/poems.jsonl", "max_drift": 0.1},
    },
}


def capitals_results(
    outcome: str = "flat", elbow_rank: int | None = None, countries: int = 3
) -> Results:
    """Pairs about capitals over a transformers model, with a second control set: no forms, frames,
    complements or probe, and nothing known of the base's corpus."""
    results = report_results(outcome, elbow_rank)
    names = [f"Country {i}" for i in range(countries)]

    def split(groups: list[str], each: int) -> Any:
        counts = dict.fromkeys(groups, each)
        pairs = each * len(groups)
        return {"pairs": pairs, "by_form": {"": pairs}, "by_group": counts, "target_tokens": 200}

    splits = {
        "train": split(names, 8),
        "val": split(names, 1),
        "test": split(names, 2),
        "control": split(["Amazon", "Nile"], 30),
        "probe": split([], 0),
        "controls/poems": split(["1", "2", "3"], 1),
    }
    side = {"pairs": 40, "frames": {"": 40}, "mean_prompt_words": 5.5}
    distributions = {"irregular": side, "control": side, "unseen_words": None}
    results["pairs"] = cast(Any, {"splits": splits, "distributions": distributions})
    sweep = results["sweep"]
    ranks = {str(row["rank"]): interval(0.9) for row in sweep["ranks"]}
    row = {"sentences": 2, "base": interval(0.5), "ranks": ranks}
    sweep["by_label"] = [cast(Any, row | {"label": name}) for name in ("", "no complement")]
    sweep["by_group_and_form"] = [cast(Any, row | {"label": f"{name}/"}) for name in names]
    sweep["generalization"] = None
    for rank_row in sweep["ranks"]:
        cast(Any, rank_row)["control_drifts"] = {"poems": interval(0.03)}
    before, after = results["metrics"]["before"], results["metrics"]["after"]
    predictions = [
        {"group": name, "prompt": f"The capital of {name} is", "expected": "A", "answer": "B"}
        for name in names
    ]
    for model, drift in ((before, None), (after, 0.04)):
        model["probe"] = []
        model["predictions"] = cast(Any, predictions)
        cast(Any, model)["controls"] = {"poems": split_metrics(1.0, drift)}
    results["gates"]["control_ppl_drift/poems"] = {
        **{"value": 0.04, "rule": "<=", "threshold": 0.1, "pass": True}
    }
    results["pretraining"] = None
    results["base"] = {"path": "models/llama", "architecture": "LlamaForCausalLM"}
    results["ambiguous"] = []
    return results


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
