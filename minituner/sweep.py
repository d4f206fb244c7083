"""The rank sweep: intervals over seeds and items, paired tests, and the elbow."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SweepSettings:
    """How the sweep is judged."""

    bootstrap_draws: int = 10_000
    confidence: float = 0.95
    ceiling_accuracy: float = 0.98
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A mean and its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Elbow:
    """What the accuracies say of the rank.

    ``outcome`` is one of: ``floor`` (no rank beats the base), ``ceiling`` (every rank is at the
    top), ``flat`` (the largest rank is not different from the smallest), ``elbow`` (``rank`` is the
    smallest not significantly worse than the best), ``rising`` (that is the largest of the sweep).
    ``kneedle`` is the second opinion, shown and never decisive.
    """

    outcome: str
    rank: int | None
    best_rank: int
    largest_minus_smallest: Estimate
    adjusted_p: dict[int, float]  # by rank, against the best rank
    kneedle: int | None


# --- the bootstrap ------------------------------------------------------------------------------


class PairedBootstrap:
    """The same draws for every rank and for the base, so that differences are paired.

    Each draw takes seeds with replacement, and verbs with replacement together with all their
    items (Davison & Hinkley 1997, ch. 3.8): items of a verb succeed and fail together.

    Args:
        verbs: The verb of each item: (items,).
        n_seeds: The number of seeds.
    """

    def __init__(self, verbs: Sequence[str], n_seeds: int, settings: SweepSettings) -> None:
        rng = np.random.default_rng(settings.seed)
        self.confidence = settings.confidence
        draws = settings.bootstrap_draws
        names, cluster = np.unique(np.asarray(verbs), return_inverse=True)
        seeds_drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws)
        verbs_drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        self.seed_weights: Array = seeds_drawn / n_seeds  # (draws, seeds)
        item_weights = verbs_drawn[:, cluster].astype(np.float64)  # (draws, items)
        self.item_weights: Array = item_weights / item_weights.sum(axis=1, keepdims=True)

    def means(self, values: Array) -> Array:
        """The mean of ``values`` (seeds, items) in each draw: (draws,)."""
        by_seed = self.item_weights @ values.T  # (draws, seeds)
        return np.asarray((by_seed * self.seed_weights).sum(axis=1))

    def seed_means(self, values: Array) -> Array:
        """The mean of ``values`` (seeds,), one number a seed, in each draw: (draws,)."""
        return np.asarray(self.seed_weights @ values)

    def interval(self, mean: float, draws: Array) -> Estimate:
        """The percentile interval of ``draws`` around ``mean``."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        return Estimate(float(mean), float(low), float(high))

    def estimate(self, values: Array) -> Estimate:
        """The mean of ``values`` (seeds, items) with its interval."""
        return self.interval(float(values.mean()), self.means(values))

    def seed_estimate(self, values: Array) -> Estimate:
        """The mean of ``values`` (seeds,) with its interval."""
        return self.interval(float(values.mean()), self.seed_means(values))


