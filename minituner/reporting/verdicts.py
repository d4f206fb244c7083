"""The outcome of a rank sweep as the report states it: which sentences hold, and their figures.

The sentences themselves are macros of ``templates/outcomes.j2``.
"""

from __future__ import annotations

from dataclasses import dataclass

from minituner.results import ComparisonRow, ElbowSummary, Interval, SweepSummary

NEAR_THE_TOP = 0.95  # the mean accuracy above which a report warns of the ceiling
SIMILAR_SIZE = 1.25  # the ratio of two updates' sizes up to which they count as the same
QUOTED_RANK = 8  # often quoted as enough for LoRA


@dataclass(frozen=True)
class SweepVerdict:
    """The outcome of a rank sweep.

    ``outcome`` names the macro with its paragraph, and ``<outcome>_clause`` the one with its half
    sentence. It is the elbow's outcome, of which three have special cases: ``single_rank`` and
    ``hump`` (flat, but a rank in between is significantly better), ``harmful`` (below the floor).
    """

    outcome: str
    elbow: ElbowSummary
    first: ComparisonRow  # the row of the smallest rank
    last: ComparisonRow  # of the largest
    best: ComparisonRow  # of the best
    worse: list[str]  # the ranks that are significantly worse than the best
    near_top: bool
    drift_difference: Interval  # largest rank minus smallest
    drift_depends: bool
    size_course: str  # "same", "grows", "falls", or "zero" where an update is zero
    size_factor: float
    quoted_rank: int
    quoted: str  # how the outcome relates to that rank; see `relation_to_quoted_rank`


def sweep_verdict(sweep: SweepSummary) -> SweepVerdict:
    """Read the verdict off a sweep's summary."""
    rows, elbow = sweep["ranks"], sweep["elbow"]
    best = next(row for row in rows if row["rank"] == elbow["best_rank"])
    alpha = 1 - sweep["confidence"]
    worse = [str(rank) for rank, p in elbow["adjusted_p"].items() if p <= alpha]
    course, factor = size_course(rows[0], rows[-1])
    return SweepVerdict(
        outcome=_outcome(elbow["outcome"], len(rows), best, worse),
        elbow=elbow,
        first=rows[0],
        last=rows[-1],
        best=best,
        worse=worse,
        near_top=best["accuracy"]["mean"] >= NEAR_THE_TOP,
        drift_difference=sweep["drift_largest_minus_smallest"],
        drift_depends=excludes_zero(sweep["drift_largest_minus_smallest"]),
        size_course=course,
        size_factor=factor,
        quoted_rank=QUOTED_RANK,
        quoted=relation_to_quoted_rank(elbow),
    )


def _outcome(outcome: str, n_ranks: int, best: ComparisonRow, worse: list[str]) -> str:
    if outcome == "flat" and n_ranks == 1:
        return "single_rank"
    if outcome == "flat" and worse:
        return "hump"
    high = best["gain"]["high"]
    if outcome == "floor" and high is not None and high < 0:
        return "harmful"
    return outcome


def size_course(first: ComparisonRow, last: ComparisonRow) -> tuple[str, float]:
    """How the update's size changes from the smallest to the largest rank, and by what factor."""
    before, after = (row["scale_audit"][-1]["relative_norm"] for row in (first, last))
    if before == 0 or after == 0:
        return "zero", 1.0
    ratio = after / before
    factor = max(ratio, 1 / ratio)
    if factor <= SIMILAR_SIZE:
        return "same", factor
    return ("grows" if ratio > 1 else "falls"), factor


def relation_to_quoted_rank(elbow: ElbowSummary, quoted: int = QUOTED_RANK) -> str:
    """``elbow_here``, ``elbow_below`` or ``elbow_above`` it; ``rises_past`` it or ``rises_to`` it
    without a plateau; or ``unknown``."""
    outcome, rank = elbow["outcome"], elbow["rank"]
    if rank is None:
        return "unknown"
    if outcome == "rising":
        return "rises_past" if rank > quoted else "rises_to"
    return "elbow_here" if rank == quoted else "elbow_below" if rank < quoted else "elbow_above"


def excludes_zero(estimate: Interval) -> bool:
    """Whether an interval excludes zero; one without ends excludes nothing."""
    low, high = estimate["low"], estimate["high"]
    return low is not None and high is not None and not low <= 0 <= high
