"""The rank sweep: what each rank gained and broke, with intervals, and the elbow."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minituner.data.spelling import comparable
from minituner.statistics.intervals import (
    Array,
    Estimate,
    PairedBootstrap,
    StatisticsSettings,
    holm,
    mcnemar,
)
from minituner.storage.files import read_json
from minituner.storage.items import read_items


@dataclass(frozen=True)
class Elbow:
    """What the accuracies say of the rank.

    ``outcome`` is one of: ``ceiling`` (every rank is at the top), ``floor`` (no rank is shown to
    beat the base), ``flat`` (the largest rank is not shown to differ from the smallest), ``elbow``
    (``rank`` is the smallest not significantly worse than the best), ``rising`` (that is the
    largest of the sweep).
    ``kneedle`` is the second opinion, shown and never decisive.
    """

    outcome: str
    rank: int | None
    best_rank: int
    largest_minus_smallest: Estimate
    best_minus: dict[int, Estimate]  # by rank: the best rank's accuracy less this one's
    adjusted_p: dict[int, float]  # by rank, of that difference
    kneedle: int | None


# --- the elbow ----------------------------------------------------------------------------------


def find_elbow(
    correct: Mapping[int, Array],
    base: Array,
    bootstrap: PairedBootstrap,
    settings: StatisticsSettings,
) -> Elbow:
    """Decide the sweep's outcome from right-or-wrong answers.

    The gate comes first: unless the largest rank differs from the smallest, the curve is flat and
    no elbow is named. Then the elbow is the smallest rank whose accuracy is not significantly
    below the best rank's (Holm-adjusted over the ranks); where the gate has shown the smallest
    rank to be worse than the largest, it is one above that.

    Args:
        correct: For each rank (seeds, items) of 0 or 1.
        base: (items,) of 0 or 1, the untuned base.
    """
    ranks = sorted(correct)
    alpha = 1 - settings.confidence
    accuracy = {r: float(correct[r].mean()) for r in ranks}
    best = max(ranks, key=lambda r: (accuracy[r], -r))

    gaps = {r: correct[best] - correct[r] for r in ranks if r != best}
    p_values = [bootstrap.p_value(gap) for gap in gaps.values()]
    adjusted = dict(zip(gaps, holm(p_values), strict=True))
    whole_gap = bootstrap.difference(correct[ranks[-1]] - correct[ranks[0]])
    gains = [bootstrap.difference(correct[r] - base) for r in ranks]
    candidates = ranks[1:] if whole_gap.above_zero else ranks
    enough = next(r for r in candidates if r == best or adjusted[r] > alpha)

    rank = None
    if min(accuracy.values()) >= settings.ceiling_accuracy:
        outcome = "ceiling"
    elif not any(gain.above_zero for gain in gains):
        outcome = "floor"
    elif len(ranks) == 1 or whole_gap.holds(0):
        outcome = "flat"
    else:
        outcome, rank = ("rising" if enough == ranks[-1] else "elbow"), enough
    return Elbow(
        outcome=outcome,
        rank=rank,
        best_rank=best,
        largest_minus_smallest=whole_gap,
        best_minus={r: bootstrap.difference(gap) for r, gap in gaps.items()},
        adjusted_p=adjusted,
        kneedle=kneedle(accuracy),
    )


def kneedle(accuracy: Mapping[int, float]) -> int | None:
    """Kneedle's knee on log2 r (Satopää et al. 2011); it names one even on flat curves."""
    from kneed import KneeLocator

    ranks = sorted(accuracy)
    if len(ranks) < 3:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        knee = KneeLocator(
            np.log2(ranks), [accuracy[r] for r in ranks], curve="concave", direction="increasing"
        ).knee
    return None if knee is None else round(float(2**knee))


# --- one setting, all its seeds -----------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What a model said to the items of one split, an array (seeds, items) a column.

    The base counts as one seed. Items are in the order of the base's.
    """

    items: pd.DataFrame  # the base's rows: id, verb, form, ...
    columns: Mapping[str, Array]

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]


ANSWER_COLUMNS = (
    "correct",
    "margin_nats",
    "text_nll_nats",
    "text_tokens",
    "target_nll_nats",
    "target_tokens",
)


def answers_of(items: pd.DataFrame, split: str, base_items: pd.DataFrame) -> Answers:
    """One split of a file of per-item results, its items in the base's order."""
    base = base_items[base_items["split"] == split]
    rows = items[items["split"] == split]
    if "seed" not in rows:
        rows = rows.assign(seed=0)
    seeds = list(dict.fromkeys(rows["seed"]))
    table = rows.pivot(index="seed", columns="id", values=list(ANSWER_COLUMNS))
    return Answers(
        base,
        {
            column: table[column].loc[seeds, base["id"].tolist()].to_numpy(np.float64)
            for column in ANSWER_COLUMNS
        },
    )


