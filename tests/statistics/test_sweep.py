"""The sweep's summary, computed by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from scipy import stats
from studies import SETTINGS

from minituner.statistics.sweep import complement_labels, summarize


def items(
    correct: list[int],
    seed: int | None = None,
    order: list[int] | None = None,
    control_nll: float = 10.0,
) -> pd.DataFrame:
    """Test items with a row of val and two of control, with a loss of ``control_nll`` nats over
    4 tokens, half of it over the 2 of the answer."""
    shared = {"form": "past_simple", "text_tokens": 4, "target_tokens": 2}
    rows: list[dict[str, Any]] = [
        {
            "split": "test",
            "id": f"t-{i}",
            "group": "go" if i < 2 else "eat",
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
    rows += [{**rows[0], **control, "id": f"c-{verb}", "group": verb} for verb in ("walk", "play")]
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


def test_summarize_does_not_depend_on_the_order_of_ranks_or_rows() -> None:
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


def test_summarize_takes_the_first_seed_as_the_headline() -> None:
    tuned = pd.concat([items([1, 1, 1, 1], 7), items([0, 0, 0, 0], 3)])
    summary = summarize(items([1, 0, 0, 0]), [rank_metrics(8, [1.0, 0.0])], [tuned], SETTINGS)
    assert summary["ranks"][0]["mcnemar_headline_seed"] == {"gained": 3, "lost": 0, "p": 0.25}


def test_summarize_two_ranks_by_hand() -> None:
    # Two seeds whose control texts have a loss 0.4 and 0.8 nats higher, over 8 tokens each.
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
    # Two verbs that agree, two seeds of e^0.05 and e^0.1: Student's t with one degree of freedom,
    # times the bootstrap's error (half their distance over sqrt(2)), widened by sqrt(2).
    reach = 12.706 * (math.exp(0.1) - math.exp(0.05)) / 2
    assert two["text_drift"]["low"] == pytest.approx(two["text_drift"]["mean"] - reach, rel=0.05)
    assert eight["text_drift"] == {"mean": 0.0, "low": None, "high": None}, "all the same"
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

    assert shares(summary["by_group_and_form"]) == {
        "eat/past_simple": (2, 0.0, 0.25, 0.75),
        "go/past_simple": (2, 0.5, 0.75, 1.0),
    }
    assert shares(summary["by_label"]) == {
        "past_simple": (4, 0.25, 0.5, 0.875),
        "new complement": (1, 0.0, 0.5, 1.0),
        "no complement": (1, 0.0, 0.0, 1.0),
        "trained complement": (2, 0.5, 0.75, 0.75),
    }
    assert summary["generalization"] is not None
    two, eight = (summary["generalization"]["difference"][rank] for rank in ("2", "8"))
    assert (two["mean"], eight["mean"]) == (0.5 - 0.75, 1.0 - 0.75)
    # One new sentence, 1 of 1 correct at rank 8: its exact limits are 2.5 and 100 %, and those of
    # 1.5 of 2 are the roots of two beta functions.
    low = float(stats.beta.ppf(0.025, 1.5, 1.5))
    assert eight["high"] == pytest.approx(0.25 + 0.75 - low)
    high = float(stats.beta.ppf(0.975, 2.5, 0.5))
    assert eight["low"] == pytest.approx(0.25 - math.hypot(1 - 0.025, high - 0.75))


def test_summarize_one_test_and_one_control_sentence() -> None:
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
    for group in (*summary["by_label"], *summary["by_group_and_form"]):
        assert group["ranks"]["8"]["low"] == pytest.approx(0.025)
    json.dumps(summary, allow_nan=False)


def test_drift_interval_ends_at_minus_one() -> None:
    """With two control verbs Student's interval would go below."""
    tuned = pd.concat([items([1, 1, 1, 1], 0, control_nll=1.0), items([1, 1, 1, 1], 1)])
    summary = summarize(items([1, 0, 0, 0]), [rank_metrics(8, [1.0, 1.0])], [tuned], SETTINGS)
    assert summary["ranks"][0]["text_drift"]["low"] == -1.0


