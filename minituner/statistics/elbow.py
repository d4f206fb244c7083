"""The rule that decides the outcome of a rank sweep, and the elbow if there is one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from minituner.statistics.intervals import (
    Array,
    Estimate,
    PairedBootstrap,
    StatisticsSettings,
)
from minituner.statistics.p_values import holm

if TYPE_CHECKING:
    from minituner.results import ElbowSummary


@dataclass(frozen=True)
class Elbow:
    """The outcome of a rank sweep.

    ``outcome`` is one of: ``ceiling`` (every rank reaches ``ceiling_accuracy``), ``floor`` (no rank
    is shown to beat the base), ``flat`` (the largest rank is not shown to differ from the
    smallest), ``elbow`` (``rank`` is the smallest that is not significantly worse than the best),
    ``rising`` (the same, but ``rank`` is the largest of the sweep).
    ``kneedle`` is reported as a second opinion and decides nothing.
    """

    outcome: str
    rank: int | None
    best_rank: int
    largest_minus_smallest: Estimate
    best_minus: dict[int, Estimate]  # by rank: the best rank's accuracy minus this one's
    adjusted_p: dict[int, float]  # by rank, of that difference
    kneedle: int | None

    def as_json(self) -> ElbowSummary:
        """The outcome as it is written to JSON."""
        # JSON turns the ranks into text. They stay numbers until then, so that the file, whose
        # keys are sorted, has them in numerical order.
        best_minus = {rank: estimate.as_json() for rank, estimate in self.best_minus.items()}
        return cast(
            "ElbowSummary",
            {
                "outcome": self.outcome,
                "rank": self.rank,
                "best_rank": self.best_rank,
                "largest_minus_smallest": self.largest_minus_smallest.as_json(),
                "best_minus": best_minus,
                "adjusted_p": self.adjusted_p,
                "kneedle": self.kneedle,
            },
        )


def find_elbow(
    correct: Mapping[int, Array],
    base: Array,
    bootstrap: PairedBootstrap,
    settings: StatisticsSettings,
) -> Elbow:
    """Decide the sweep's outcome from correct and incorrect answers.

    In this order: ceiling; floor; then the gate: unless the largest rank differs from the smallest,
    the curve is flat and no elbow is named. Otherwise the elbow is the smallest rank whose accuracy
    is not significantly below the best rank's (Holm-adjusted over the ranks). If the gate has shown
    the smallest rank to be worse than the largest, the smallest is excluded.

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
        warnings.simplefilter("ignore")  # kneed warns where it finds no knee
        knee = KneeLocator(
            np.log2(ranks), [accuracy[r] for r in ranks], curve="concave", direction="increasing"
        ).knee
    return None if knee is None else round(float(2**knee))
