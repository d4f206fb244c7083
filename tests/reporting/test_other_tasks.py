"""The reports of a study that has nothing to do with verbs: their words are the task's own."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from example_results import (
    CAPITALS,
    arm_row,
    arm_summary,
    capitals_results,
    interval,
    report_results,
)
from markdown import cells, prose_of, tables_of
from project import ROOT

from minituner.reporting.ablations_report import render_ablations
from minituner.reporting.own_base import base_of
from minituner.reporting.rendering import environment
from minituner.reporting.report import Results, render_report, write_report
from minituner.storage.files import write_json

TEMPLATES = ROOT / "minituner/reporting/templates"
SETTINGS: dict[str, Any] = {
    "lora": {
        **{"rank": 8, "alpha": 16, "dropout": 0.05, "use_rslora": False, "use_dora": False},
        "target_modules": ["all-linear"],
    },
    "train": {"learning_rate": 1e-4, "epochs": 3, "loraplus_lr_ratio": 1},
    "compute": {"device": "cpu", "dtype": "float32"},
    "gates": {"adapter_size_ratio": 0.01},
    "task": CAPITALS,
}
OUTCOMES = [("flat", None), ("elbow", 8), ("rising", 32), ("floor", None), ("ceiling", None)]
WORDS_OF_VERBS = re.compile(
    r"regular|verb|learner|past|participle|went|goed|eated|walk|written|Spanish|English|conjugat"
    r"|complement|probe|sentence|goe?s\b",
    re.IGNORECASE,
)


def render(results: Results, **task: Any) -> str:
    settings = SETTINGS | {"task": CAPITALS | task}
    return render_report(TEMPLATES / "REPORT.md.j2", results, settings)


def words(results: Results, **task: Any) -> str:
    return prose_of(render(results, **task))


# --- studies of every shape ---------------------------------------------------------------------


def as_it_is(results: Results) -> None:
    """Groups, two control sets."""


def without_groups(results: Results) -> None:
    """Each group is one pair, and the control too."""
    for name, split in results["pairs"]["splits"].items():
        split["by_group"] = {f"{name} {i}": 1 for i in range(split["pairs"])}
    results["sweep"]["by_group_and_form"] = []


def of_texts(results: Results) -> None:
    """The control is plain texts, and was not compared; nothing is answered."""
    for model in (results["metrics"]["before"], results["metrics"]["after"]):
        control = cast(Any, model["control"])
        for key in ("accuracy", "accuracy_per_token", "margin_nats", "by_group_and_form"):
            del control[key]
        cast(Any, model["test"]).pop("greedy_accuracy")
        model["predictions"] = []
    del results["pairs"]["distributions"]


def with_forms(results: Results) -> None:
    """Pairs with forms and frames over a pretrained base whose corpus is known."""
    results["pretraining"] = report_results()["pretraining"]
    for split in results["pairs"]["splits"].values():
        split["by_form"] = {"old": split["pairs"] - 1, "new_name": 1}
    sweep = results["sweep"]
    sweep["by_label"][0]["label"] = "new_name"
    for row in sweep["by_group_and_form"]:
        row["label"] += "new_name"
    distributions = results["pairs"]["distributions"]
    distributions["control"]["frames"] = {"is|of": 40}
    distributions["unseen_words"] = {"train": {"words": 40, "unseen": 2, "most": ["Chad"]}}


def one_of_everything(results: Results) -> None:
    """One country, one pair, one rank, one seed."""
    sweep, metrics = results["sweep"], results["metrics"]
    sweep["ranks"] = [row for row in sweep["ranks"] if row["rank"] == 8]
    sweep["elbow"] |= {"best_minus": {}, "adjusted_p": {}, "kneedle": None, "best_rank": 8}
    sweep["seeds"], sweep["test_items"] = [7], 1
    sweep["ranks"][0]["mcnemar_headline_seed"] = {"gained": 1, "lost": 0, "p": 1.0}
    splits = results["pairs"]["splits"]
    for name in ("train", "val", "test"):
        splits[name]["by_group"] = {"Chad": 1}
    del sweep["by_group_and_form"][1:]
    results["pairs"]["too_long"] = {"train": 1}
    results["training"] |= {"steps": 1, "adapted_layers": ["q_proj"]}
    for model in (metrics["before"], metrics["after"]):
        model["test"]["n"] = 1
        model["predictions"] = model["predictions"][:1]


def failing(results: Results) -> None:
    """Gates that fail or say little."""
    for gate in results["gates"].values():
        gate["pass"] = False
    doubtful = cast(Any, results["gates"])
    doubtful["control_ppl_drift"]["doubt"] = "unknown"
    cast(Any, results["metrics"]["before"]["control"])["unknown_above"] = 1.5
    doubtful["control_ppl_drift/poems"]["doubt"] = "improved"


def one_control(results: Results) -> None:
    """No further control set."""
    del results["gates"]["control_ppl_drift/poems"]
    for model in (results["metrics"]["before"], results["metrics"]["after"]):
        del cast(Any, model)["controls"]
    for row in results["sweep"]["ranks"]:
        del cast(Any, row)["control_drifts"]


SHAPES = [as_it_is, without_groups, of_texts, with_forms, one_of_everything, failing, one_control]


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.__name__)
def shape(request: pytest.FixtureRequest) -> Callable[[Results], None]:
    return cast(Callable[[Results], None], request.param)


# --- whatever the shape -------------------------------------------------------------------------


@pytest.mark.parametrize(("outcome", "rank"), OUTCOMES)
def test_no_word_is_about_verbs(
    outcome: str, rank: int | None, shape: Callable[[Results], None]
) -> None:
    results = capitals_results(outcome, rank)
    shape(results)
    text = render(results)
    for about_the_base in ("on 6,000 sentences", "fill-in sentences"):
        text = text.replace(about_the_base, "")
    assert not WORDS_OF_VERBS.findall(text)


def test_sentences_are_only_mentioned_where_they_are_scored() -> None:
    text = render(capitals_results(), scoring="sentence")
    assert (
        "the sentence with the right answer is likelier than the one with another capital" in text
    )
    assert "| the same, per token of each sentence |" in text
    assert "of the whole sentence, with the right answer and with another capital." in text
    assert "token that ends it" not in text
    assert not {word for word in WORDS_OF_VERBS.findall(text) if word.lower() != "sentence"}
    assert "answers only" not in text


@pytest.mark.parametrize("countries", [1, 2, 200])
@pytest.mark.parametrize(("outcome", "rank"), OUTCOMES)
def test_nothing_is_left_unfilled_and_every_table_is_a_table(
    outcome: str, rank: int | None, countries: int, shape: Callable[[Results], None]
) -> None:
    results = capitals_results(outcome, rank, countries)
    shape(results)
    text = render(results)
    for trace in ("{{", "{%", "None", "nan", "built-in", "<bound method", "ndefined", "True", "  "):
        assert trace not in text.partition("```yaml")[0], trace
    assert not re.search(r"\d\.\d{7}", text), "a number without a filter"
    assert "\n\n\n" not in text
    assert not re.search(r" [.,;:)]", prose_of(text)), "a space before a mark"
    assert not re.search(r"[.,;]{2}", prose_of(text).replace("...", "")), "two marks"
    for lines in tables_of(text):
        assert re.fullmatch(r"\|(-+\|)+", lines[1])
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines
        assert len(lines) <= 42
    for heading in re.findall(r"^#.*\n(.*)$", text, re.MULTILINE):
        assert heading == "", "a heading without a blank line after it"


def test_one_of_anything_is_singular(shape: Callable[[Results], None]) -> None:
    results = capitals_results(countries=1)
    shape(results)
    one_of_everything(results)
    many = "countries|pairs|prompts|sentences|seeds|steps|layers|items|sets|rows|were|are|have|add"
    found = re.findall(rf"\b1 (?:[a-z-]+ ){{0,3}}(?:{many})\b", words(results))
    assert not found


# --- the sentences ------------------------------------------------------------------------------


def test_the_opening_is_about_the_task() -> None:
    text = words(capitals_results())
    assert "language model are trained on country capitals. This report says" in text
    assert "At rank 8 the right answer is likelier than another capital in" in text
    assert "% of 52 held-out pairs, compared" in text
    assert "The perplexity of rivers, which should not be forgotten, changed by" in text
    assert (
        "Where there are several wrong answers, the right one must be likelier than every" in text
    )


def test_intervals_resample_groups_or_pairs() -> None:
    results = capitals_results()
    text = words(results)
    assert (
        "resamples seeds and countries, each country with all its pairs (for the drift, the" in text
    )
    assert "\n## By country\n\nTest accuracy" in render(results)
    without_groups(results)
    text = words(results)
    assert "resamples seeds and pairs; [simulations]" in text
    assert "## By " not in render(results)
    assert "The first 3 test prompts, whatever the outcome" in text


def test_many_groups_are_summarized() -> None:
    results = capitals_results(countries=200)
    for i, row in enumerate(results["sweep"]["by_group_and_form"]):
        row["ranks"] = {"8": interval(i / 200)}
    text = words(results)
    assert (
        "These are the 40 of 200 rows with the lowest and the highest accuracy after tuning."
        in text
    )
    assert "The accuracies of the others lie between 10 % and 90 %." in text
    assert "hold 200 countries: Country 0, Country 1," in text
    assert "Country 19 and 180 more." in text
    assert "These are" not in words(capitals_results(countries=40))


@pytest.mark.parametrize(
    ("trained", "tested", "sentence"),
    [
        ("abc", "abc", ", but other pairs of each of their 3 countries were trained."),
        ("a", "a", ", but other pairs of their country were trained."),
        ("abc", "d", ", and neither was their country."),
        ("abc", "de", ", and neither were their 2 countries."),
        ("abc", "ad", ", and 1 of their 2 countries was not trained."),
        ("abc", "ade", ", and 2 of their 3 countries were not trained."),
    ],
)
def test_the_report_says_which_groups_are_new(trained: str, tested: str, sentence: str) -> None:
    results = capitals_results()
    splits = results["pairs"]["splits"]
    splits["train"]["by_group"] = dict.fromkeys(trained, 8)
    splits["test"]["by_group"] = dict.fromkeys(tested, 8)
    text = words(results)
    assert f"The test pairs were not in the fine-tuning data{sentence}" in text
    untested = len(set(trained) - set(tested))
    if untested == 1:
        assert "1 trained country has no test pair; nothing in this report is about it." in text
    elif untested:
        assert f"{untested} trained countries have no test pair; nothing in this report" in text
    else:
        assert "no test pair" not in text


def test_forms_and_frames_are_shown_if_there_are_any() -> None:
    results = capitals_results()
    assert "| split | pairs | countries | answer tokens |" in render(results)
    assert "| country | pairs | before | after |" in render(results)
    assert "| frame |" not in render(results)
    assert "words long on average and those of the task 5.50." in words(results)
    with_forms(results)
    text = render(results)
    assert "| split | pairs | new name | old | countries | answer tokens |" in text
    assert "## By country and form" in text
    assert "| country | form | pairs | before | after |" in text
    assert "| Country 0 | new name | 2 | 50 % [45, 55] | 90 % [85, 95] |" in text
    assert "| frame | task pairs | control pairs |" in text
    assert "| test pairs with | pairs | before | after, rank 8 |" in text
    assert "(5,735,808 weights" not in text


def test_control_sets_have_a_table_if_there_are_several() -> None:
    results = capitals_results()
    text = render(results)
    assert "| poems | 52 | 2.1000 | 2.1840 | +4.0 % | +10.0 % | **PASS** |" in text
    assert "| rank | rivers | poems |" in text
    assert "| 8 | 2.00 % [-3.00, 7.00] | 3.00 % [-2.00, 8.00] |" in text
    assert "Forgetting is measured on rivers and on poems; the model" in words(results)
    one_control(results)
    assert "Control sets" not in render(results)
    assert "Forgetting is measured on rivers; the model" in words(results)


def test_a_control_of_texts_has_no_answers() -> None:
    results = capitals_results()
    assert "| control perplexity, answers only (stricter) |" in render(results)
    assert "| drift, answers |" in render(results)
    of_texts(results)
    text = render(results)
    assert "answers only (stricter)" not in text and "| drift, answers |" not in text
    assert "What the model answers" not in text and "greedy" not in text


def test_a_gate_that_says_little_is_explained() -> None:
    results = capitals_results()
    assert "says little" not in render(results)
    failing(results)
    text = words(results)
    assert (
        "`control_ppl_drift` says little about forgetting.** The base hardly knows rivers" in text
    )
    assert "`control_ppl_drift/poems` says little about forgetting.** Tuning changed the" in text


def test_the_base_is_named_with_its_architecture() -> None:
    results = capitals_results()
    assert "`models/llama`, a transformers model (`LlamaForCausalLM`) with 5,735,808" in words(
        results
    )
    results["base"]["architecture"] = None
    assert "`models/llama`, with 5,735,808 weights." in words(results)
    assert "The adapters are on every linear layer: 3 layers." in words(results)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_report_names_the_precision(dtype: str) -> None:
    settings = SETTINGS | {"compute": {"device": "cpu", "dtype": dtype}}
    text = prose_of(render_report(TEMPLATES / "REPORT.md.j2", capitals_results(), settings))
    assert ("The base's weights were rounded to bfloat16" in text) == (dtype == "bfloat16")


def test_the_task_can_be_reproduced_from_the_report() -> None:
    assert 'task: {name: "country capitals", group_name: "country",' in render(capitals_results())


def test_write_report_needs_no_verbs(tmp_path: Path) -> None:
    """A folder's config names its architecture."""
    results = capitals_results()
    files: dict[str, Any] = {"verbs": [], "pretraining": []}
    files["template"] = str(TEMPLATES / "REPORT.md.j2")
    for name in ("pairs", "sweep", "metrics", "gates", "manifest", "training"):
        write_json(tmp_path / f"{name}.json", cast(Any, results)[name])
        files[name] = str(tmp_path / f"{name}.json")
    write_json(tmp_path / "config.json", {"architectures": ["OPTForCausalLM"]})
    write_report(files, SETTINGS, str(tmp_path), tmp_path / "REPORT.md")
    results["base"] = {"path": str(tmp_path), "architecture": "OPTForCausalLM"}
    assert (tmp_path / "REPORT.md").read_text(encoding="utf-8") == render(results)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"architectures": []}'])
