"""The arms: what is shared, what changes, how runs are compared, and the words for each outcome."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import read_config
from minituner.reporting.ablations_report import differs, interpret_arm, render_ablations
from minituner.statistics.ablations import Result, choose, compare_runs, front
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
    """Test items of four verbs, each right in the given share, and two control items."""
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
    table = pd.DataFrame(rows, columns=["split", "id", "verb", "correct", "text_nll_nats", "seed"])
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


def test_a_row_is_what_the_sweep_says_and_what_validation_says() -> None:
    (row,) = compare(result("study", 1.0, drift_nats=0.1))["rows"]
    assert row["is_study"] and row["versus_study"] is None
    assert row["accuracy"]["mean"] == 1.0
    assert row["gain"]["mean"] == pytest.approx(0.5)
    expected = np.mean([np.expm1(0.1), np.expm1(0.1 + 0.01 / 4)])
    assert row["text_drift"]["mean"] == pytest.approx(expected)
    assert (row["val_accuracy"], row["val_perplexity"]) == (0.75, 1.5)
    assert row["probe_failures"] == 1
    assert row["base_accuracy"] == 0.5


def test_a_run_is_held_against_the_study_at_its_rank() -> None:
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
    # All weights have no rank: held against the arm's first study run.
    assert versus[4]["mean"] == pytest.approx(-0.5)
    assert all(v["adjusted_p"] >= v["p"] for v in versus[2:])


def test_the_gap_over_the_ranks_is_told_for_each_setting() -> None:
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


def test_validation_chooses_among_what_is_small_enough_or_among_full_runs() -> None:
    small = result("small", 0.5, val_perplexity=1.4)
    large = result("large", 1.0, val_perplexity=1.1, size_ratio=0.02)
    summary = compare(result("study", 1.0), small, large)
    assert summary["chosen"] == {"run": "small", "rank": 8}
    full = [result(f"lr-{p}", 0.5, rank=None, val_perplexity=p, size_ratio=1) for p in (1.3, 1.2)]
    assert compare(small, *full)["chosen"] == {"run": "lr-1.2", "rank": None}
    assert choose([], 0.01) is None
    assert choose(compare(large)["rows"], 0.01) is None


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    rows = compare(
        result("a", 1.0, 0.2),
        result("b", 0.5, 0.1),
        result("worse", 0.5, 0.15),
        result("c", 0.0, 0.0),
        result("like c", 0.0, 0.0),
    )["rows"]
    assert [row["run"] for row in front(rows)] == ["a", "b", "c", "like c"]


def left_out(verb: str, share: float) -> Result:
    """A run that was trained on every verb but one: right on all others, there in a share."""
    change = {"train.held_out_verb": verb}
    return result(verb, 1.0, changes=change, shares={verb: share})


def test_a_left_out_verb_is_asked_about_alone_and_all_of_them_together() -> None:
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
    assert summary["chosen"] is None and summary["front"] == [], "other sentences, other scales"


def test_a_verb_that_two_runs_left_out_is_not_counted_twice() -> None:
    assert compare(left_out("go", 0.5), left_out("go", 1.0))["held_out"] is None


def test_a_left_out_verb_without_a_test_sentence_is_refused() -> None:
    with pytest.raises(UserError, match="no test sentence of the verb that was left out"):
        compare(left_out("write", 0.5))


def test_drifts_are_compared_on_the_same_draws() -> None:
    versus = compare(result("study", 1.0, 0.1), result("more", 1.0, 0.2))["rows"][1]["versus_study"]
    rows = compare(result("study", 1.0, 0.1), result("more", 1.0, 0.2))["rows"]
    difference = rows[1]["text_drift"]["mean"] - rows[0]["text_drift"]["mean"]
    assert versus["text_drift"]["mean"] == pytest.approx(difference)
    assert versus["text_drift"]["high"] - versus["text_drift"]["low"] < 0.01


# --- the words ----------------------------------------------------------------------------------


def test_runs_that_do_not_differ_are_said_not_to() -> None:
    words = interpret_arm(compare(result("study", 0.9), result("other", 0.9)))
    assert "No run's accuracy differs from the study's by more than chance" in words
    assert "(smallest Holm-adjusted p: 1.000)" in words


def test_a_run_that_differs_is_named_with_its_difference() -> None:
    better = result("better", 1.0, shares={"go": 5 / 6})
    words = interpret_arm(compare(result("study", 0.5), better))
    assert "Significantly different from the study in accuracy: `better` by +45.8" in words


def test_an_arm_without_the_study_or_with_nothing_else_says_so() -> None:
    assert "holds no run of the study" in interpret_arm(compare(result("other", 1.0)))
    only = interpret_arm(compare(result("study", 1.0)))
    assert "Every run of this arm comes out as one of the study's." in only


@pytest.mark.parametrize(
    ("study", "other", "words"),
    [
        ((0.5, 0.5), (0.5, 0.5), "not shown to depend on the scaling"),
        ((0.5, 1.0), (0.5, 1.0), "not shown to depend on the scaling"),
        # Half of what 24 sentences could differ by, alike in all verbs: the binomial limits of 12
        # of 24, 29.1 and 70.9 %, and of 0, 14.2 %, twice over.
        ((0.0, 1.0), (1.0, 1.0), "differs from the study's by -100.0 [-141.8, -29.8] points"),
    ],
)
def test_what_the_scaling_explains_follows_from_the_gaps(
    study: tuple[float, float], other: tuple[float, float], words: str
) -> None:
    change = {"lora.use_rslora": True}
    runs = [
        *(result("study", share, rank=r) for r, share in zip((2, 32), study, strict=True)),
        *(
            result("other", share, rank=r, changes=change)
            for r, share in zip((2, 32), other, strict=True)
        ),
    ]
    text = interpret_arm(compare(*runs))
    assert words in text
    assert ("one of the scaling, which acts as a learning rate" in text) == ("differs" in words)
    assert text.count("(not significant)") == (study[0] == study[1]) + (other[0] == other[1])
    elsewhere = [replace(r, run={**r.run, "changes": {"train.epochs": 6}}) for r in runs]
    assert "scaling" not in interpret_arm(compare(*elsewhere)), "these arms vary something else"


@pytest.mark.parametrize(
    ("full_drift", "words"),
    [(0.5, "less forgetting (the"), (-0.5, "not less forgetting but more (the"), (0.1, "no diff")],
)
def test_what_the_frozen_base_buys_follows_from_the_drift(full_drift: float, words: str) -> None:
    summary = compare(
        result("study", 1.0, drift_nats=0.1),
        result("lr-1", 1.0, drift_nats=full_drift, rank=None, size_ratio=1.0),
    )
    text = interpret_arm(summary)
    assert f"still there, and {words}" in text
    assert "`lr-1` forgets least" in text and f"against that one LoRA shows {words}" in text
    assert "the validation split chose `lr-1`" in text
    assert "weight moved by 0.25" in text


def test_a_full_run_that_learns_less_is_not_held_against_the_forgetting() -> None:
    summary = compare(
        result("study", 1.0, drift_nats=0.1),
        result("lr-1", 0.5, drift_nats=0.0, rank=None, size_ratio=1.0),
    )
    assert "No full run gains as much as LoRA does." in interpret_arm(summary)


def test_of_equals_in_validation_accuracy_the_likelier_answers_win() -> None:
    rows = compare(result("a", 1.0, val_perplexity=1.4), result("b", 0.5, val_perplexity=1.2))[
        "rows"
    ]
    assert choose(rows, 0.01) == {"run": "b", "rank": 8}
    rows[0]["val_accuracy"] = 0.76
    assert choose(rows, 0.01) == {"run": "a", "rank": 8}


def test_the_choice_of_layers_names_the_front_and_the_chosen() -> None:
    summary = compare(result("study", 0.5, 0.1), result("fc1", 1.0, 0.2, val_perplexity=1.2))
    text = interpret_arm(summary)
    assert "Not beaten in both gain and drift: `fc1`, `study`." in text
    assert "chooses `fc1` among the runs that store less than 1.0 % of the base" in text
    none = interpret_arm(compare(result("study", 0.5, size_ratio=0.5)))
    assert "so none may be chosen" in none


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "something beyond the trained forms moves, and moves the right way"),
        (0.5, "nothing beyond the trained forms moves"),
        (0.0, "a verb that is left out gets worse"),
    ],
)
def test_what_left_out_verbs_show_follows_from_their_gain(share: float, words: str) -> None:
    summary = compare(result("study", 1.0), *(left_out(verb, share) for verb in VERBS))
    assert words in interpret_arm(summary)


def test_what_a_run_changes_is_said_in_the_configs_words() -> None:
    assert differs(compare(result("study", 1.0))["rows"][0]) == "the study"
    change = {"lora.alpha": 4, "train.learning_rate": 3e-5, "lora.target_modules": ["q_proj"]}
    row = compare(result("other", 1.0, changes=change))["rows"][0]
    assert differs(row) == "`alpha: 4`, `learning_rate: 3e-05`, `target_modules: q_proj`"


ARMS = {
    "scaling": compare(*(result(n, 0.9, rank=r) for n in ("study", "rslora") for r in (2, 8))),
    "targets": compare(result("study", 0.9), result("q+v", 0.7, changes={"lora.alpha": 1})),
    "full": compare(result("study", 0.9), result("lr", 0.9, 0.3, rank=None, size_ratio=1.0)),
    "verbs": compare(result("study", 0.9), *(left_out(verb, 0.5) for verb in VERBS)),
    "my_own": compare(result("other", 0.9)),
}


@pytest.mark.parametrize("chosen", [list(ARMS), [], *([arm] for arm in ARMS)])
def test_nothing_is_left_unfilled_and_every_table_is_a_table(chosen: list[str]) -> None:
    settings = read_config([ROOT / "config.yaml"])
    text = render_ablations(
        ROOT / "minituner/reporting/templates/ABLATIONS.md.j2",
        {arm: ARMS[arm] for arm in chosen},
        {key: settings[key] for key in ("lora", "train", "gates")},
    )
    for trace in ("{{", "{%", "None", "nan", "ndefined", "True", "False"):
        assert trace not in text
    assert not re.search(r"\d\.\d{7}", text), "a number that no filter has worded"
    tables = [t.splitlines() for t in re.findall(r"((?:^\|.*\n)+)", text, re.MULTILINE)]
    assert len(tables) == len(chosen)
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1, lines
    for arm in chosen:
        assert f"`snakemake ablate_{arm}`" in text
        assert f"../28-lora-ablate-{arm}/{arm}.png" in text
    assert ("No arm is enabled" in text) == (not chosen)
