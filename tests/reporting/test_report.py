"""REPORT.md from its real templates: the words follow the outcome, the numbers the results."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jinja2
import jinja2.meta
import pytest
import yaml
from example_results import comparison_row, interval, report_results
from markdown import cells, prose_of, tables_of
from project import ROOT

from minituner.data.verbs import load_verbs
from minituner.reporting.rendering import environment
from minituner.reporting.report import Results, ambiguous_forms, render_report, write_report
from minituner.storage.files import write_json

TEMPLATES = ROOT / "minituner/reporting/templates"
SETTINGS: dict[str, Any] = {
    "lora": {
        "rank": 8,
        "alpha": 16,
        "dropout": 0.05,
        "target_modules": ["mlp.fc2"],
        "use_rslora": False,
        "use_dora": False,
    },
    "train": {"learning_rate": 1e-4, "epochs": 3, "loraplus_lr_ratio": 1},
    "compute": {"device": "cpu", "dtype": "float32", "max_tokens_per_batch": None},
    "data": {"irregular_verbs": ["go", "eat"], "regular_verbs": ["walk", "play"]},
    "task": {
        "name": "irregular verbs",
        "group_name": "verb",
        "wrong_name": "over-regularized form",
        "control_name": "regular verbs",
        "scoring": "fill_in",
    },
}


def render(results: Results, settings: dict[str, Any] | None = None) -> str:
    return render_report(TEMPLATES / "REPORT.md.j2", results, settings or SETTINGS)


def words(results: Results) -> str:
    """The report on one line, so that a line break in a template separates no words."""
    return " ".join(render(results).split())


def opening(text: str) -> str:
    return text.partition("**In short.**")[2].partition("## The gates")[0]


def interpretation(text: str) -> str:
    return text.partition("### What the sweep shows")[2].partition("## ")[0]


# --- the sentences on the sweep -----------------------------------------------------------------

OUTCOMES = [
    ("flat", None, "The curve is flat", "made no difference that this study can see"),
    ("elbow", 8, "The elbow is at r = 8", "the smallest rank that is not significantly worse"),
    ("rising", 32, "this sweep has no plateau", "still rises at the largest rank, r = 32"),
    ("floor", None, "No gain could be shown at any rank", "no gain over the base could be shown"),
    ("ceiling", None, "so there is no elbow to report. From", "cannot be told apart"),
]


@pytest.mark.parametrize(("outcome", "rank", "paragraph", "clause"), OUTCOMES)
def test_words_follow_the_outcome(
    outcome: str, rank: int | None, paragraph: str, clause: str
) -> None:
    text = words(report_results(outcome, rank)).replace("**", "")
    assert paragraph in interpretation(text)
    assert clause in opening(text.replace("In short.", "**In short.**"))
    for other, _, words_of_other, _ in OUTCOMES:
        assert other == outcome or words_of_other not in interpretation(text)


def test_every_outcome_has_a_paragraph_and_a_clause() -> None:
    """The macros that a verdict may name."""
    outcomes = environment(TEMPLATES).get_template("outcomes.j2").module
    for outcome in (*(row[0] for row in OUTCOMES), "single_rank", "hump", "harmful"):
        assert callable(getattr(outcomes, outcome))
        assert callable(getattr(outcomes, f"{outcome}_clause"))


def test_a_flat_curve_near_the_top_comes_with_a_caution() -> None:
    results = report_results("flat")
    assert "little room" not in words(results)
    for row in results["sweep"]["ranks"]:
        row["accuracy"] = interval(0.97)
    assert "The best rank's accuracy, 97.0 %, leaves little room to show" in words(results)


def test_a_curve_with_a_hump_is_not_called_flat() -> None:
    results = report_results("flat")
    results["sweep"]["elbow"]["adjusted_p"] = {"2": 0.01, "32": 0.02}
    text = words(results)
    assert "but r = 8 is better than r = 2, 32." in opening(text)
    assert "not flat in between:** r = 8 (90.0 %) is significantly better than r = 2, 32" in text
    assert "The curve is flat" not in text


def one_rank(results: Results) -> Results:
    """The same with rank 8 alone."""
    sweep = results["sweep"]
    sweep["ranks"] = [row for row in sweep["ranks"] if row["rank"] == 8]
    sweep["elbow"]["best_minus"] = {}
    sweep["elbow"]["adjusted_p"] = {}
    sweep["elbow"]["kneedle"] = None
    return results


def test_one_rank_makes_no_curve() -> None:
    text = words(one_rank(report_results("flat")))
    assert "At rank 8, there is nothing to compare: one rank cannot show an effect" in text
    assert "**Only one rank was trained, r = 8, so there is no curve.**" in text
    assert "At this rank the control perplexity changes by +2.00 %." in text
    assert "the update is 5.00 % of the adapted weights' norm at r = 8 (effective rank 1.5). |" in (
        text
    )
    for wrong in ("is flat", "A rule", "down to", "Kneedle", "from the smallest to"):
        assert wrong not in text


def test_adapters_worse_than_the_base() -> None:
    results = report_results("floor")
    for row in results["sweep"]["ranks"]:
        row["gain"] = interval(-0.3)
    text = words(results)
    assert "every adapter is worse than the base" in opening(text)
    assert "**Every adapter is worse than the base.** Even the best, r = 8, changes" in text


def test_a_curve_that_falls_does_not_rise() -> None:
    results = report_results("elbow", 2)
    results["sweep"]["elbow"]["best_rank"] = 2
    results["sweep"]["elbow"]["largest_minus_smallest"] = interval(-0.38, 0.07)
    text = words(results)
    assert "-38.0 [-45.0, -31.0]" in text
    assert not re.search(r"\brises\b", opening(text))


@pytest.mark.parametrize(
    ("outcome", "rank", "relation"),
    [
        ("elbow", 4, "the elbow of this sweep is below it, at r = 4."),
        ("elbow", 8, "the elbow of this sweep is there."),
        ("elbow", 16, "the elbow of this sweep is above it, at r = 16."),
        ("rising", 32, "it is too low here, since accuracy still rises up to r = 32."),
        ("rising", 8, "this sweep cannot say, since it has no plateau up to r = 8."),
        ("flat", None, "neither supports nor contradicts it, since no rank stands out."),
    ],
)
def test_the_rank_that_is_often_quoted(outcome: str, rank: int | None, relation: str) -> None:
    text = words(report_results(outcome, rank))
    assert relation in text.partition("As for r ≈ 8, the value often quoted for LoRA: ")[2]


@pytest.mark.parametrize(
    ("largest", "sentence"),
    [
        (0.051, "Its size hardly changes from the smallest to the largest rank"),
        (0.2, "Its size grows by a factor of 4.0 from the smallest to the largest rank"),
        (0.0125, "Its size falls by a factor of 4.0 from the smallest to the largest rank"),
        (0.0, "An update of size zero has changed nothing."),
    ],
)
def test_the_scale_is_worded_by_its_course(largest: float, sentence: str) -> None:
    results = report_results()
    results["sweep"]["ranks"][-1]["scale_audit"][-1]["relative_norm"] = largest
    text = words(results)
    assert "the update is 5.00 % of the adapted weights' norm at r = 2 (effective rank 1.5)" in text
    assert sentence in text


@pytest.mark.parametrize(
    ("mean", "sentence"),
    [
        (0.0, "There is no evidence that forgetting depends on the rank: the control"),
        (0.2, "Forgetting depends on the rank: the control"),
    ],
)
def test_drift_over_the_ranks(mean: float, sentence: str) -> None:
    results = report_results("rising", 32)
    results["sweep"]["drift_largest_minus_smallest"] = interval(mean)
    assert sentence in words(results)


def test_a_mean_without_an_interval_shows_nothing() -> None:
    results = report_results("ceiling")
    unknown = interval(0.2, None)
    results["sweep"]["drift_largest_minus_smallest"] = unknown
    for row in results["sweep"]["ranks"]:
        row["margin_nats"] = row["text_drift"] = unknown
    text = words(results)
    assert "+0.20 [no interval] nats at r = 2" in text
    assert "There is no evidence that forgetting depends on the rank" in text
    assert "| 20.00 % [no interval] |" in text


def test_every_rank_is_compared_with_the_best() -> None:
    text = render(report_results())
    assert "| rank | best (r = 8) minus this rank, points | p, Holm-adjusted |" in text
    assert "| 2 | +2.0 [-3.0, +7.0] | 0.600 |" in text
    assert "finds one at r = 8. It decides nothing" in " ".join(text.split())


# --- the other sentences ------------------------------------------------------------------------


def test_every_number_of_the_opening_is_one_of_the_results() -> None:
    results = report_results("elbow", 32)
    results["metrics"]["before"]["test"] |= {"accuracy": 0.4635}
    results["metrics"]["after"]["test"] |= {"accuracy": 0.936, "n": 53}
    results["metrics"]["after"]["control"]["drift"] = {"text": 0.0213, "target": 0.5}
    results["gates"]["accuracy_gain_pp"]["value"] = 47.26
    numbers = re.findall(r"[+-]?\d+(?:\.\d+)?", opening(render(results)))
    assert numbers == [
        *("8", "93.6", "53", "46.4"),  # rank; accuracy after, of how many, and before
        *("+47.3", "2", "+2.1"),  # gain in points, control verbs, drift in percent
        *("4", "2", "8", "32", "32"),  # gates that pass, the ranks, the elbow
    ]


def test_a_failed_gate_is_reported_first_and_marked() -> None:
    results = report_results()
    assert "All 4 gates pass." in opening(words(results))
    results["gates"]["control_ppl_drift"]["pass"] = False
    text = render(results)
    assert "**The run fails `control_ppl_drift`.**" in opening(text)
    assert re.search(r"\| `control_ppl_drift` .*\*\*FAIL\*\* \|", text)
    assert re.search(r"\| `accuracy_gain_pp` .*\*\*PASS\*\* \|", text)


def test_first_prompt_of_each_verb_with_both_answers() -> None:
    results = report_results()
    predictions = [
        {"group": verb, "prompt": f"{verb} __ {i}.", "expected": "went / fue", "answer": "goed"}
        for verb in ("eat", "go")
        for i in range(2)
    ]
    results["metrics"]["before"]["predictions"] = cast(Any, predictions)
    after = [row | {"answer": "went / fue"} for row in predictions]
    results["metrics"]["after"]["predictions"] = cast(Any, after)
    text = render(results)
    assert "each of the first 2 verbs" in text
    assert "| prompt | expected | before | after |\n" in text
    for verb in ("eat", "go"):
        assert f"| {verb} __ 0. | went / fue | goed | went / fue |\n" in text
        assert f"| {verb} __ 1. |" not in text


def test_the_scaling_and_the_learning_rate_are_those_of_the_settings() -> None:
    assert "scaled by alpha / r, from" in words(report_results())
    settings = copy.deepcopy(SETTINGS)
    settings["lora"]["use_rslora"] = True
    settings["train"]["loraplus_lr_ratio"] = 16
    results = report_results()
    results["training"]["steps"] = 81
    text = " ".join(render(results, settings).split())
    assert "scaled by alpha / sqrt(r), from" in text
    assert f"81 steps in the same direction add up to about {81 * 16e-4:.4g}." in text


def test_new_complements_are_compared_by_the_interval_of_their_difference() -> None:
    results = report_results()
    groups = results["sweep"]["by_label"]
    groups[1]["ranks"]["8"] = interval(0.7)
    text = words(results)
    assert "70.0 % [65.0, 75.0], compared with 50.0 % [45.0, 55.0] before tuning" in text
    no_evidence = "There is no evidence that new complements make a difference: accuracy on them "
    assert f"{no_evidence}differs by -1.0 [-6.0, +4.0] points." in text, (
        "though no intervals overlap"
    )
    results["sweep"]["generalization"] = {"difference": {"8": interval(-0.2)}}
    assert ". New complements make a difference: accuracy on them differs by -20.0" in words(
        results
    )
    results["sweep"]["generalization"] = None
    del groups[2]
    assert "No test sentence has a trained complement." in words(results)
    del groups[1]
    assert "No test sentence has a complement that is new to the fine-tuning" in words(results)


def test_accuracy_of_a_verb_and_form_has_its_interval() -> None:
    text = render(report_results())
    assert "| eat | past simple | 26 | 50 % [45, 55] | 90 % [85, 95] |" in text


def test_a_verb_without_test_sentences_is_a_warning() -> None:
    results = report_results()
    assert "Warning" not in render(results)
    del results["sweep"]["by_group_and_form"][0]
    assert "**Warning: no test sentence has eat.**" in render(results)


def test_ambiguous_forms_are_flagged() -> None:
    results = report_results()
    assert '"seed", a wrong form of *see* (also: the grain of a plant).' in words(results)
    results["ambiguous"] = []
    assert "could mislead" not in render(results)


def test_ambiguous_forms_are_those_of_the_verbs() -> None:
    verbs = load_verbs(ROOT / "data/raw/verbs.yaml")
    found = {(f["verb"], f["word"], f["side"]) for f in ambiguous_forms(verbs, list(verbs))}
    assert found == {
        ("see", "seed", "wrong"),
        ("see", "saw", "right"),
        ("like", "liken", "wrong"),
    }
    assert ambiguous_forms(verbs, ["go", "walk"]) == []


def test_pairs_that_are_too_long_are_counted_by_split() -> None:
    results = report_results()
    assert "longer than the model's context" not in render(results)
    results["pairs"]["too_long"] = {"train": 1}
    text = render(results)
    assert "Not included: 1 pair longer than the model's context (1 of train).\n\nA pair is" in text
    results["pairs"]["too_long"] = {"train": 1200, "probe": 1}
    text = render(results)
    assert "Not included: 1,201 pairs longer than the model's context (1,200 of train, 1 of" in text


def test_words_that_are_new_to_the_base() -> None:
    results = report_results()
    known = {"words": 40, "unseen": 0, "most": []}
    new = {"words": 40, "unseen": 3, "most": ["zoo", "lynx"]}
    text = words(results)
    assert "It is not known what the base has read" in text
    assert "No prompt occurs in two splits, even if" in text
    assert "The test sentences were not in the fine-tuning data, but their" in text
    results["pairs"]["distributions"]["unseen_words"] = cast(Any, {"train": known})
    text = words(results)
    assert "The base has read every word of these sentences" in text
    assert "occurs in two splits or in the base's corpus, even if" in text
    assert "The test sentences were in neither training corpus, but their" in text
    results["pairs"]["distributions"]["unseen_words"] = cast(
        Any, {"train": known, "test": new, "probe": new}
    )
    assert (
        "Words that the base has never read make up 0.0 % of train, 7.5 % of test, 7.5 % of probe, "
        'such as "zoo", "lynx".'
    ) in words(results)


def test_a_gpu_is_named_with_what_it_does_not_guarantee() -> None:
    results = report_results()
    assert "GPU" not in words(results)
    results["training"]["gpu"] = "NVIDIA H100"
    sentence = "It was computed on a GPU (NVIDIA H100): the batches, the starting values and the"
    assert sentence in words(results)
    assert 'compute: {device: "cpu", dtype: "float32", max_tokens_per_batch: null}' in render(
        results
    )


def test_another_base_is_named_instead_of_its_training() -> None:
    results = report_results()
    assert "17-minigpt-train/loss_curve.png" in render(results)
    results["pretraining"] = None
    results["training"]["base_parameters"] = 5735808
    text = words(results)
    assert "The config names its own base: `own/best.pt`, with 5,735,808 weights." in text
    assert "17-minigpt-train/loss_curve.png" not in text


def test_probe_failures_are_listed() -> None:
    results = report_results()
    row = {
        "prompt": "He has __ home.",
        "expected": "walked",
        "over_irregular": "walken",
        "answer": "walked / caminado",
        "margin_nats": 7.5,
        "failed": False,
    }
    metrics = results["metrics"]
    metrics["before"]["probe"] = [cast(Any, dict(row))]
    metrics["after"]["probe"] = [cast(Any, dict(row))]
    assert "After tuning, none fails; the smallest margin is +7.50 nats." in render(results)
    metrics["after"]["probe"][0]["failed"] = True
    metrics["after"]["probe"][0]["answer"] = "walken / caminado"
    text = render(results)
    assert "| He has __ home. | walked | walken | walken / caminado | +7.50 |" in text
    assert "none fails" not in text
    assert "Before tuning, 1 failed" not in text
    metrics["before"]["probe"][0]["failed"] = True
    assert "Before tuning, 1 failed: walken." in render(results)


def test_one_of_anything_is_singular() -> None:
    """No "1 verbs", "1 were" or "1 are" outside the tables."""
    results = one_rank(report_results())
    sweep, metrics = results["sweep"], results["metrics"]
    sweep["seeds"], sweep["test_items"] = [7], 1
    sweep["ranks"][0]["mcnemar_headline_seed"] = {"gained": 1, "lost": 0, "p": 1.0}
    for group in sweep["by_label"]:
        group["sentences"] = 1
    results["pairs"]["splits"]["control"]["by_group"] = {"walk": 20}
    results["pairs"]["too_long"] = {"train": 1}
    for scored in (metrics["before"], metrics["after"]):
        scored["test"]["n"] = 1
        scored["predictions"] = scored["predictions"][:1]
        scored["probe"] = scored["probe"][:1]
        scored["probe"][0]["failed"] = True
    results["training"]["steps"] = 1
    results["training"]["adapted_layers"] = ["blocks.0.mlp.fc2"]
    pretraining = cast(Any, results["pretraining"])
    pretraining |= {"steps": 1, "tokens": 1000, "vocabulary": 300}
    pretraining["shape"] |= {"n_layers": 1, "n_heads": 1}
    for key in ("sentences", "fill_in", "irregular_past_forms"):
        pretraining["corpus"][key] = 1
    settings = copy.deepcopy(SETTINGS)
    settings["data"]["irregular_verbs"] = ["go"]
    prose = prose_of(render(results, settings))
    many = "verbs|sentences|seeds|steps|layers|heads|pairs|forms|were|are|come|add"
    assert not re.findall(rf"\b1 (?:[a-z-]+ ){{0,3}}(?:{many})\b", prose)
    for sentence in (
        "the irregular past of 1 verb.",
        "of 1 held-out sentence, compared",
        "perplexity of 1 regular verb, which",
        "Of 1 test sentence, 1 was gained and 0 lost",
        "on 1 layer, ",
        "for 1 step.",
        "The first test prompt of the first verb, whatever",
        "with 1 seed (7)",
        "1 step in the same direction adds up to",
        "fine-tuning (1 sentence), accuracy",
        "One form is also another word, which",
        "(1 layer, d = 384, 1 head, a vocabulary of 300)",
        "1 step on 1 sentence (1,000 tokens), of which 1 is a fill-in sentence",
        "Of 1 irregular past form in this corpus, 45.4 % is",
        "The probe is 1 further sentence with a regular verb.",
        "natural text; 1 verb, whose",
        "With 1 test sentence, one sentence is 100.0 % of",
    ):
        assert sentence in prose


# --- the page as a whole ------------------------------------------------------------------------


def extreme_results(outcome: str, rank: int | None) -> Results:
    """Everything at once: another base, failing gates and probes, a verb without test sentences, no
    knee, one seed."""
    results = report_results(outcome, rank)
    results["pretraining"] = None
    for gate in results["gates"].values():
        gate["pass"] = False
    for moment in (results["metrics"]["before"], results["metrics"]["after"]):
        moment["probe"][0]["failed"] = True
    sweep = results["sweep"]
    del sweep["by_group_and_form"][0]
    sweep["elbow"]["kneedle"] = None
    sweep["by_label"] = sweep["by_label"][:1]
    sweep["generalization"] = None
    sweep["seeds"] = [0]
    results["ambiguous"] = []
    return results


HEADINGS = [  # the first cell of each table
    *("gate", "", "prompt", "rank", "rank", "rank", "test sentences with", "verb"),
    *("split", "frame"),
]


@pytest.mark.parametrize("make", [report_results, extreme_results])
@pytest.mark.parametrize(("outcome", "rank"), [row[:2] for row in OUTCOMES])
def test_nothing_is_left_unfilled_and_every_table_is_a_table(
    make: Callable[[str, int | None], Results], outcome: str, rank: int | None
) -> None:
    text = render(make(outcome, rank))
    for trace in ("{{", "{%", "None", "nan", "built-in", "<bound method", "ndefined", "True"):
        assert trace not in text
    assert not re.search(r"\d\.\d{7}", text), "a number without a filter"
    assert "\n\n\n" not in text
    tables = tables_of(text)
    probe = ["prompt"] if make is extreme_results else []
    assert [lines[0].split("|")[1].strip() for lines in tables] == HEADINGS + probe
    for lines in tables:
        assert re.fullmatch(r"\|(-+\|)+", lines[1])
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines


def test_a_bar_or_a_line_break_in_a_sentence_does_not_break_its_table() -> None:
    """A corpus may hold a bar, and a byte-level model can answer with any byte."""
    results = report_results()
    for row in results["metrics"]["after"]["predictions"]:
        row["prompt"], row["answer"] = "He | she __ home.", "went |\nfue"
    for probe in results["metrics"]["after"]["probe"]:
        probe["failed"], probe["prompt"] = True, "He | she has __."
        probe["answer"] = "walked\n| caminado"
    results["sweep"]["by_group_and_form"][0]["label"] = "and/or|so/past_simple"
    text = render(results)
    assert "| and/or\\|so | past simple | 26 |" in text
    for lines in tables_of(text):
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines


@pytest.mark.parametrize(
    "place",
    [
        *("metrics.seed", "pretraining.vocabulary", "manifest.versions.torch", "training.steps"),
        "sweep.elbow.largest_minus_smallest",  # used in an imported macro
    ],
)
def test_a_number_that_no_file_holds_is_an_error(place: str) -> None:
    """Also one that is only printed: jinja2 would leave its place empty by default."""
    results = report_results()
    *parents, last = place.split(".")
    holder: Any = results
    for parent in parents:
        holder = holder[parent]
    del holder[last]
    with pytest.raises(jinja2.UndefinedError, match=last):
        render(results)


def test_write_report_reads_the_files_of_the_rule(tmp_path: Path) -> None:
    results = report_results()
    files = {"verbs": str(ROOT / "data/raw/verbs.yaml"), "pretraining": []}
    files["template"] = str(TEMPLATES / "REPORT.md.j2")
    for name in ("pairs", "sweep", "metrics", "gates", "manifest", "training"):
        write_json(tmp_path / f"{name}.json", cast(Any, results)[name])
        files[name] = str(tmp_path / f"{name}.json")
    write_report(files, SETTINGS, "own/best.pt", tmp_path / "REPORT.md")
    results["pretraining"], results["ambiguous"] = None, []
    assert (tmp_path / "REPORT.md").read_text(encoding="utf-8") == render(results)


@pytest.mark.parametrize(
    ("template", "rule"), [("REPORT.md.j2", "render"), ("ABLATIONS.md.j2", "render_ablations")]
)
def test_templates_are_inputs_of_their_rule(template: str, rule: str) -> None:
    """An edit of any of them, imported ones too, must rerun it."""
    needed, waiting = set(), [template]
    jinja = environment(TEMPLATES)
    while waiting:
        name = waiting.pop()
        needed.add(f"minituner/reporting/templates/{name}")
        source = jinja.parse((TEMPLATES / name).read_text(encoding="utf-8"))
        waiting += map(str, jinja2.meta.find_referenced_templates(source))
    assert len(needed) == {"render": 5, "render_ablations": 2}[rule]
    rules = "".join((ROOT / f"rules/{file}.smk").read_text() for file in ("report", "ablations"))
    body = re.search(rf"^rule {rule}:\n((?:(?:    .*)?\n)+)", rules, re.MULTILINE)
    assert body is not None
    assert set(re.findall(r'"(minituner/reporting/templates/.+)"', body[1])) == needed


def test_rank_rows_come_from_the_sweep() -> None:
    results = report_results()
    results["sweep"]["ranks"][1] = comparison_row(8, accuracy=0.7, drift=0.03)
    row = next(line for line in render(results).splitlines() if line.startswith("| 8 | 2 | 8,000"))
    assert "| 70.0 % [40.0, 100.0] | +20.0 [+15.0, +25.0] |" in row
    assert "| 3.00 % [-2.00, 8.00] | 9.00 % [4.00, 14.00] |" in row


def test_config_holds_what_the_report_quotes() -> None:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for part in SETTINGS:
        assert SETTINGS[part].keys() <= config[part].keys()
