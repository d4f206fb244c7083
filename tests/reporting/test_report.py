"""The real template with made-up results: the words follow the outcome, the numbers the files."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from project import ROOT

from minituner.data.verbs import load_verbs
from minituner.reporting.cost import cost_table
from minituner.reporting.report import (
    FILTERS,
    ambiguous_forms,
    excludes_zero,
    render_report,
    unseen_words_sentence,
)

TEMPLATE = ROOT / "minituner/reporting/templates/REPORT.md.j2"
SETTINGS = {
    "lora": {
        "rank": 8,
        "alpha": 16,
        "dropout": 0.05,
        "target_modules": ["mlp.fc2"],
        "use_rslora": False,
        "use_dora": False,
    },
    "train": {"learning_rate": 1e-4, "epochs": 3, "loraplus_lr_ratio": 1},
    "data": {"irregular_verbs": ["go", "eat"], "regular_verbs": ["walk", "play"]},
    "base_path": "own/best.pt",
}


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.05, "high": mean + 0.05}


def accuracies(label: str) -> dict[str, Any]:
    ranks = {"2": estimate(0.9), "8": estimate(0.95), "32": estimate(0.9)}
    return {"label": label, "sentences": 26, "base": estimate(0.5), "ranks": ranks}


def scores(accuracy: float, drift: float | None) -> dict[str, Any]:
    test = {
        "n": 52,
        "accuracy": accuracy,
        "accuracy_per_token": accuracy,
        "margin_nats": 1.25,
        "greedy_accuracy": 0.5,
    }
    probe = {"prompt": "He has __ home.", "expected": "walked", "over_irregular": "walken"}
    answers = [
        {"verb": verb, "prompt": f"{verb} __ {i}.", "expected": "went / fue", "answer": "goed"}
        for verb in ("eat", "go")
        for i in range(2)
    ]
    control: dict[str, Any] = {"perplexity": {"text": 2.125, "target": 1.0625}}
    if drift is not None:
        control["drift"] = {"text": drift, "target": 3 * drift}
    return {
        "test": test,
        "val": {"accuracy": accuracy},
        "control": control,
        "probe": [{**probe, "answer": "walked / caminado", "margin_nats": 7.5, "failed": False}],
        "predictions": answers,
    }


def make_results(outcome: str = "flat", rank: int | None = None) -> dict[str, Any]:
    ranks = [2, 8, 32]
    gates = {
        "accuracy_gain_pp": {"value": 47.26, "rule": ">=", "threshold": 10, "pass": True},
        "control_ppl_drift": {"value": 0.0213, "rule": "<=", "threshold": 0.05, "pass": True},
    }
    side = {"pairs": 40, "frames": {"time_last": 40}, "mean_prompt_words": 7.5}
    split = {
        "pairs": 40,
        "by_form": {"past_simple": 40},
        "by_verb": {"walk": 20, "play": 20},
        "target_tokens": 200,
    }
    return {
        "pairs": {
            "splits": {"test": split, "control": split},
            "distributions": {"irregular": side, "control": side, "unseen_words": None},
        },
        "sweep": {
            "test_items": 52,
            "seeds": [0, 1],
            "confidence": 0.95,
            "base_accuracy": estimate(0.4635),
            "ranks": [
                {
                    "rank": r,
                    "scaling": 16 / r,
                    "trained_parameters": 1000 * r,
                    "accuracy": estimate(0.9),
                    "gain": estimate(0.44),
                    "margin_nats": estimate(1.7),
                    "text_drift": estimate(0.02),
                    "target_drift": estimate(0.06),
                    "mcnemar_headline_seed": {"gained": 25, "lost": 1, "p": 0.0000008},
                    "scale_audit": [
                        {
                            "layer": layer,
                            "relative_norm": 0.0123,
                            "effective_rank": 1.75,
                            "largest_b": 0.0071,
                        }
                        for layer in ("blocks.0.mlp.fc2", "all")
                    ],
                }
                for r in ranks
            ],
            "drift_largest_minus_smallest": estimate(0.001),
            "elbow": {
                "outcome": outcome,
                "rank": rank,
                "best_rank": 8,
                "largest_minus_smallest": {"mean": 0.012, "low": -0.03, "high": 0.05},
                "best_minus": {"2": estimate(0.02), "32": estimate(0.01)},
                "adjusted_p": {"2": 0.6, "32": 0.8},
                "kneedle": 8,
            },
            "by_group": [
                accuracies(label)
                for label in ("past_simple", "new complement", "trained complement")
            ],
            "by_verb_and_form": [accuracies(f"{verb}/past_simple") for verb in ("eat", "go")],
        },
        "ambiguous": [
            {"verb": "see", "word": "seed", "meaning": "the grain of a plant", "side": "wrong"}
        ],
        "base_metrics": scores(0.4635, None),
        "metrics": {
            "rank": 8,
            "seed": 0,
            "base_sha256": {"before": "ab" * 32, "after": "ab" * 32},
            "before": scores(0.4635, None),
            "after": scores(0.936, 0.0213),
        },
        "gates": gates,
        "manifest": {
            "base_checkpoint_sha256": "cd" * 32,
            "versions": {"torch": "2.13.0", "numpy": "2", "snakemake": "9", "python": "3.11"},
        },
        "training": {
            "trainable_parameters": 46080,
            "trainable_parameters_closed_form": 46080,
            "trainable_ratio": 0.008,
            "base_parameters": 5735808,
            "adapted_layers": ["blocks.0.mlp.fc2"],
            "steps": 81,
        },
        "pretraining": {
            "parameters": 5735808,
            "shape": {"n_layers": 3, "d_model": 384, "n_heads": 6},
            "vocabulary": 1024,
            "steps": 537,
            "tokens": 86000,
            "best_step": 537,
            "best_val_loss": 0.98,
            "corpus": {
                "sentences": 6000,
                "fill_in": 3000,
                "irregular_past_forms": 1728,
                "over_regularized_share": 0.4537,
            },
        },
    }


def render(results: dict[str, Any]) -> str:
    return render_report(TEMPLATE, results, copy.deepcopy(SETTINGS))


OUTCOMES = [
    ("flat", None, "The curve is flat", "made no difference that this study can see"),
    ("elbow", 8, "The elbow is at r = 8", "r = 8 is the smallest rank that is not shown to be"),
    ("rising", 32, "no plateau inside this sweep", "still rises at the largest rank, r = 32"),
    ("floor", None, "No gain could be shown at any rank", "no gain over the base could be shown"),
    ("ceiling", None, "at the top of the scale", "cannot be told apart"),
]


@pytest.mark.parametrize(("outcome", "rank", "paragraph", "clause"), OUTCOMES)
def test_the_words_follow_the_outcome(
    outcome: str, rank: int | None, paragraph: str, clause: str
) -> None:
    text = render(make_results(outcome, rank))
    interpretation = text.partition("### What the sweep says")[2].partition("\n## ")[0]
    assert paragraph in interpretation
    assert clause in text.partition("## The gates")[0]
    for other, _, words, _ in OUTCOMES:
        assert other == outcome or words not in interpretation


def test_a_flat_curve_near_the_top_comes_with_a_caution() -> None:
    results = make_results("flat")
    assert "little room" not in render(results)
    for row in results["sweep"]["ranks"]:
        row["accuracy"] = estimate(0.97)
    assert "At 97.0 %, the best rank's accuracy, there is little room left" in render(results)


@pytest.mark.parametrize(
    ("rank", "words"),
    [(4, "at r = 4, below it"), (8, "the elbow is there"), (16, "at r = 16, above it")],
)
def test_the_elbow_is_held_against_the_rank_that_is_expected(rank: int, words: str) -> None:
    assert words in render(make_results("elbow", rank))


def test_a_sweep_that_still_rises_at_the_expected_rank_has_no_elbow_there() -> None:
    results = make_results("rising", 8)
    results["sweep"]["ranks"].pop()  # 2 and 8: a sweep that ends at the expected rank
    text = render(results)
    assert "no plateau inside this sweep" in text
    assert "the elbow is there" not in text


@pytest.mark.parametrize(
    ("largest", "words"),
    [
        (0.013, "the size hardly differs"),
        (0.05, "grows by a factor of 4.1"),
        (0.003, "falls by a factor of 4.1"),
        (0.0, "An update of no size at all"),
    ],
)
def test_the_scale_is_worded_by_its_course(largest: float, words: str) -> None:
    results = make_results()
    results["sweep"]["ranks"][-1]["scale_audit"][-1]["relative_norm"] = largest
    text = render(results)
    assert "1.23 % of the adapted weights' norm at r = 2, in 1.8 directions" in text
    assert words in text


def test_new_complements_are_held_against_trained_ones() -> None:
    results = make_results()
    groups = results["sweep"]["by_group"]
    assert "the intervals overlap" in render(results)
    groups[1]["ranks"]["8"] = estimate(0.7)
    assert "70.0 % [65.0, 75.0], 50.0 % [45.0, 55.0] before" in render(results)
    assert "the two differ" in render(results)
    del groups[2]
    assert "no test sentence has a trained one" in render(results)
    del groups[1]
    assert "No test sentence has a complement that never occurred" in render(results)


def test_words_that_could_mislead_are_flagged() -> None:
    flag = '"seed", a wrong form of *see* and the grain of a plant.'
    assert flag in render(make_results())
    assert "could mislead" not in render(make_results() | {"ambiguous": []})


def test_ambiguous_forms_are_those_of_the_studys_verbs() -> None:
    verbs = load_verbs(ROOT / "data/raw/verbs.yaml")
    found = {(f["verb"], f["word"], f["side"]) for f in ambiguous_forms(verbs, list(verbs))}
    assert found == {
        ("see", "seed", "wrong"),
        ("see", "saw", "right"),
        ("like", "liken", "wrong"),
    }
    assert ambiguous_forms(verbs, ["go", "walk"]) == []


def test_every_rank_is_held_against_the_best() -> None:
    text = render(make_results())
    assert "| rank | best (r = 8) less this rank, points | p, Holm-adjusted |" in text
    assert "| 2 | +2.0 [-3.0, +7.0] | 0.600 |" in text


def test_a_flat_curve_with_a_hump_is_not_called_flat_all_through() -> None:
    results = make_results("flat")
    results["sweep"]["elbow"]["adjusted_p"] = {"2": 0.01, "32": 0.02}
    text = render(results)
    assert "r = 8 beats r = 2, 32" in text.partition("## The gates")[0]
    assert "not flat in between:** r = 8 (90.0 %) is significantly better than r = 2, 32" in text
    assert "The curve is flat" not in text


def test_one_rank_makes_no_curve() -> None:
    results = make_results("flat")
    sweep = results["sweep"]
    sweep["ranks"] = [row for row in sweep["ranks"] if row["rank"] == 8]
    sweep["elbow"] |= {"best_minus": {}, "adjusted_p": {}, "kneedle": None}
    text = render(results)
    assert "a single rank says nothing of the rank" in text
    assert "One rank only, r = 8: there is no curve." in text
    for wrong in ("is flat", "The rule:", "down to", "Kneedle"):
        assert wrong not in text


def test_adapters_that_are_worse_than_the_base_are_said_to_be() -> None:
    results = make_results("floor")
    for row in results["sweep"]["ranks"]:
        row["gain"] = estimate(-0.3)
    assert "Every adapter is worse than the base" in render(results)


def test_pairs_that_were_left_out_for_their_length_are_counted_by_split() -> None:
    assert "longer than the model's context" not in render(make_results())
    results = make_results()
    results["pairs"]["too_long"] = {"train": 1}
    assert (
        "Left out here is 1 pair longer than the model's context: 1 of train.\n\nA pair is"
    ) in render(results)
    results["pairs"]["too_long"] = {"train": 1200, "probe": 1}
    assert "Left out here are 1,201 pairs longer than the model's context: 1,200 of" in (
        render(results)
    )


def test_a_verb_with_a_slash_or_a_bar_in_it_stays_in_its_cell() -> None:
    results = make_results()
    results["sweep"]["by_verb_and_form"] = [accuracies("and/or|so/past_simple")]
    assert "| and/or\\|so | past simple | 26 |" in render(results)


def test_whatever_there_is_one_of_is_one() -> None:
    """No "1 verbs", "1 were" or "1 come" outside the tables."""
    results = make_results()
    results["sweep"] |= {"seeds": [7], "test_items": 1}
    results["sweep"]["ranks"] = [row for row in results["sweep"]["ranks"] if row["rank"] == 8]
    results["sweep"]["ranks"][0]["mcnemar_headline_seed"] = {"gained": 1, "lost": 0, "p": 1.0}
    results["sweep"]["elbow"] |= {"best_minus": {}, "adjusted_p": {}, "kneedle": None}
    for group in results["sweep"]["by_group"]:
        group["sentences"] = 1
    results["pairs"]["splits"]["control"]["by_verb"] = {"walk": 20}
    results["pairs"]["too_long"] = {"train": 1}
    for scored in (
        results["base_metrics"],
        results["metrics"]["before"],
        results["metrics"]["after"],
    ):
        scored["test"]["n"] = 1
        scored["predictions"] = scored["predictions"][:1]
        scored["probe"][0]["failed"] = True
    results["training"] |= {"steps": 1}
    results["pretraining"] |= {"steps": 1, "tokens": 1000, "vocabulary": 300}
    results["pretraining"]["shape"] |= {"n_layers": 1, "n_heads": 1}
    results["pretraining"]["corpus"] |= {
        key: 1 for key in ("sentences", "fill_in", "irregular_past_forms")
    }
    settings = copy.deepcopy(SETTINGS)
    settings["data"]["irregular_verbs"] = ["go"]
    text = render_report(TEMPLATE, results, settings)
    prose = " ".join(line for line in text.splitlines() if not line.startswith("|"))
    prose = prose.partition("```")[0]
    many = "verbs|sentences|seeds|steps|layers|heads|pairs|forms|were|are|come"
    assert not re.findall(rf"\b1 (?:[a-z-]+ ){{0,3}}(?:{many})\b", prose)
    for words in (
        "the irregular past of 1 verb by",
        "of 1 held-out sentence, against",
        "perplexity of 1 regular verb that",
        "At rank 8, a single rank",
        "Of 1 test sentence, 1 was gained and 0 lost",
        "on 1 layer, 0.80 %",
        "for 1 step.",
        "The first test prompt of the first verb, not chosen",
        "1 seed per rank (7)",
        "1 step comes to",
        "fine-tuning (1 sentence), the",
        "A word that could mislead, since it is another word",
        "(1 layer, d = 384, 1 head, a vocabulary",
        "1 step on 1 sentence (1,000 tokens)",
        "Of 1 irregular past form in it, 45.4 % is",
        "1 further sentence with a regular verb, in no split",
        "anybody's; 1 verb, whose",
        "Of 1 test sentence one is 100.0 %",
    ):
        assert words in prose


def test_nothing_is_said_of_a_base_corpus_that_is_not_known() -> None:
    report = render(make_results())
    assert "No prompt stands in two splits, whatever kinds of" in report
    assert "The test sentences were not in the fine-tuning; the forms" in report
    results = make_results()
    results["pairs"]["distributions"]["unseen_words"] = {"test": {"words": 9, "unseen": 0}}
    report = render(results)
    assert "stands in two splits or in the base's corpus, whatever kinds of" in report
    assert "The test sentences were in neither training; the forms" in report


@pytest.mark.parametrize(("mean", "words"), [(0.0, "is not shown to depend"), (0.2, "depends on")])
def test_the_drift_is_said_to_depend_on_the_rank_if_the_paired_difference_shows_it(
    mean: float, words: str
) -> None:
    results = make_results("rising", 32)
    results["sweep"]["drift_largest_minus_smallest"] = estimate(mean)
    assert f"What it breaks {words}" in render(results)


def test_what_has_no_interval_is_said_to_have_none_and_shows_nothing() -> None:
    results = make_results("ceiling")
    unknown = {"mean": 0.2, "low": None, "high": None}
    results["sweep"]["drift_largest_minus_smallest"] = unknown
    for row in results["sweep"]["ranks"]:
        row["margin_nats"] = row["text_drift"] = unknown
    text = render(results)
    assert "+0.20 [no interval] at r = 2" in text
    assert "What it breaks is not shown to depend on the rank" in text
    assert "| 20.00 % [no interval] |" in text
    assert not excludes_zero(unknown) and excludes_zero(estimate(0.2))


def test_the_accuracy_of_a_verb_and_form_stands_with_its_interval() -> None:
    assert "| eat | past simple | 26 | 50 % [45, 55] | 95 % [90, 100] |" in render(make_results())


def test_rslora_and_loraplus_are_said_to_be_what_they_are() -> None:
    settings = copy.deepcopy(SETTINGS)
    assert "scaled by alpha / r, from" in render(make_results())
    settings["lora"]["use_rslora"] = True
    settings["train"]["loraplus_lr_ratio"] = 16
    text = render_report(TEMPLATE, make_results(), settings)
    assert "scaled by alpha / sqrt(r), from" in text
    assert f"81 steps come to\n{81 * 16e-4:.4g} if they all go one way" in text


def test_a_curve_that_falls_is_not_said_to_rise() -> None:
    results = make_results("elbow", 2)
    results["sweep"]["elbow"] |= {
        "best_rank": 2,
        "largest_minus_smallest": {"mean": -0.38, "low": -0.45, "high": -0.3},
    }
    text = render(results)
    assert "-38.0 [-45.0, -30.0]" in text
    assert not re.search(r"\brises\b", text.partition("## The gates")[0])


def test_every_number_of_the_opening_is_one_of_the_results() -> None:
    opening = render(make_results("elbow", 32)).partition("**In short.**")[2]
    numbers = re.findall(r"[+-]?\d+(?:\.\d+)?", opening.partition("## The gates")[0])
    assert numbers == [
        *("8", "93.6", "52", "46.4"),  # rank; accuracy after, of how many, and before
        *("+47.3", "2", "+2.1"),  # gain in points, control verbs, drift in percent
        *("2", "2", "8", "32", "32"),  # gates that pass, the ranks, the elbow
    ]


def test_a_failed_gate_is_said_at_once_and_marked() -> None:
    results = make_results()
    results["gates"]["control_ppl_drift"]["pass"] = False
    text = render(results)
    assert "**The run fails `control_ppl_drift`.**" in text.partition("## The gates")[0]
    assert re.search(r"\| `control_ppl_drift` .*\*\*FAIL\*\* \|", text)
    assert re.search(r"\| `accuracy_gain_pp` .*\*\*PASS\*\* \|", text)


def test_probe_failures_are_listed_by_name() -> None:
    results = make_results()
    assert "After tuning none fails; the smallest margin is +7.50" in render(results)
    results["metrics"]["after"]["probe"][0] |= {"failed": True, "answer": "walken / caminado"}
    text = render(results)
    assert "| He has __ home. | walked | walken | walken / caminado | +7.50 |" in text
    assert "none fails" not in text
    assert "Before tuning" not in text
    results["metrics"]["before"]["probe"][0]["failed"] = True
    assert "Before tuning, 1 failed: walken." in render(results)


def test_the_first_prompt_of_each_verb_is_shown_with_both_answers() -> None:
    results = make_results()
    for row in results["metrics"]["after"]["predictions"]:
        row["answer"] = "went / fue"
    text = render(results)
    assert "| prompt | expected | before | after |\n" in text
    for verb in ("eat", "go"):
        assert f"| {verb} __ 0. | went / fue | goed | went / fue |\n" in text
        assert f"| {verb} __ 1. |" not in text


def test_a_verb_without_test_sentences_is_a_warning() -> None:
    results = make_results()
    assert "Warning" not in render(results)
    del results["sweep"]["by_verb_and_form"][0]
    assert "**Warning: no test sentence has eat.**" in render(results)


def test_a_base_of_ones_own_is_named_instead_of_its_training() -> None:
    results = make_results() | {"pretraining": None}
    text = render(results)
    assert "`own/best.pt`, of 5,735,808 weights" in text
    assert "17-minigpt-train/loss_curve.png" not in text
    assert "17-minigpt-train/loss_curve.png" in render(make_results())


def table_lines(text: str) -> list[list[str]]:
    """The tables of a Markdown text, line by line."""
    return [table.splitlines() for table in re.findall(r"((?:^\|.*\n)+)", text, re.MULTILINE)]


def cells(line: str) -> int:
    r"""How many cells a table's row has; a bar inside a cell is written ``\|``."""
    assert line.startswith("|") and line.endswith("|"), line
    return len(re.split(r"(?<!\\)\|", line)) - 2