def test_complement_labels() -> None:
    assert complement_labels(["home", "", "to school"], {"home"}) == [
        "trained complement",
        "no complement",
        "new complement",
    ]


def test_generalization_needs_new_and_trained_complements() -> None:
    base = items([1, 0, 0, 0])
    tuned = pd.concat([items([1, 1, 0, 0], 0), items([1, 0, 0, 1], 1)])
    metrics = [rank_metrics(2, [0.5, 0.5])]
    for trained in ([], ["to school", "home", "soup"]):
        assert summarize(base, metrics, [tuned], SETTINGS, trained)["generalization"] is None


def test_summarize_refuses_full_fine_tuning() -> None:
    metrics = rank_metrics(2, [0.5, 0.5]) | {"rank": None}
    with pytest.raises(ValueError, match="rank"):
        summarize(items([1, 0, 0, 0]), [metrics], [items([1, 1, 0, 0], 0)], SETTINGS)


# --- further control sets -------------------------------------------------------------------------


def french(extra: list[float], groups: str, seed: int | None = None) -> pd.DataFrame:
    """Plain texts of 8 tokens with a loss of 20 nats, and ``extra`` nats more for each; their
    groups are the letters of ``groups``."""
    rows = [
        {
            "split": "controls/french", "id": f"f-{i}", "group": groups[i], "form": "",
            "complement": "", "margin_nats": math.nan, "correct": math.nan,
            "text_nll_nats": 20 + more, "text_tokens": 8,
            "target_nll_nats": 20 + more, "target_tokens": 8,
        }
        for i, more in enumerate(extra)
    ]  # fmt: skip
    return pd.DataFrame(rows if seed is None else [{"seed": seed, **row} for row in rows])


def with_french(rank: int) -> dict[str, Any]:
    metrics = rank_metrics(rank, [1.0, 1.0])
    for run in metrics["runs"]:
        run["controls"] = {"french": {"drift": {"text": 0.1 * (1 + run["seed"]), "target": 9.0}}}
    return metrics


def french_row(*extra: list[float], groups: str = "abcd") -> dict[str, Any]:
    """The row of rank 8 with these losses for each seed."""
    base = pd.concat([items([1, 0, 0, 0]), french([0.0] * len(extra[0]), groups)])
    tuned = [
        part
        for seed, more in enumerate(extra)
        for part in (items([1, 1, 1, 1], seed), french(more, groups, seed))
    ]
    row: Any = summarize(base, [with_french(8)], [pd.concat(tuned)], SETTINGS)["ranks"][0]
    return dict(row)


def test_drift_of_a_further_control_set_by_hand() -> None:
    row = french_row([0.8, 1.6, 2.4, 3.2], [0.8, 0.8, 0.8, 0.8])
    expected = (math.exp(8.0 / 32) + math.exp(3.2 / 32)) / 2 - 1
    assert row["control_drifts"].keys() == {"french"}
    drift = row["control_drifts"]["french"]
    assert drift["mean"] == pytest.approx(expected)
    assert drift["low"] < expected < drift["high"]
    assert row["control_drifts_by_seed"] == {"french": pytest.approx([0.1, 0.2])}
    assert row["text_drift"]["mean"] == 0, "the first control set is not concerned"


def test_a_further_control_set_is_resampled_by_its_own_groups() -> None:
    extra = [[0.0, 0.2, 3.2, 6.4], [0.0, 0.3, 3.1, 6.4]]
    one_by_one, in_twos = (
        french_row(*extra, groups=groups)["control_drifts"]["french"] for groups in ("abcd", "aabb")
    )
    assert one_by_one["mean"] == in_twos["mean"]
    assert one_by_one["low"] != in_twos["low"]


def test_without_further_control_sets_the_summary_says_nothing_of_them() -> None:
    tuned = pd.concat([items([1, 1, 0, 0], 0), items([1, 0, 0, 1], 1)])
    (row,) = summarize(items([1, 0, 0, 0]), [rank_metrics(2, [0.5, 0.5])], [tuned], SETTINGS)[
        "ranks"
    ]
    assert not {"control_drifts", "control_drifts_by_seed"} & row.keys()
