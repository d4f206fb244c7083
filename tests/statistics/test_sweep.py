"""The elbow on constructed curves, and the sweep's summary by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from minituner.statistics.intervals import PairedBootstrap, StatisticsSettings
from minituner.statistics.sweep import Elbow, complement_labels, find_elbow, kneedle, summarize

SETTINGS = StatisticsSettings(bootstrap_draws=2000)
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
    assert elbow.adjusted_p[2] < elbow.adjusted_p[4] < 0.05
    # 16 and 32 answer exactly as 8 does.
    assert elbow.adjusted_p[16] == elbow.adjusted_p[32] == 1.0
    # Yet 64 sentences cannot exclude a difference of 1 - 0.025^(1/64).
    assert elbow.best_minus[16].mean == 0
    assert elbow.best_minus[16].high == pytest.approx(0.0560, abs=5e-5)
    assert elbow.best_minus[4].above_zero
    answered = answers({2: 0.4, 32: 0.88})
    gap = elbow.largest_minus_smallest
    assert gap.mean == pytest.approx(answered[32].mean() - answered[2].mean())
    assert 0 < gap.low < gap.mean < gap.high


def items(
    correct: list[int],
    seed: int | None = None,
    order: list[int] | None = None,
    control_nll: float = 10.0,
) -> pd.DataFrame:
    """Test items with a row of val and two of control; those cost so many nats over 4 tokens, and
    half of that over 2 in the answer."""
    shared = {"form": "past_simple", "text_tokens": 4, "target_tokens": 2}
    rows: list[dict[str, Any]] = [
        {
            "split": "test",
            "id": f"t-{i}",
            "verb": "go" if i < 2 else "eat",
            "complement": ("to school", "home", "", "soup")[i],
            "margin_nats": 2.0 * right - 1,
            "correct": right,
            "text_nll_nats": 3.0,
            "target_nll_nats": 1.0,
            **shared,
        }
        for i, right in enumerate(correct)
    ]
    control = {"split": "control", "text_nll_nats": control_nll, "target_nll_nats": control_nll / 2}
    rows.append({**rows[0], "split": "val", "id": "v-0", "correct": 0})
    rows += [{**rows[0], **control, "id": f"c-{verb}", "verb": verb} for verb in ("walk", "play")]
    chosen = [rows[i] for i in [*order, 5, 6]] if order else rows
    return pd.DataFrame(chosen if seed is None else [{"seed": seed, **row} for row in chosen])


def rank_metrics(rank: int, accuracies: list[float]) -> dict[str, Any]:
    audit = {"relative_norm": 0.01 * rank, "effective_rank": 1.5, "largest_b": 0.25}
    return {
        "rank": rank,
        "scaling": 16 / rank,
        "trained_parameters": 10 * rank,
        "file_bytes": 100 * rank,
        "size_ratio": 0.001 * rank,
        "runs": [
            {
                "seed": seed,
                "test": {"accuracy": accuracy},
                "control": {"drift": {"text": 0.01 * rank, "target": 0.02 * rank}},
                "scale_audit": [
                    {"layer": "fc1", **audit},
                    {"layer": "fc2", **audit, "relative_norm": 0.03 * rank},
                ],
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
    # Two seeds whose control texts cost 0.4 and 0.8 nats more, over 8 tokens each.
    tuned = {
        2: pd.concat(
            [
                items([1, 1, 0, 0], 0, control_nll=10.2),
                items([1, 0, 0, 1], 1, order=[3, 4, 2, 0, 1], control_nll=10.4),
            ]
        ),
        8: pd.concat([items([1, 1, 1, 1], 0), items([1, 1, 1, 0], 1)]),
    }
    summary = summarize(
        items([1, 0, 0, 0]),
        [rank_metrics(2, [0.5, 0.5]), rank_metrics(8, [1.0, 0.75])],
        list(tuned.values()),
        SETTINGS,
        ["to school", "soup"],
    )
    two, eight = summary["ranks"]
    assert summary["test_items"] == 4
    assert summary["seeds"] == [0, 1]
    assert summary["base_accuracy"]["mean"] == 0.25
    assert (two["accuracy"]["mean"], eight["accuracy"]["mean"]) == (0.5, 0.875)
    assert eight["gain"]["mean"] == pytest.approx(0.625)
    assert two["margin_nats"]["mean"] == pytest.approx(0.0)
    assert two["text_drift"]["mean"] == pytest.approx((math.exp(0.05) + math.exp(0.1)) / 2 - 1)
    assert two["target_drift"]["mean"] == pytest.approx((math.exp(0.05) + math.exp(0.1)) / 2 - 1)
    # Two verbs that agree, two seeds of e^0.05 and e^0.1: Student's t of one degree of freedom on
    # the bootstrap's error, which for two is half their distance, by sqrt(2), widened by it again.
    reach = 12.706 * (math.exp(0.1) - math.exp(0.05)) / 2
    assert two["text_drift"]["low"] == pytest.approx(two["text_drift"]["mean"] - reach, rel=0.05)
    assert eight["text_drift"] == {"mean": 0.0, "low": None, "high": None}, "all alike"
    assert eight["accuracy_by_seed"] == [1.0, 0.75]
    assert two["mcnemar_headline_seed"] == {"gained": 1, "lost": 0, "p": 1.0}
    assert [row["layer"] for row in two["scale_audit"]] == ["fc1", "fc2", "all"]
    assert two["scale_audit"][-1]["relative_norm"] == pytest.approx((0.02 + 0.06) / 2)

    def shares(rows: list[dict[str, Any]]) -> dict[str, tuple[int, float, float, float]]:
        return {
            row["label"]: (
                row["sentences"],
                row["base"]["mean"],
                row["ranks"]["2"]["mean"],
                row["ranks"]["8"]["mean"],
            )
            for row in rows
        }

    assert shares(summary["by_verb_and_form"]) == {
        "eat/past_simple": (2, 0.0, 0.25, 0.75),
        "go/past_simple": (2, 0.5, 0.75, 1.0),
    }
    assert shares(summary["by_group"]) == {
        "past_simple": (4, 0.25, 0.5, 0.875),
        "new complement": (1, 0.0, 0.5, 1.0),
        "no complement": (1, 0.0, 0.0, 1.0),
        "trained complement": (2, 0.5, 0.75, 0.75),
    }


def test_a_study_of_one_test_sentence_and_one_control_sentence_claims_next_to_nothing() -> None:
    base = items([0]).query("id != 'c-play'")
    tuned = pd.concat(
        items([1], seed, control_nll=10.2 + seed).query("id != 'c-play'") for seed in (0, 1)
    )
    summary = summarize(base, [rank_metrics(8, [1.0, 1.0])], [tuned], SETTINGS)
    (row,) = summary["ranks"]
    assert row["accuracy"] == {"mean": 1.0, "low": pytest.approx(0.025), "high": 1.0}
    assert summary["base_accuracy"] == {"mean": 0.0, "low": 0.0, "high": pytest.approx(0.975)}
    assert row["gain"] == {"mean": 1.0, "low": pytest.approx(-0.95), "high": 1.0}
    for key in ("margin_nats", "text_drift", "target_drift"):
        assert (row[key]["low"], row[key]["high"]) == (None, None), key
    for group in (*summary["by_group"], *summary["by_verb_and_form"]):
        assert group["ranks"]["8"]["low"] == pytest.approx(0.025)
    json.dumps(summary, allow_nan=False)


def test_a_drift_falls_by_no_more_than_all() -> None:
    """Of two control verbs Student's interval is wide enough to say so."""
    tuned = pd.concat([items([1, 1, 1, 1], 0, control_nll=1.0), items([1, 1, 1, 1], 1)])
    summary = summarize(items([1, 0, 0, 0]), [rank_metrics(8, [1.0, 1.0])], [tuned], SETTINGS)
    assert summary["ranks"][0]["text_drift"]["low"] == -1.0


def test_a_complement_is_new_if_no_training_prompt_had_it() -> None:
    assert complement_labels(["home", "", "to school"], {"home"}) == [
        "trained complement",
        "no complement",
        "new complement",
    ]