def test_an_architecture_that_is_not_known(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert base_of(str(tmp_path)) == {"path": str(tmp_path), "architecture": None}


# --- the verb study over a base of the user's own ------------------------------------------------


def verb_study(results: Results, **task: Any) -> str:
    """The prose of a report on pairs of the verb corpus, in the words of the default config."""
    words = {"name": "irregular verbs", "group_name": "verb", "scoring": "fill_in"}
    words |= {"wrong_name": "over-regularized form", "control_name": "regular verbs"}
    data = {"irregular_verbs": ["go", "eat"], "regular_verbs": ["walk", "play"]}
    settings = SETTINGS | {"task": words | task, "data": data}
    settings["lora"] = SETTINGS["lora"] | {"target_modules": ["q_proj"]}
    return prose_of(render_report(TEMPLATES / "REPORT.md.j2", results, settings))


def test_a_verb_study_over_another_base_does_not_speak_of_the_default_one() -> None:
    results = report_results()
    own = ("learner", "over-regularized on purpose", "The default, `mlp.fc2`", "from one seed")
    assert all(words in verb_study(results) for words in own)
    results["pretraining"] = None
    text = verb_study(results)
    assert not any(words in text for words in own)
    assert "of a language model teach it the irregular past of 2 verbs." in text


def test_a_verb_study_that_scores_whole_sentences() -> None:
    text = verb_study(report_results(), scoring="sentence")
    assert (
        "At rank 8 the sentence with the right form is likelier than the one with the over-" in text
    )
    assert "of the whole sentence, with the right and with the over-regularized form." in text
    assert "whole sentence" not in verb_study(report_results())


def test_a_verb_study_with_a_further_control_set() -> None:
    results, other = report_results(), capitals_results()
    results["gates"] = other["gates"]
    for moment in ("before", "after"):
        controls = cast(Any, other["metrics"])[moment]["controls"]
        cast(Any, results["metrics"])[moment]["controls"] = controls
    for row, shown in zip(results["sweep"]["ranks"], other["sweep"]["ranks"], strict=True):
        cast(Any, row)["control_drifts"] = cast(Any, shown)["control_drifts"]
    assert "### Control sets Perplexity over the whole text" in verb_study(results)


def test_both_files_have_the_same_macros() -> None:
    verbs, pairs = (
        {name for name in vars(environment(TEMPLATES).get_template(f"{file}.j2").module)}
        for file in ("verbs", "pairs")
    )
    assert verbs == pairs and "intro" in verbs


# --- the ablations ------------------------------------------------------------------------------


def ablations(*, single_groups: bool = False, **task: Any) -> str:
    study = arm_row(8, run="study", is_study=True)
    held_out = arm_summary([study, arm_row(8, run="Chad", changes={"train.epochs": 6})])
    pooled = interval(0.5)
    held_out["front"] = []
    held_out["held_out"] = {
        **{"sentences": 6, "base": pooled, "left_out": pooled, "gain": pooled, "study": None}
    }
    arms = {"targets": arm_summary([study, arm_row(8, run="v")]), "countries": held_out}
    settings = SETTINGS | {"task": CAPITALS | task}
    template = TEMPLATES / "ABLATIONS.md.j2"
    return render_ablations(template, arms, settings, single_groups=single_groups)


def test_the_ablations_are_about_the_task() -> None:
    text = ablations()
    found = set(WORDS_OF_VERBS.findall(text))
    assert not found
    assert "## One country left out: does anything change beyond what was trained?" in text
    assert "All left-out countries together (6 pairs, each scored by the run" in text
    assert "that was not trained on its country)" in text
    assert "over seeds and over countries with all their\npairs; for a single country, over" in text
    assert "over seeds and over pairs. p-values" in ablations(single_groups=True)
    for lines in tables_of(text):
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines


def test_an_arm_of_another_name_keeps_it() -> None:
    assert "\n## countries\n" in ablations(group_name="city")


def test_the_rows_of_a_report_do_not_change_the_results() -> None:
    results = capitals_results(countries=100)
    before = copy.deepcopy(results)
    render(results)
    assert results == before
