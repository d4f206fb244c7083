"""Intervals for results paired over seeds and over the sentences of a few verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from minituner.results import Interval

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
NOTHING = 1e-12  # a smaller difference is due to rounding


@dataclass(frozen=True)
class StatisticsSettings:
    """The statistics section of the config: bootstrap, confidence level and ceiling."""

    bootstrap_draws: int = 10_000
    confidence: float = 0.95
    ceiling_accuracy: float = 0.98
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are ``None`` if the data do not determine its width."""

    mean: float
    low: float | None
    high: float | None

    def as_json(self) -> Interval:
        """The estimate as it is written to JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}

    def holds(self, value: float) -> bool:
        """Whether the interval contains ``value``; one without ends excludes nothing."""
        if self.low is None or self.high is None:
            return True
        return self.low <= value <= self.high

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval lies above zero."""
        return self.low is not None and self.low > 0

    @property
    def ends_at_zero(self) -> bool:
        """Whether an end of the interval is zero, or there is no interval."""
        return any(end is None or abs(end) < NOTHING for end in (self.low, self.high))


class PairedBootstrap:
    """Paired bootstrap over seeds and verbs: every rank and the base use the same draws.

    Each draw takes seeds with replacement, and verbs with replacement together with all their
    items, since the items of a verb succeed and fail together (Davison & Hinkley 1997, ch. 3.8).
    Seeds and verbs are crossed, not nested: every seed is tested on the same items, so the verbs
    of a draw apply to all its seeds (Owen 2007, doi:10.1214/07-AOAS122). If there is only one verb,
    its items are drawn one by one.

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
        alone = len(names) in (1, self.items)  # each item is a cluster
        if alone:
            cluster = np.arange(self.items)
        self.clusters = int(cluster.max()) + 1
        # (items, clusters); for thousands of items without groups it would take a gigabyte.
        self._members: Array | None = None if alone else np.eye(self.clusters)[cluster]
        seeds_drawn = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws)
        self._seed_weights: Array = seeds_drawn / n_seeds  # (draws, seeds)
        shares = np.full(self.clusters, 1 / self.clusters)
        drawn = rng.multinomial(self.clusters, shares, size=draws)
        self._cluster_weights: Array = drawn.astype(np.float64)  # (draws, clusters)
        self._items_drawn: Array = self._cluster_weights @ np.bincount(cluster).astype(np.float64)

    def item_means(self, values: Array) -> Array:
        """The mean over the items of each draw, seed by seed: (seeds, items) -> (draws, seeds)."""
        sums = values if self._members is None else values @ self._members  # (seeds, clusters)
        return np.asarray(self._cluster_weights @ sums.T / self._items_drawn[:, None])

    def seed_means(self, by_seed: Array) -> Array:
        """The mean over the seeds of each draw: (draws, seeds) -> (draws,)."""
        return np.asarray((by_seed * self._seed_weights).sum(axis=1))

    def means(self, values: Array) -> Array:
        """The mean of ``values`` (seeds, items) in each draw: (draws,)."""
        return self.seed_means(self.item_means(values))

    def interval(self, mean: float, draws: Array) -> Estimate:
        """An unbounded quantity with its interval, by :func:`expanded_interval`."""
        return expanded_interval(mean, draws, self.clusters, self.confidence)

    def estimate(self, values: Array) -> Estimate:
        """The mean of ``values`` (seeds, items) with its interval."""
        return self.interval(float(values.mean()), self.means(values))

    def accuracy(self, correct: Array) -> Estimate:
        """The accuracy of ``correct`` (seeds, items), 0 or 1, with its interval.

        A bootstrap resamples only what has happened: if all items are correct, every draw is the
        same. So the interval also covers the exact one of as many independent items.
        """
        exact = binomial_interval(float(correct.mean()), self.items, self.confidence)
        return self._covering(self.estimate(correct), exact, bounds=(0, 1))

    def difference(self, values: Array, largest: float = 1.0) -> Estimate:
        """The mean of paired differences of correct answers (seeds, items), with its interval.

        If the bootstrap's interval ends at zero (that many draws contain no difference) or rests on
        few clusters, it also covers the exact one of as many independent items: the limits of the
        share gained less those of the share lost, each at the given confidence.

        Args:
            largest: The largest difference of one item: 1, or 2 for a difference of differences.
        """
        estimate = self.estimate(values)
        if not (estimate.ends_at_zero or too_few(self.clusters, self.confidence)):
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
        independent = self.clusters == self.items
        alone = independent and too_few(self.clusters, self.confidence)
        return covering(estimate, exact, bounds, alone)

    def group_difference(self, correct: Array, first: Mask) -> Estimate:
        """Accuracy on one group of items less that on the others, with its interval.

        The groups hold different items but may share verbs, so each draw takes verbs with their
        items of both groups. The interval rests on as many clusters as the group with fewer verbs
        has. Where that is few, the bootstrap's interval ends at zero, or a group's answers are all
        correct or all wrong, it also covers that of as many independent items: the exact limits of
        both accuracies, combined by :func:`newcombe_interval`.

        Args:
            correct: (seeds, items), 0 or 1.
            first: (items,), true for the items of the first group; both groups have items.
        """
        groups = (first, ~first)
        draws = [self._group_means(correct, group) for group in groups]
        accuracies = [float(correct[:, group].mean()) for group in groups]
        fewest = min(int(self._members_of(group).any(axis=0).sum()) for group in groups)
        difference = draws[0] - draws[1]
        difference = difference[~np.isnan(difference)]
        mean = accuracies[0] - accuracies[1]
        estimate = expanded_interval(mean, difference, fewest, self.confidence)
        few = too_few(fewest, self.confidence)
        if not (few or estimate.ends_at_zero or any(share in (0, 1) for share in accuracies)):
            return estimate
        limits = [
            binomial_interval(accuracy, int(group.sum()), self.confidence)
            for accuracy, group in zip(accuracies, groups, strict=True)
        ]
        alone = few and self.clusters == self.items
        return covering(estimate, newcombe_interval(accuracies, limits), (-1, 1), alone)

    def _members_of(self, group: Mask) -> Array:
        """Which cluster each item of a group is in: (items of the group, clusters) of 0 or 1."""
        return (np.eye(self.items) if self._members is None else self._members)[group]

    def _group_means(self, values: Array, group: Mask) -> Array:
        """:meth:`means` over the items of a group; NaN in a draw that has none of them."""
        members = self._members_of(group)
        with np.errstate(invalid="ignore"):
            by_seed = self._cluster_weights @ (values[:, group] @ members).T
            by_seed /= (self._cluster_weights @ members.sum(axis=0))[:, None]
        return self.seed_means(by_seed)

    def p_value(self, values: Array) -> float:
        """Two-sided p-value of "the true mean of ``values`` (seeds, items) is 0".

        Student's t on the bootstrap's standard error, widened as in :func:`expanded_interval`.
        Unlike a share of the draws it has no smallest value. If all clusters agree there is no
        standard error, and the p-value is the sign test's.
        """
        mean, draws = float(values.mean()), self.means(values)
        error = float(draws.std()) * _widening(self.clusters)
        if error < NOTHING:
            return 1.0 if abs(mean) < NOTHING else 2.0 ** (1 - self.clusters)
        return float(2 * stats.t.sf(abs(mean) / error, _freedom(self.clusters)))


def expanded_interval(mean: float, draws: Array, clusters: int, confidence: float) -> Estimate:
    """The expanded percentile interval of an unbounded quantity from its bootstrap draws.

    A bootstrap of n clusters is too narrow by sqrt((n - 1) / n), and has normal tails instead of
    Student's. So the tail that is cut off is Phi(-t sqrt(n / (n - 1))) instead of 2.5 % (Hesterberg
    2015, doi:10.1080/00031305.2015.1089789). For too few clusters it is Student's interval, since
    no draw lies beyond the clusters' own means.

    Args:
        mean: The point estimate.
        draws: The quantity in each bootstrap draw: (draws,).
        clusters: The number of independent units that were drawn.

    Returns:
        An estimate without ends if there is one cluster, or if all draws agree.
    """
    if clusters == 1 or np.ptp(draws) < NOTHING:
        return Estimate(float(mean), None, None)
    t = float(stats.t.ppf((1 + confidence) / 2, _freedom(clusters))) * _widening(clusters)
    if too_few(clusters, confidence):
        reach = t * float(draws.std())
        return Estimate(float(mean), float(mean - reach), float(mean + reach))
    tail = stats.norm.cdf(-t)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(float(mean), float(low), float(high))


def too_few(clusters: int, confidence: float) -> bool:
    """Whether even the full range of the clusters' means covers the truth too rarely: all n means
    lie on one side of it with a probability of 2^(1 - n)."""
    return bool(2.0 ** (1 - clusters) > 1 - confidence)


def _freedom(clusters: int) -> int:
    return max(1, clusters - 1)


def _widening(clusters: int) -> float:
    return float(np.sqrt(1 + 1 / _freedom(clusters)))


def covering(
    estimate: Estimate, exact: tuple[float, float], bounds: tuple[float, float], alone: bool
) -> Estimate:
    """``estimate``, widened to cover the ``exact`` interval and cut at its ``bounds``.

    Args:
        alone: Use the exact interval alone, as is done if the estimate has no interval.
    """
    if alone or estimate.low is None or estimate.high is None:
        low, high = exact
    else:
        low, high = min(estimate.low, exact[0]), max(estimate.high, exact[1])
    return Estimate(estimate.mean, max(low, bounds[0]), min(high, bounds[1]))


def binomial_interval(share: float, items: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a share of ``items`` independent items (Clopper & Pearson 1934).

    Args:
        share: From 0 to 1; as a mean over seeds it need not be a whole number of items.
    """
    tail, hits = (1 - confidence) / 2, share * items
    misses = items - hits
    low = 0.0 if hits < NOTHING else float(stats.beta.ppf(tail, hits, misses + 1))
    high = 1.0 if misses < NOTHING else float(stats.beta.ppf(1 - tail, hits + 1, misses))
    return low, high


def newcombe_interval(
    shares: Sequence[float], limits: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """The interval of the difference of two independent shares from the limits of each, combined
    by squaring and adding (Newcombe 1998, Statistics in Medicine 17:873)."""
    (first, second), ((low, high), (other_low, other_high)) = shares, limits
    difference = first - second
    return (
        difference - float(np.hypot(first - low, other_high - second)),
        difference + float(np.hypot(high - first, second - other_low)),
    )