def two_sided_p(draws: Array) -> float:
    """Bootstrap p-value of "the mean is 0": twice the smaller tail, never below 1 / draws."""
    n = len(draws)
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (n + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's (1979) step-down procedure."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, i in enumerate(order):
        running = max(running, (len(p_values) - position) * p_values[i])
        adjusted[i] = min(1.0, running)
    return adjusted


def mcnemar(before: Array, after: Array) -> dict[str, Any]:
    """McNemar's exact test on paired right-or-wrong answers (items,)."""
    gained = int(((before == 0) & (after == 1)).sum())
    lost = int(((before == 1) & (after == 0)).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p": p}


# --- the elbow ----------------------------------------------------------------------------------


def find_elbow(
    correct: Mapping[int, Array], base: Array, bootstrap: PairedBootstrap, settings: SweepSettings
) -> Elbow:
    """Decide the sweep's outcome from right-or-wrong answers.

    The gate comes first: unless the largest rank differs from the smallest, the curve is flat and
    no elbow is named. Then the elbow is the smallest rank whose accuracy is not significantly
    below the best rank's (Holm-adjusted over the ranks).

    Args:
        correct: For each rank (seeds, items) of 0 or 1.
        base: (items,) of 0 or 1, the untuned base.
    """
    ranks = sorted(correct)
    alpha = 1 - settings.confidence
    accuracy = {r: float(correct[r].mean()) for r in ranks}
    best = max(ranks, key=lambda r: (accuracy[r], -r))
    drawn = {r: bootstrap.means(correct[r]) for r in ranks}

    others = [r for r in ranks if r != best]
    adjusted = dict(
        zip(others, holm([two_sided_p(drawn[best] - drawn[r]) for r in others]), strict=True)
    )
    gap = bootstrap.interval(
        accuracy[ranks[-1]] - accuracy[ranks[0]], drawn[ranks[-1]] - drawn[ranks[0]]
    )
    gain = bootstrap.interval(
        accuracy[best] - float(base.mean()), bootstrap.means(correct[best] - base)
    )
    enough = next(r for r in ranks if r == best or adjusted[r] > alpha)

    rank = None
    if gain.low <= 0:
        outcome = "floor"
    elif min(accuracy.values()) >= settings.ceiling_accuracy:
        outcome = "ceiling"
    elif len(ranks) == 1 or gap.low <= 0 <= gap.high:
        outcome = "flat"
    else:
        outcome, rank = ("rising" if enough == ranks[-1] else "elbow"), enough
    return Elbow(
        outcome=outcome,
        rank=rank,
        best_rank=best,
        largest_minus_smallest=gap,
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


# --- the summary --------------------------------------------------------------------------------


def summarize(
    base_items: pd.DataFrame,
    metrics: Sequence[Mapping[str, Any]],
    items: Sequence[pd.DataFrame],
    settings: SweepSettings,
) -> dict[str, Any]:
    """Put the evaluations of all ranks and seeds into one table with intervals, and the elbow.

    Args:
        base_items: The base's answers, one row an item, as ``evaluate_base`` wrote them.
        metrics: Each rank's metrics, as ``evaluate`` wrote them.
        items: Each rank's answers, one row an item and seed, in the same order.
    """
    by_rank = {rank["rank"]: rank for rank in metrics}
    items_by_rank = dict(zip(by_rank, items, strict=True))
    ranks = sorted(by_rank)
    base_test = base_items[base_items["split"] == "test"]
    verbs = base_test["verb"].tolist()
    base_correct = base_test["correct"].to_numpy(np.float64)
    correct = {r: _by_seed(items_by_rank[r], "correct", base_test) for r in ranks}
    margins = {r: _by_seed(items_by_rank[r], "margin_nats", base_test) for r in ranks}
    bootstrap = PairedBootstrap(verbs, len(correct[ranks[0]]), settings)

    rows = []
    for r in ranks:
        runs = by_rank[r]["runs"]
        text_drift = [run["control"]["drift"]["text"] for run in runs]
        target_drift = [run["control"]["drift"]["target"] for run in runs]
        rows.append(
            {
                "rank": r,
                "scaling": by_rank[r]["scaling"],
                "adapter_parameters": by_rank[r]["adapter_parameters"],
                "adapter_size_ratio": by_rank[r]["adapter_size_ratio"],
                "accuracy": asdict(bootstrap.estimate(correct[r])),
                "gain": asdict(bootstrap.estimate(correct[r] - base_correct)),
                "margin_nats": asdict(bootstrap.estimate(margins[r])),
                "text_drift": asdict(bootstrap.seed_estimate(np.array(text_drift))),
                "target_drift": asdict(bootstrap.seed_estimate(np.array(target_drift))),
                "accuracy_by_seed": [run["test"]["accuracy"] for run in runs],
                "text_drift_by_seed": text_drift,
                "target_drift_by_seed": target_drift,
                "mcnemar_headline_seed": mcnemar(base_correct, correct[r][0]),
            }
        )
    return {
        "test_items": len(verbs),
        "seeds": [run["seed"] for run in by_rank[ranks[0]]["runs"]],
        "confidence": settings.confidence,
        "base_accuracy": asdict(bootstrap.estimate(base_correct[None])),
        "ranks": rows,
        "elbow": asdict(find_elbow(correct, base_correct, bootstrap, settings)),
        "by_verb_and_form": by_verb_and_form(base_test, items_by_rank),
    }


def _by_seed(items: pd.DataFrame, column: str, base_test: pd.DataFrame) -> Array:
    """One column of the test items as (seeds, items), items in the base's order."""
    test = items[items["split"] == "test"]
    table = test.pivot(index="seed", columns="id", values=column).sort_index()
    seeds = list(dict.fromkeys(test["seed"]))
    return table.loc[seeds, base_test["id"].tolist()].to_numpy(np.float64)


def by_verb_and_form(
    base_test: pd.DataFrame, items_by_rank: Mapping[int, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Test accuracy of the base and of each rank (over all seeds), by verb and form."""
    keys = ["verb", "form"]
    base = base_test.groupby(keys)["correct"].agg(["size", "mean"])
    tuned = {
        r: items[items["split"] == "test"].groupby(keys)["correct"].mean()
        for r, items in items_by_rank.items()
    }
    return [
        {
            "verb": verb,
            "form": form,
            "sentences": int(size),
            "base": float(mean),
            "ranks": {str(r): float(tuned[r][verb, form]) for r in tuned},
        }
        for (verb, form), size, mean in zip(base.index, base["size"], base["mean"], strict=True)
    ]
