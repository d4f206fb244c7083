"""Intervals and tests for results that are paired over seeds and over sentences of few verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StatisticsSettings:
    """How results are judged."""

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


class PairedBootstrap:
    """The same draws for every rank and for the base, so that differences are paired.

    Each draw takes seeds with replacement, and verbs with replacement together with all their
    items, which succeed and fail together (Davison & Hinkley 1997, ch. 3.8). Seeds and verbs are
    crossed, not nested: every seed answers the same items, so a draw's verbs serve all its seeds
    (Owen 2007, doi:10.1214/07-AOAS122). Where there is only one verb its items are drawn
    one by one.

    Args:
        verbs: The verb of each item: (items,).
        n_seeds: The number of seeds.
    """

    def __init__(self, verbs: Sequence[str], n_seeds: int, settings: StatisticsSettings) -> None:
        rng = np.random.default_rng(settings.seed)
        self.confidence = settings.confidence
        draws = settings.bootstrap_draws
        names, cluster = np.unique(np.asarray(verbs), return_inverse=True)
        if len(names) == 1:
            cluster = np.arange(len(verbs))
        self.clusters = int(cluster.max()) + 1
        self._members: Array = np.eye(self.clusters)[cluster]  # (items, clusters)
        seeds_drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws)
        self._seed_weights: Array = seeds_drawn / n_seeds  # (draws, seeds)
        shares = np.full(self.clusters, 1 / self.clusters)
        self._cluster_weights: Array = rng.multinomial(self.clusters, shares, size=draws).astype(
            np.float64
        )  # (draws, clusters)
        self._items_drawn: Array = self._cluster_weights @ self._members.sum(axis=0)  # (draws,)

    def item_means(self, values: Array) -> Array:
        """The mean over the items of each draw, seed by seed: (seeds, items) -> (draws, seeds)."""
        sums = values @ self._members  # (seeds, clusters)
        return np.asarray(self._cluster_weights @ sums.T / self._items_drawn[:, None])

    def seed_means(self, by_seed: Array) -> Array:
        """The mean over the seeds of each draw: (draws, seeds) -> (draws,)."""
        return np.asarray((by_seed * self._seed_weights).sum(axis=1))

    def means(self, values: Array) -> Array:
        """The mean of ``values`` (seeds, items) in each draw: (draws,)."""
        return self.seed_means(self.item_means(values))

    def interval(self, mean: float, draws: Array) -> Estimate:
        """The expanded percentile interval of ``draws`` around ``mean``.

        A bootstrap of n clusters is too narrow by sqrt((n - 1) / n), and has normal tails where
        Student's are due. So the tail that is cut off is Phi(-t sqrt(n / (n - 1))) instead of 2.5 %
        (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).
        """
        tail = stats.norm.cdf(
            stats.t.ppf((1 - self.confidence) / 2, self._freedom) * self._widening
        )
        low, high = np.quantile(draws, [tail, 1 - tail])
        return Estimate(float(mean), float(low), float(high))

    def estimate(self, values: Array) -> Estimate:
        """The mean of ``values`` (seeds, items) with its interval."""
        return self.interval(float(values.mean()), self.means(values))

    def accuracy(self, correct: Array) -> Estimate:
        """The share of right answers in ``correct`` (seeds, items) of 0 or 1, with its interval.

        Answers that are nearly all right look too certain: all right, every draw is the same. So
        the interval also covers the one with another item that is half right.
        """
        mean, draws = float(correct.mean()), self.means(correct)
        items = correct.shape[1]
        plain = self.interval(mean, draws)
        smoothed = self.interval(mean, (items * draws + 0.5) / (items + 1))
        return Estimate(mean, min(plain.low, smoothed.low), max(plain.high, smoothed.high))

    def p_value(self, mean: float, draws: Array) -> float:
        """Two-sided p-value of "the true mean is 0": Student's t on the bootstrap's standard error,
        widened as :meth:`interval` is. Unlike a share of the draws it can be as small as need be.
        Where all clusters agree there is no error to go by, and the sign test's p is given.
        """
        error = float(draws.std()) * self._widening
        if error < 1e-12:
            return 1.0 if abs(mean) < 1e-12 else 2.0 ** (1 - self.clusters)
        return float(2 * stats.t.sf(abs(mean) / error, self._freedom))

    @property
    def _freedom(self) -> int:
        return max(1, self.clusters - 1)

    @property
    def _widening(self) -> float:
        return float(np.sqrt(1 + 1 / self._freedom))


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