class Judge:
    """Describes any tuned setting against the base, with the same draws for all."""

    def __init__(
        self, base_items: pd.DataFrame, n_seeds: int, settings: StatisticsSettings
    ) -> None:
        self.base_items = base_items
        self.base = {
            split: answers_of(base_items, split, base_items) for split in ("test", "control")
        }
        self.bootstrap = {
            split: PairedBootstrap(answers.items["verb"].tolist(), n_seeds, settings)
            for split, answers in self.base.items()
        }

    def describe(self, metrics: Mapping[str, Any], items: pd.DataFrame) -> dict[str, Any]:
        """One row of a table: means with intervals, the single seeds, McNemar's test.

        Args:
            metrics: A rank's metrics, as ``evaluate`` wrote them.
            items: Its answers, one row an item and seed.
        """
        test, control = (answers_of(items, split, self.base_items) for split in self.base)
        bootstrap = self.bootstrap["test"]
        base_correct = self.base["test"]["correct"]
        runs = metrics["runs"]
        return {
            "rank": metrics["rank"],
            "scaling": metrics["scaling"],
            "trained_parameters": metrics["trained_parameters"],
            "file_bytes": metrics["file_bytes"],
            "size_ratio": metrics["size_ratio"],
            "accuracy": asdict(bootstrap.accuracy(test["correct"])),
            "gain": asdict(bootstrap.difference(test["correct"] - base_correct)),
            "margin_nats": asdict(bootstrap.estimate(test["margin_nats"])),
            "text_drift": asdict(self.drift(control, "text")),
            "target_drift": asdict(self.drift(control, "target")),
            "base_accuracy": float(base_correct.mean()),
            "accuracy_by_seed": test["correct"].mean(axis=1).tolist(),
            "text_drift_by_seed": [run["control"]["drift"]["text"] for run in runs],
            "target_drift_by_seed": [run["control"]["drift"]["target"] for run in runs],
            "mcnemar_headline_seed": mcnemar(base_correct[0], test["correct"][0]),
        }

    def drift(self, tuned: Answers, kind: str) -> Estimate:
        """The mean over seeds of the perplexity's relative change, on the control items.

        Args:
            kind: ``text`` or ``target``.
        """
        drift = self.bootstrap["control"].interval(*self._drift_draws(tuned, kind))
        # No perplexity falls by more than all of it.
        return drift if drift.low is None else replace(drift, low=max(drift.low, -1.0))

    def drift_difference(self, left: pd.DataFrame, right: pd.DataFrame) -> Estimate:
        """The drift over the whole text of one setting less another's, paired."""
        (mean, draws), (other_mean, other_draws) = (
            self._drift_draws(answers_of(items, "control", self.base_items), "text")
            for items in (left, right)
        )
        return self.bootstrap["control"].interval(mean - other_mean, draws - other_draws)

    def _drift_draws(self, tuned: Answers, kind: str) -> tuple[float, Array]:
        """The drift, and its bootstrap draws."""
        bootstrap = self.bootstrap["control"]
        tokens = tuned[f"{kind}_tokens"]
        change = tuned[f"{kind}_nll_nats"] - self.base["control"][f"{kind}_nll_nats"]
        by_seed = bootstrap.item_means(change) / bootstrap.item_means(tokens)
        mean = np.expm1(change.sum(axis=1) / tokens.sum(axis=1)).mean()
        return float(mean), bootstrap.seed_means(np.expm1(by_seed))


AUDITED = ("relative_norm", "effective_rank", "largest_b")


