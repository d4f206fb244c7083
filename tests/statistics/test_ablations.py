"""The arms: what is shared, what changes, how runs are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import read_config
from minituner.statistics.ablations import Result, choose, compare_runs, pareto_front
from minituner.statistics.intervals import StatisticsSettings

STUDY = "28-lora-ablate-rank"
SETTINGS = StatisticsSettings(bootstrap_draws=1000)


@pytest.fixture
def config() -> dict[str, Any]:
    return read_config([ROOT / "config.yaml"])


# --- comparing runs -----------------------------------------------------------------------------

VERBS = ("go", "eat", "see", "do")
PER_VERB = 6


def items(shares: dict[str, float], drift_nats: float, seeds: tuple[int, ...] | None) -> Any:
    """Test items of four verbs, the given share of each correct, and two control items."""
    rows = []
    for seed in seeds or (0,):
        for verb in VERBS:
            for i in range(PER_VERB):
                right = int(i < round(shares.get(verb, shares["all"]) * PER_VERB))
                rows.append(("test", f"{verb}-{i}", verb, right, 8.0, seed))
        rows += [
            ("control", f"c-{verb}", verb, 1, 8.0 + 4 * drift_nats + 0.01 * seed, seed)
            for verb in ("walk", "play")
        ]
    table = pd.DataFrame(rows, columns=["split", "id", "group", "correct", "text_nll_nats", "seed"])
    table["target_nll_nats"] = table["text_nll_nats"] / 2
    table = table.assign(
        form="past_simple", complement="", margin_nats=1.0, text_tokens=4, target_tokens=2
    )
    return table if seeds else table.drop(columns="seed")


def result(
    name: str,
    share: float,
    drift_nats: float = 0.0,
    rank: int | None = 8,
    val_perplexity: float = 1.5,
    size_ratio: float = 0.005,
    changes: dict[str, Any] | None = None,
    shares: dict[str, float] | None = None,
) -> Result:
    folder = f"experiments/{STUDY}/rank-{rank}" if name == "study" else f"experiments/x/{name}"
    runs = [
        {
            "seed": seed,
            "val": {"accuracy": 0.75, "perplexity": {"target": val_perplexity}},
            "control": {"drift": {"text": drift_nats, "target": 2 * drift_nats}},
            "probe": [{"failed": True}, {"failed": False}],
            "base_max_abs_diff": 0.0 if rank else 0.25,
            "scale_audit": [
                {"layer": "fc2", "relative_norm": 0.02, "effective_rank": 2.0, "largest_b": 0.01}
            ]
            if rank
            else [],
        }
        for seed in (0, 1)
    ]
    metrics = {
        "rank": rank,
        "scaling": 2.0 if rank else None,
        "trained_parameters": 1000,
        "file_bytes": 5000,
        "size_ratio": size_ratio,
        "runs": runs,
    }
    run = {"run": name, "rank": rank, "folder": folder, "changes": changes or {}}
    shares = {"all": share, **(shares or {})}
    return Result(run, metrics, items(shares, drift_nats, (0, 1)), items({"all": 0.5}, 0.0, None))


def compare(*results: Result, size_limit: float = 0.01) -> dict[str, Any]:
    return compare_runs(results, SETTINGS, size_limit)


def test_compare_runs_row() -> None:
    (row,) = compare(result("study", 1.0, drift_nats=0.1))["rows"]
    assert row["is_study"] and row["versus_study"] is None
    assert row["accuracy"]["mean"] == 1.0
    assert row["gain"]["mean"] == pytest.approx(0.5)
    expected = np.mean([np.expm1(0.1), np.expm1(0.1 + 0.01 / 4)])
    assert row["text_drift"]["mean"] == pytest.approx(expected)
    assert (row["val_accuracy"], row["val_perplexity"]) == (0.75, 1.5)
    assert row["probe_failures"] == 1
    assert row["base_accuracy"] == 0.5


def test_versus_study_at_the_same_rank() -> None:
    summary = compare(
        result("study", 0.5, rank=2),
        result("study", 1.0, rank=8),
        result("other", 1.0, rank=2),
        result("other", 1.0, rank=8),
        result("full", 0.0, rank=None),
    )
    versus = [row["versus_study"] for row in summary["rows"]]
    assert versus[:2] == [None, None]
    assert versus[2]["mean"] == pytest.approx(0.5)
    assert versus[3]["mean"] == 0 and versus[3]["adjusted_p"] == 1
    # All weights have no rank: compared with the arm's first study run.
    assert versus[4]["mean"] == pytest.approx(-0.5)
    assert all(v["adjusted_p"] >= v["p"] for v in versus[2:])


def test_rank_effects_of_each_setting() -> None:
    summary = compare(
        result("study", 0.5, rank=2),
        result("study", 1.0, rank=8),
        result("other", 1.0, rank=2),
        result("other", 1.0, rank=8),
    )
    assert summary["gaps"]["study"]["mean"] == pytest.approx(0.5)
    assert summary["gaps"]["study"]["versus_study"] is None
    other = summary["gaps"]["other"]
    assert other["mean"] == 0
    assert other["low"] < 0 < other["high"]
    assert other["versus_study"]["mean"] == pytest.approx(-0.5)
    assert compare(result("study", 1.0))["gaps"] == {}


def test_rank_effect_contrast_covers_its_binomial_limits() -> None:
    shares = {("study", 2): 0.0, ("study", 32): 1.0, ("other", 2): 1.0, ("other", 32): 1.0}
    summary = compare(*(result(name, share, rank=r) for (name, r), share in shares.items()))
    # Half of what 24 sentences could differ by, the same in all verbs: the binomial limits of 12
    # of 24, 29.1 and 70.9 %, and of 0, 14.2 %, twice over.
    contrast = summary["gaps"]["other"]["versus_study"]
    ends = [contrast[key] for key in ("mean", "low", "high")]
    assert ends == pytest.approx([-1.0, -1.418, -0.298], abs=1e-3)


def test_choose_among_small_adapters_or_full_runs() -> None:
    small = result("small", 0.5, val_perplexity=1.4)
    large = result("large", 1.0, val_perplexity=1.1, size_ratio=0.02)
    summary = compare(result("study", 1.0), small, large)
    assert summary["chosen"] == {"run": "small", "rank": 8}
    full = [result(f"lr-{p}", 0.5, rank=None, val_perplexity=p, size_ratio=1) for p in (1.3, 1.2)]
    assert compare(small, *full)["chosen"] == {"run": "lr-1.2", "rank": None}
    assert choose([], 0.01) is None
    assert choose(compare(large)["rows"], 0.01) is None


def test_choose_breaks_ties_by_perplexity() -> None:
    rows = compare(result("a", 1.0, val_perplexity=1.4), result("b", 0.5, val_perplexity=1.2))[
        "rows"
    ]
    assert choose(rows, 0.01) == {"run": "b", "rank": 8}
    rows[0]["val_accuracy"] = 0.76
    assert choose(rows, 0.01) == {"run": "a", "rank": 8}


def test_pareto_front() -> None:
    rows = compare(
        result("a", 1.0, 0.2),
        result("b", 0.5, 0.1),
        result("worse", 0.5, 0.15),
        result("c", 0.0, 0.0),
        result("like c", 0.0, 0.0),
    )["rows"]
    assert [row["run"] for row in pareto_front(rows)] == ["a", "b", "c", "like c"]


def left_out(verb: str, share: float) -> Result:
    """A run trained on every verb except one: all others are correct, of that one a share."""
    change = {"train.held_out_verb": verb}
    return result(verb, 1.0, changes=change, shares={verb: share})


def test_held_out_verbs_alone_and_pooled() -> None:
    summary = compare(
        result("study", 1.0), left_out("go", 0.5), left_out("eat", 1.0), left_out("see", 0.0)
    )
    study, go, eat, see = (row["accuracy"]["mean"] for row in summary["rows"])
    assert (study, go, eat, see) == (1.0, 0.5, 1.0, 0.0)
    pooled = summary["held_out"]
    assert pooled["sentences"] == 3 * PER_VERB
    assert pooled["left_out"]["mean"] == pytest.approx(0.5)
    assert pooled["base"]["mean"] == pytest.approx(0.5)
    assert pooled["gain"]["mean"] == pytest.approx(0.0)
    assert pooled["study"]["mean"] == 1.0
    assert summary["rows"][1]["versus_study"]["mean"] == pytest.approx(-0.5)
    assert compare(result("study", 1.0))["held_out"] is None
    assert summary["chosen"] is None and summary["front"] == [], "tested on different sentences"


def test_pool_held_out_refuses_a_verb_of_two_runs() -> None:
    assert compare(left_out("go", 0.5), left_out("go", 1.0))["held_out"] is None


def test_held_out_verb_without_a_test_sentence_is_refused() -> None:
    with pytest.raises(UserError, match="no test pair of the group that was left out"):
        compare(left_out("write", 0.5))


def test_versus_study_compares_drifts_on_the_same_draws() -> None:
    versus = compare(result("study", 1.0, 0.1), result("more", 1.0, 0.2))["rows"][1]["versus_study"]
    rows = compare(result("study", 1.0, 0.1), result("more", 1.0, 0.2))["rows"]
    difference = rows[1]["text_drift"]["mean"] - rows[0]["text_drift"]["mean"]
    assert versus["text_drift"]["mean"] == pytest.approx(difference)
    assert versus["text_drift"]["high"] - versus["text_drift"]["low"] < 0.01
