"""The elbow's rule on constructed curves, whose outcome does not depend on chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from studies import SETTINGS, bootstrap, graded_answers

from minituner.statistics.elbow import Elbow, find_elbow, kneedle
from minituner.storage.files import read_json, write_json

RANKS = (2, 4, 8, 16, 32)


def decide(
    shares: dict[int, float], base: float = 0.3, shift: float = 0.0, draws_seed: int = 0
) -> Elbow:
    """The outcome of a sweep with the given share of correct answers at each rank and of the base.

    Args:
        shift: How far the order of difficulty turns from one rank to the next.
    """
    settings = replace(SETTINGS, seed=draws_seed)
    correct = {rank: graded_answers(shares[rank], i * shift) for i, rank in enumerate(shares)}
    return find_elbow(correct, graded_answers(base)[0], bootstrap(settings), settings)


@pytest.mark.parametrize("draws_seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("outcome", "rank", "base", "shares"),
    [
        ("flat", None, 0.3, {r: 0.75 for r in RANKS}),
        ("flat", None, 0.3, {8: 0.8}),
        ("elbow", 4, 0.3, {2: 0.45, 4: 0.85, 8: 0.85, 16: 0.85, 32: 0.85}),
        ("elbow", 8, 0.3, {2: 0.4, 4: 0.6, 8: 0.88, 16: 0.88, 32: 0.88}),
        ("rising", 32, 0.3, {2: 0.35, 4: 0.5, 8: 0.62, 16: 0.75, 32: 0.95}),
        ("floor", None, 0.5, {r: 0.5 for r in RANKS}),
        ("floor", None, 0.5, {r: 0.3 for r in RANKS}),
        ("floor", None, 0.5, {r: 0.54 for r in RANKS}),  # 3 of 64 items gained are too few
        ("ceiling", None, 0.3, {r: 1.0 for r in RANKS}),
    ],
)
def test_find_elbow_outcome(
    outcome: str, rank: int | None, base: float, shares: dict[int, float], draws_seed: int
) -> None:
    elbow = decide(shares, base, draws_seed=draws_seed)
    assert (elbow.outcome, elbow.rank) == (outcome, rank)


def test_find_elbow_calls_flat_what_kneedle_does_not() -> None:
    shares = {r: 0.75 + 0.01 * (-1) ** i for i, r in enumerate(RANKS)}
    elbow = decide(shares, shift=0.05)
    assert elbow.outcome == "flat"
    assert kneedle(shares) in RANKS


def test_find_elbow_compares_with_the_best_rank() -> None:
    elbow = decide({2: 0.4, 4: 0.6, 8: 0.88, 16: 0.88, 32: 0.88})
    assert elbow.best_rank == 8, "the smallest of equals"
    assert set(elbow.adjusted_p) == {2, 4, 16, 32}
    assert elbow.adjusted_p[2] < elbow.adjusted_p[4] < 0.05
    # Answers at 16 and 32 are exactly those at 8.
    assert elbow.adjusted_p[16] == elbow.adjusted_p[32] == 1.0
    # Yet 64 sentences cannot exclude a difference of 1 - 0.025^(1/64).
    assert elbow.best_minus[16].mean == 0
    assert elbow.best_minus[16].high == pytest.approx(0.0560, abs=5e-5)
    assert elbow.best_minus[4].above_zero
    gap = elbow.largest_minus_smallest
    assert gap.mean == pytest.approx((57 - 26) / 64)  # the whole items below 0.88 and 0.4
    assert gap.low is not None and gap.high is not None and 0 < gap.low < gap.mean < gap.high


def test_elbow_as_json_has_ranks_in_numerical_order(tmp_path: Path) -> None:
    write_json(tmp_path / "elbow.json", decide({r: 0.75 for r in RANKS}).as_json())
    found = read_json(tmp_path / "elbow.json")
    assert list(found["best_minus"]) == list(found["adjusted_p"]) == ["4", "8", "16", "32"]


def test_kneedle_needs_three_ranks() -> None:
    assert kneedle({2: 0.1, 4: 0.9}) is None
    # A straight line up to 8 and level beyond: farthest above the chord on the log2 axis.
    assert kneedle({2: 0.2, 4: 0.5, 8: 0.8, 16: 0.8, 32: 0.8}) == 8
