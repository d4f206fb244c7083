"""Intervals and tests for results that are paired over seeds and over sentences of few verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
NOTHING = 1e-12  # a difference below this is one of rounding


@dataclass(frozen=True)
class StatisticsSettings:
    """How results are judged."""

    bootstrap_draws: int = 10_000
    confidence: float = 0.95
    ceiling_accuracy: float = 0.98
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval, which has no ends where nothing tells how wide it should be."""

    mean: float
    low: float | None
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether the interval has ``value`` in it; one without ends excludes nothing."""
        if self.low is None or self.high is None:
            return True
        return self.low <= value <= self.high

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval lies above zero."""
        return self.low is not None and self.low > 0


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
        self.items = len(verbs)
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
        """The interval of a quantity without bounds, from its ``draws`` around ``mean``.

        It is the expanded percentile interval: a bootstrap of n clusters is too narrow by
        sqrt((n - 1) / n), and has normal tails where Student's are due. So the tail that is cut off
        is Phi(-t sqrt(n / (n - 1))) instead of 2.5 % (Hesterberg 2015,
        doi:10.1080/00031305.2015.1089789). Of few clusters it is Student's, since no draw lies
        beyond the clusters' own means. It has no ends where there is one cluster, or where all
        draws agree.
        """
        if self.clusters == 1 or np.ptp(draws) < NOTHING:
            return Estimate(float(mean), None, None)
        t = float(stats.t.ppf((1 + self.confidence) / 2, self._freedom)) * self._widening
        if self._few:
            reach = t * float(draws.std())
            return Estimate(float(mean), float(mean - reach), float(mean + reach))
        tail = stats.norm.cdf(-t)
        low, high = np.quantile(draws, [tail, 1 - tail])
        return Estimate(float(mean), float(low), float(high))

    def estimate(self, values: Array) -> Estimate:
        """The mean of ``values`` (seeds, items) with its interval."""
        return self.interval(float(values.mean()), self.means(values))

    def accuracy(self, correct: Array) -> Estimate:
        """The share of right answers in ``correct`` (seeds, items) of 0 or 1, with its interval.

        A bootstrap knows only of what has happened: all right, every draw is the same. So the
        interval also covers the exact one of as many independent items.
        """
        exact = binomial_interval(float(correct.mean()), self.items, self.confidence)
        return self._covering(self.estimate(correct), exact, bounds=(0, 1))

    def difference(self, values: Array, largest: float = 1.0) -> Estimate:
        """The mean of paired differences of right answers (seeds, items), with its interval.

        Where the bootstrap's ends at zero (draws in which nothing differs are that many) or rests
        on few clusters, it also covers the exact one of as many independent items: the limits of
        the share gained less those of the share lost, each at the confidence asked for.

        Args:
            largest: The largest difference that an item can have: 1, or 2 of two differences.
        """
        estimate = self.estimate(values)
        ends = (estimate.low, estimate.high)
        if not self._few and not any(end is None or abs(end) < NOTHING for end in ends):
            return estimate
        gained, lost = (
            binomial_interval(float(part.mean()) / largest, self.items, self.confidence)
            for part in (values.clip(min=0), (-values).clip(min=0))
        )
        exact = largest * (gained[0] - lost[1]), largest * (gained[1] - lost[0])
        return self._covering(estimate, exact, bounds=(-largest, largest))

    def _covering(
        self, estimate: Estimate, exact: tuple[float, float], bounds: tuple[float, float]
    ) -> Estimate:
        """``estimate``, widened to cover the ``exact`` interval and cut at its ``bounds``.

        The exact one alone where there is no other, or each of the few clusters is one item.
        """
        alone = self._few and self.clusters == self.items
        if alone or estimate.low is None or estimate.high is None:
            low, high = exact
        else:
            low, high = min(estimate.low, exact[0]), max(estimate.high, exact[1])
        return Estimate(estimate.mean, max(low, bounds[0]), min(high, bounds[1]))

    def p_value(self, values: Array) -> float:
        """Two-sided p-value of "the true mean of ``values`` (seeds, items) is 0".

        Student's t on the bootstrap's standard error, widened as :meth:`interval` is. Unlike a
        share of the draws it can be as small as need be. Where all clusters agree there is no error
        to go by, and the sign test's p is given.
        """
        mean, draws = float(values.mean()), self.means(values)
        error = float(draws.std()) * self._widening
        if error < NOTHING:
            return 1.0 if abs(mean) < NOTHING else 2.0 ** (1 - self.clusters)
        return float(2 * stats.t.sf(abs(mean) / error, self._freedom))

    @property
    def _freedom(self) -> int:
        return max(1, self.clusters - 1)

    @property
    def _few(self) -> bool:
        """Whether even the whole range of the clusters' means holds the truth too seldom: the mean
        of n draws around it lies on one side with all n with a probability of 2^(1 - n)."""
        return bool(2.0 ** (1 - self.clusters) > 1 - self.confidence)

    @property
    def _widening(self) -> float:
        return float(np.sqrt(1 + 1 / self._freedom))


def binomial_interval(share: float, items: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share of so many independent items (Clopper & Pearson 1934).

    Args:
        share: From 0 to 1; a mean over seeds need not be a whole number of items.
    """
    tail, hits = (1 - confidence) / 2, share * items
    misses = items - hits
    low = 0.0 if hits < NOTHING else float(stats.beta.ppf(tail, hits, misses + 1))
    high = 1.0 if misses < NOTHING else float(stats.beta.ppf(1 - tail, hits + 1, misses))
    return low, high


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