def mean_audit(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The means of the seeds' scale audits, layer by layer, and last over all layers; nothing
    where there is no adapter."""
    rows = [
        {"layer": layers[0]["layer"], **{key: _mean(layers, key) for key in AUDITED}}
        for layers in zip(*(run["scale_audit"] for run in runs), strict=True)
    ]
    if not rows:
        return []
    return [*rows, {"layer": "all", **{key: _mean(rows, key) for key in AUDITED}}]


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(float(row[key]) for row in rows) / len(rows)


# --- the summary --------------------------------------------------------------------------------


def summarize(
    base_items: pd.DataFrame,
    metrics: Sequence[Mapping[str, Any]],
    items: Sequence[pd.DataFrame],
    settings: StatisticsSettings,
    trained_complements: Collection[str] = (),
) -> dict[str, Any]:
    """Put the evaluations of all ranks and seeds into one table with intervals, and the elbow.

    Args:
        base_items: The base's answers, one row an item, as ``evaluate_base`` wrote them.
        metrics: Each rank's metrics, as ``evaluate`` wrote them.
        items: Each rank's answers, one row an item and seed, in the same order.
        trained_complements: Every complement that a training prompt has.
    """
    items_by_rank = {rank["rank"]: frame for rank, frame in zip(metrics, items, strict=True)}
    by_rank = {rank["rank"]: rank for rank in metrics}
    ranks = sorted(by_rank)
    seeds = [run["seed"] for run in by_rank[ranks[0]]["runs"]]
    judge = Judge(base_items, len(seeds), settings)
    test = judge.base["test"]
    correct = {r: answers_of(items_by_rank[r], "test", base_items)["correct"] for r in ranks}
    rows = [
        judge.describe(by_rank[r], items_by_rank[r])
        | {"scale_audit": mean_audit(by_rank[r]["runs"])}
        for r in ranks
    ]
    return {
        "test_items": len(test.items),
        "seeds": seeds,
        "confidence": settings.confidence,
        "base_accuracy": asdict(judge.bootstrap["test"].accuracy(test["correct"])),
        "ranks": rows,
        "drift_largest_minus_smallest": asdict(
            judge.drift_difference(items_by_rank[ranks[-1]], items_by_rank[ranks[0]])
        ),
        "elbow": asdict(find_elbow(correct, test["correct"][0], judge.bootstrap["test"], settings)),
        "by_group": [
            *accuracy_by(test.items["form"].tolist(), test, correct, settings),
            *accuracy_by(
                complement_labels(test.items["complement"], trained_complements),
                test,
                correct,
                settings,
            ),
        ],
        "by_verb_and_form": accuracy_by(
            (test.items["verb"] + "/" + test.items["form"]).tolist(), test, correct, settings
        ),
    }


def complement_labels(complements: Iterable[str], trained: Collection[str]) -> list[str]:
    """Whether each item's complement stood in a training prompt, in whatever spelling; an item may
    have none."""
    trained = set(map(comparable, trained))
    return [
        "no complement"
        if not complement
        else "trained complement"
        if comparable(complement) in trained
        else "new complement"
        for complement in complements
    ]


def accuracy_by(
    labels: Sequence[str],
    base: Answers,
    correct: Mapping[int, Array],
    settings: StatisticsSettings,
) -> list[dict[str, Any]]:
    """Test accuracy of the base and of each rank (over all seeds) for the items of each label.

    Args:
        labels: One an item.
        correct: For each rank (seeds, items) of 0 or 1.
    """
    rows = []
    for label in sorted(set(labels)):
        chosen = np.array([other == label for other in labels])
        verbs = base.items["verb"][chosen].tolist()
        bootstrap = PairedBootstrap(verbs, len(next(iter(correct.values()))), settings)
        rows.append(
            {
                "label": label,
                "sentences": int(chosen.sum()),
                "base": asdict(bootstrap.accuracy(base["correct"][:, chosen])),
                "ranks": {
                    str(r): asdict(bootstrap.accuracy(correct[r][:, chosen])) for r in correct
                },
            }
        )
    return rows


def summarize_files(
    base_items: str | Path,
    metrics: Sequence[str | Path],
    items: Sequence[str | Path],
    pairs: str | Path,
    settings: StatisticsSettings,
) -> dict[str, Any]:
    """:func:`summarize` of the files that the stages wrote.

    Args:
        pairs: The summary of ``tokenize``, which has the complements of the training prompts.
    """
    return summarize(
        read_items(base_items),
        [read_json(path) for path in metrics],
        [read_items(path) for path in items],
        settings,
        read_json(pairs)["splits"]["train"]["complements"],
    )
