"""Intervals, paired tests and the elbow, against closed forms and constructed curves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from minituner.sweep import (
    Elbow,
    PairedBootstrap,
    SweepSettings,
    find_elbow,
    holm,
    kneedle,
    mcnemar,
    summarize,
    two_sided_p,
)

SETTINGS = SweepSettings(bootstrap_draws=2000)
VERBS = [f"verb-{i // 8}" for i in range(64)]  # eight verbs, eight items each
RANKS = (2, 4, 8, 16, 32)


def bootstrap(n_seeds: int = 5) -> PairedBootstrap:
    return PairedBootstrap(VERBS, n_seeds, SETTINGS)


def answers(shares: dict[int, float], seed: int = 0) -> dict[int, np.ndarray]:
    """(5 seeds, 64 items) for each rank, each item right where its own draw is below the share."""
    draws = np.random.default_rng(seed).uniform(size=(5, 64))
    return {rank: (draws < share).astype(float) for rank, share in shares.items()}


def decide(shares: dict[int, float], base_share: float = 0.3, seed: int = 0) -> Elbow:
    base = (np.random.default_rng(99).uniform(size=64) < base_share).astype(float)
    return find_elbow(answers(shares, seed), base, bootstrap(), SETTINGS)


def test_the_estimate_is_the_plain_mean_inside_its_interval() -> None:
    values = answers({2: 0.7})[2]
    estimate = bootstrap().estimate(values)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low < estimate.mean < estimate.high


def test_constant_answers_have_an_interval_without_width() -> None:
    estimate = bootstrap().estimate(np.full((5, 64), 0.25))
    assert (estimate.low, estimate.high) == pytest.approx((0.25, 0.25))


def test_equal_answers_differ_by_exactly_nothing_in_every_draw() -> None:
    values = answers({2: 0.6})[2]
    drawn = bootstrap()
    assert not (drawn.means(values) - drawn.means(values.copy())).any()


def test_the_spread_over_seeds_is_that_of_a_mean_of_draws_with_replacement() -> None:
    """Var of a bootstrap mean is the population variance over n (Efron & Tibshirani, ch. 5)."""
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    drawn = PairedBootstrap(VERBS, 5, SweepSettings(bootstrap_draws=50_000)).seed_means(values)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(5), rel=0.02)


def test_the_spread_over_items_is_that_of_the_verbs_means() -> None:
    """Verbs are drawn whole: items that agree within a verb count as one."""
    by_verb = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    values = np.repeat(by_verb, 8)[None]
    drawn = PairedBootstrap(VERBS, 1, SweepSettings(bootstrap_draws=50_000)).means(values)
    assert drawn.std() == pytest.approx(by_verb.std() / math.sqrt(8), rel=0.02)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; never below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), [(6, 0), (10, 2), (5, 5), (0, 0), (59, 16)])
def test_mcnemar_is_the_two_sided_binomial_sum(gained: int, lost: int) -> None:
    before = np.array([0] * gained + [1] * lost + [1] * 7 + [0] * 3)
    after = np.array([1] * gained + [0] * lost + [1] * 7 + [0] * 3)
    n, k = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    result = mcnemar(before, after)
    assert (result["gained"], result["lost"]) == (gained, lost)
    assert result["p"] == pytest.approx(min(1.0, 2 * tail) if n else 1.0)


def test_a_p_value_is_never_zero_and_never_above_one() -> None:
    assert two_sided_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert two_sided_p(np.zeros(999)) == 1.0
    assert two_sided_p(np.array([-1.0, 1.0, -2.0, 2.0])) == 1.0


@pytest.mark.parametrize(
    ("shares", "outcome", "rank"),
    [
        ({r: 0.75 for r in RANKS}, "flat", None),
        ({2: 0.45, 4: 0.85, 8: 0.85, 16: 0.85, 32: 0.85}, "elbow", 4),
        ({2: 0.4, 4: 0.6, 8: 0.88, 16: 0.88, 32: 0.88}, "elbow", 8),
        ({2: 0.35, 4: 0.5, 8: 0.62, 16: 0.75, 32: 0.95}, "rising", 32),
        ({r: 0.3 for r in RANKS}, "floor", None),
        ({r: 0.55 for r in RANKS}, "floor", None),  # above the base, but not surely so
        ({r: 1.0 for r in RANKS}, "ceiling", None),
        ({8: 0.8}, "flat", None),
    ],
)
def test_the_outcome_is_the_one_that_was_built_in(
    shares: dict[int, float], outcome: str, rank: int | None
) -> None:
    elbow = decide(shares, base_share=0.3 if outcome != "floor" else 0.5)
    assert (elbow.outcome, elbow.rank) == (outcome, rank)


def test_a_flat_curve_is_called_flat_where_kneedle_names_a_knee() -> None:
    flat = [decide({r: 0.75 for r in RANKS}, seed=seed) for seed in range(20)]
    noisy = {r: 0.75 + 0.01 * (-1) ** i for i, r in enumerate(RANKS)}
    assert all(elbow.outcome == "flat" for elbow in flat)
    assert kneedle(noisy) in RANKS


def test_kneedle_needs_three_ranks_and_finds_the_corner_of_two_lines() -> None:
    assert kneedle({2: 0.1, 4: 0.9}) is None
    # Straight up to 8 and level from there: farthest above the chord on the log2 axis.
    assert kneedle({2: 0.2, 4: 0.5, 8: 0.8, 16: 0.8, 32: 0.8}) == 8


def test_the_elbow_is_held_against_the_best_rank_with_adjusted_p_values() -> None:
    elbow = decide({2: 0.4, 4: 0.6, 8: 0.88, 16: 0.88, 32: 0.88})
    assert elbow.best_rank == 8, "the smallest of equals"
    assert set(elbow.adjusted_p) == {2, 4, 16, 32}
    # 2 and 4 lose in every draw: the least p of 2000 draws, 2 / 2001, times 4 and for 4 times 3,
    # raised to the one before it. 16 and 32 answer exactly as 8 does.
    assert elbow.adjusted_p[2] == elbow.adjusted_p[4] == pytest.approx(4 * 2 / 2001)
    assert elbow.adjusted_p[16] == elbow.adjusted_p[32] == 1.0
    answered = answers({2: 0.4, 32: 0.88})
    gap = elbow.largest_minus_smallest
    assert gap.mean == pytest.approx(answered[32].mean() - answered[2].mean())
    assert 0 < gap.low < gap.mean < gap.high


def items(
    correct: list[int], seed: int | None = None, order: list[int] | None = None
) -> pd.DataFrame:
    rows = [
        {
            "split": "test",
            "id": f"t-{i}",
            "verb": "go" if i < 2 else "eat",
            "form": "past_simple",
            "margin_nats": 2.0 * right - 1,
            "correct": right,
        }
        for i, right in enumerate(correct)
    ]
    rows.append({**rows[0], "split": "val", "id": "v-0", "correct": 0})
    chosen = [rows[i] for i in order] if order else rows
    return pd.DataFrame(chosen if seed is None else [{"seed": seed, **row} for row in chosen])


def rank_metrics(rank: int, accuracies: list[float]) -> dict[str, object]:
    return {
        "rank": rank,
        "scaling": 16 / rank,
        "adapter_parameters": 10 * rank,
        "adapter_size_ratio": 0.001 * rank,
        "runs": [
            {
                "seed": seed,
                "test": {"accuracy": accuracy},
                "control": {"drift": {"text": 0.01 * rank, "target": 0.02 * rank}},
            }
            for seed, accuracy in enumerate(accuracies)
        ],
    }


def test_neither_the_order_of_the_ranks_nor_of_the_rows_changes_the_summary() -> None:
    metrics = [rank_metrics(2, [0.5, 0.5]), rank_metrics(8, [1.0, 0.75])]
    tables = [
        pd.concat([items([1, 1, 0, 0], 0), items([1, 0, 0, 1], 1)]),
        pd.concat([items([1, 1, 1, 1], 0), items([1, 1, 1, 0], 1)]),
    ]
    base = items([1, 0, 0, 0])
    expected = summarize(base, metrics, tables, SETTINGS)
    assert summarize(base, metrics[::-1], tables[::-1], SETTINGS) == expected
    turned = [
        pd.concat(
            [items([1, 1, 0, 0], 0, [4, 3, 2, 1, 0]), items([1, 0, 0, 1], 1, [1, 4, 0, 3, 2])]
        ),
        pd.concat([items([1, 1, 1, 1], 0, [2, 0, 1, 4, 3]), items([1, 1, 1, 0], 1)]),
    ]
    assert summarize(base, metrics, turned, SETTINGS) == expected
    other = summarize(items([1, 0, 0, 0], order=[3, 4, 1, 0, 2]), metrics, tables, SETTINGS)
    for row, expected_row in zip(other["ranks"], expected["ranks"], strict=True):
        assert row["gain"] == pytest.approx(expected_row["gain"])
        assert row["mcnemar_headline_seed"] == expected_row["mcnemar_headline_seed"]


def test_the_headline_seed_is_the_first_that_was_evaluated_and_not_the_smallest() -> None:
    tuned = pd.concat([items([1, 1, 1, 1], 7), items([0, 0, 0, 0], 3)])
    summary = summarize(items([1, 0, 0, 0]), [rank_metrics(8, [1.0, 0.0])], [tuned], SETTINGS)
    assert summary["ranks"][0]["mcnemar_headline_seed"] == {"gained": 3, "lost": 0, "p": 0.25}


def test_the_summary_of_two_ranks_by_hand() -> None:
    tuned = {
        2: pd.concat([items([1, 1, 0, 0], 0), items([1, 0, 0, 1], 1, order=[3, 4, 2, 0, 1])]),
        8: pd.concat([items([1, 1, 1, 1], 0), items([1, 1, 1, 0], 1)]),
    }
    summary = summarize(
        items([1, 0, 0, 0]),
        [rank_metrics(2, [0.5, 0.5]), rank_metrics(8, [1.0, 0.75])],
        list(tuned.values()),
        SETTINGS,
    )
    two, eight = summary["ranks"]
    assert summary["test_items"] == 4
    assert summary["seeds"] == [0, 1]
    assert summary["base_accuracy"]["mean"] == 0.25
    assert (two["accuracy"]["mean"], eight["accuracy"]["mean"]) == (0.5, 0.875)
    assert eight["gain"]["mean"] == pytest.approx(0.625)
    assert two["margin_nats"]["mean"] == pytest.approx(0.0)
    assert eight["text_drift"]["mean"] == pytest.approx(0.08)
    assert eight["target_drift"]["mean"] == pytest.approx(0.16)
    assert eight["accuracy_by_seed"] == [1.0, 0.75]
    assert two["mcnemar_headline_seed"] == {"gained": 1, "lost": 0, "p": 1.0}
    assert summary["by_verb_and_form"] == [
        {
            "verb": "eat",
            "form": "past_simple",
            "sentences": 2,
            "base": 0.0,
            "ranks": {"2": 0.25, "8": 0.75},
        },
        {
            "verb": "go",
            "form": "past_simple",
            "sentences": 2,
            "base": 0.5,
            "ranks": {"2": 0.75, "8": 1.0},
        },
    ]