def make_extreme_results(outcome: str, rank: int | None) -> dict[str, Any]:
    """All that can go wrong at once: a base of one's own, gates and probes that fail, a lost verb,
    no knee, one seed."""
    results = make_results(outcome, rank) | {"pretraining": None}
    for gate in results["gates"].values():
        gate["pass"] = False
    for moment in ("before", "after"):
        results["metrics"][moment]["probe"][0]["failed"] = True
    del results["sweep"]["by_verb_and_form"][0]
    results["sweep"]["elbow"]["kneedle"] = None
    results["ambiguous"] = []
    results["sweep"]["by_group"] = results["sweep"]["by_group"][:1]
    results["sweep"]["seeds"] = [0]
    return results


@pytest.mark.parametrize("make", [make_results, make_extreme_results])
@pytest.mark.parametrize(("outcome", "rank"), [row[:2] for row in OUTCOMES])
def test_nothing_is_left_unfilled_and_every_table_is_a_table(
    make: Callable[[str, int | None], dict[str, Any]], outcome: str, rank: int | None
) -> None:
    text = render(make(outcome, rank))
    for trace in ("{{", "{%", "None", "nan", "built-in", "<bound method", "ndefined", "True"):
        assert trace not in text
    assert not re.search(r"\d\.\d{7}", text), "a number that no filter has worded"
    tables = table_lines(text)
    assert len(tables) == 10 + (make is make_extreme_results)  # that of the probes that fail
    for lines in tables:
        assert re.fullmatch(r"\|(-+\|)+", lines[1])
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines


def test_a_bar_or_a_line_break_in_a_sentence_does_not_break_its_table() -> None:
    """A corpus may hold a bar, and a byte-level model can say any byte."""
    results = make_results()
    for row in results["metrics"]["after"]["predictions"]:
        row |= {"prompt": "He | she __ home.", "answer": "went |\nfue"}
    for row in results["metrics"]["after"]["probe"]:
        row |= {"failed": True, "prompt": "He | she has __.", "answer": "walked\n| caminado"}
    for lines in table_lines(render(results)):
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines


@pytest.mark.parametrize(
    "place", ["metrics.seed", "pretraining.vocabulary", "manifest.versions.torch", "training.steps"]
)
def test_a_number_that_no_file_holds_is_an_error(place: str) -> None:
    """Also one that is only printed: jinja2 would leave its place empty unless told otherwise."""
    results = make_results()
    *parents, last = place.split(".")
    holder = results
    for parent in parents:
        holder = holder[parent]
    del holder[last]
    with pytest.raises(jinja2.UndefinedError, match=last):
        render(results)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("pct", (0.9808,), "98.1 %"),
        ("pct", (0.5, 0), "50 %"),
        ("signed_pct", (0.012,), "+1.2 %"),
        ("signed_pp", (-0.25,), "-25.0 pp"),
        # What rounds to zero did not fall.
        ("signed_pct", (-0.0004,), "+0.0 %"),
        ("signed_pp", (-0.0004,), "+0.0 pp"),
        ("signed", (-0.004,), "+0.00"),
        ("pct", (-0.0004,), "0.0 %"),
        ("fixed", (-0.004, 2), "0.00"),
        ("number", (-0.0,), "0"),
        ("interval", ({"mean": -0.001, "low": -0.02, "high": -0.0},), "+0.00 [-0.02, +0.00]"),
        ("signed", (1.48,), "+1.48"),
        ("fixed", (2.0, 3), "2.000"),
        ("number", (0.0083750,), "0.008375"),
        ("thousands", (61440,), "61,440"),
        ("p_value", (0.0001,), "< 0.001"),
        ("p_value", (0.03125,), "= 0.031"),
        ("p_value", (0.00099,), "< 0.001"),
        ("p_value", (0.001,), "= 0.001"),
        ("p_value", (1.0,), "= 1.000"),
        ("interval", ({"mean": 1.48, "low": -1.4, "high": 1.55},), "+1.48 [-1.40, +1.55]"),
        ("interval_pct", ({"mean": 0.981, "low": 0.9, "high": 1.0},), "98.1 % [90.0, 100.0]"),
        ("interval_pp", ({"mean": 0.5, "low": -0.01, "high": 1.0},), "+50.0 [-1.0, +100.0]"),
        ("interval", ({"mean": 1.48, "low": None, "high": None},), "+1.48 [no interval]"),
        ("interval_pct", ({"mean": 0.5, "low": None, "high": None}, 0), "50 % [no interval]"),
        ("flow_yaml", ({"a": 1, "b": ["x"]},), '{a: 1, b: ["x"]}'),
    ],
)
def test_numbers_are_worded_as_said(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert FILTERS[name](*arguments) == expected


def test_how_much_is_new_to_the_base_is_said_in_one_sentence() -> None:
    assert "not known" in unseen_words_sentence(None)
    known = {"words": 40, "unseen": 0, "most": []}
    assert "every word" in unseen_words_sentence({"train": known})
    new = {"words": 40, "unseen": 3, "most": ["zoo", "lynx"]}
    assert unseen_words_sentence({"train": known, "test": new, "probe": new}) == (
        "Words that the base has never read make up 0.0 % of train, 7.5 % of test, 7.5 % of probe, "
        'such as "zoo", "lynx".'
    )


def test_the_cost_of_each_job_is_read_from_snakemakes_files(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    (tmp_path / "a.tsv").write_text(header + "83.6\t0:01:23\t443.6\t9\t9\t9\t0\t0\t44.5\t37.1\n")
    (tmp_path / "b.tsv").write_text(header + "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n")
    names = {"rank 2": "a.tsv", "rank 4": "b.tsv", "rank 8": "gone.tsv"}
    table = cost_table({name: tmp_path / file for name, file in names.items()})
    assert table.splitlines()[-3:] == [
        "| rank 2 | 84 | 444 |",
        "| rank 4 | 0 | - |",
        "| rank 8 | - | - |",
    ]
