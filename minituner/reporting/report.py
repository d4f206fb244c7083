"""REPORT.md: results files in, Markdown out. Its sentences are in ``templates/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from minituner.data.verbs import Verb, load_verbs
from minituner.reporting.rendering import render_template
from minituner.reporting.verdicts import excludes_zero, sweep_verdict
from minituner.results import (
    AdapterTrainingSummary,
    Gates,
    HeadlineMetrics,
    Interval,
    LabelAccuracy,
    PairsSummary,
    Prediction,
    PretrainingSummary,
    SweepSummary,
    read_results,
)
from minituner.storage.files import read_json, write_text

WORDS_SHOWN = 8
PREDICTIONS_SHOWN = 5


class AmbiguousForm(TypedDict):
    """A form that is also another word."""

    verb: str
    word: str
    meaning: str
    side: str  # "right" or "wrong"


class Results(TypedDict):
    """The contents of the files that the report is made from."""

    pairs: PairsSummary
    sweep: SweepSummary
    metrics: HeadlineMetrics
    gates: Gates
    manifest: dict[str, Any]  # of the headline run
    training: AdapterTrainingSummary
    pretraining: PretrainingSummary | None  # None over a base of the user's own
    ambiguous: list[AmbiguousForm]


def write_report(
    files: Mapping[str, Any], config: Mapping[str, Any], base_path: str, output: str | Path
) -> None:
    """Read the results files, and write REPORT.md.

    Args:
        files: The paths of the results files by their name in :class:`Results`, of ``verbs.yaml``
            as ``verbs`` and of the ``template``; ``pretraining`` is empty where there is none.
        config: The parts of the config that the report quotes.
        base_path: The base checkpoint.
    """
    data = config["data"]
    results: Results = {
        "pairs": read_results(files["pairs"], PairsSummary),
        "sweep": read_results(files["sweep"], SweepSummary),
        "metrics": read_results(files["metrics"], HeadlineMetrics),
        "gates": read_json(files["gates"]),
        "manifest": read_json(files["manifest"]),
        "training": read_results(files["training"], AdapterTrainingSummary),
        "pretraining": (
            read_results(files["pretraining"], PretrainingSummary) if files["pretraining"] else None
        ),
        "ambiguous": ambiguous_forms(
            load_verbs(files["verbs"]), data["irregular_verbs"] + data["regular_verbs"]
        ),
    }
    settings = {**config, "base_path": base_path}
    write_text(output, render_report(files["template"], results, settings))


def render_report(template: str | Path, results: Results, settings: Mapping[str, Any]) -> str:
    """Fill the template.

    Args:
        settings: The parts of the config that the report quotes, and ``base_path``.

    Raises:
        jinja2.UndefinedError: The template uses a name that no results file holds.
    """
    return render_template(template, report_context(results, settings))


def report_context(results: Results, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The names that the template may use: the results, the settings and what follows from them."""
    sweep, metrics = results["sweep"], results["metrics"]
    before, after = metrics["before"], metrics["after"]
    tested = {row["label"].rpartition("/")[0] for row in sweep["by_group_and_form"]}
    return {
        **settings,
        **results,
        "before": before,
        "after": after,
        "ranks": [row["rank"] for row in sweep["ranks"]],
        "headline": next(row for row in sweep["ranks"] if row["rank"] == metrics["rank"]),
        "verdict": sweep_verdict(sweep),
        "complements": complements(sweep, str(metrics["rank"])),
        "predictions": first_predictions(before["predictions"], after["predictions"]),
        "new_words": new_words(results["pairs"]),
        "missing_verbs": [v for v in settings["data"]["irregular_verbs"] if v not in tested],
    }


def first_predictions(
    before: Sequence[Prediction], after: Sequence[Prediction]
) -> list[dict[str, str]]:
    """The first prompt of each of the first few verbs, with both answers."""
    chosen: dict[str, dict[str, str]] = {}
    for old, new in zip(before, after, strict=True):
        row = {"before": old["answer"], "after": new["answer"]}
        chosen.setdefault(
            new["group"], {"prompt": new["prompt"], "expected": new["expected"], **row}
        )
    return list(chosen.values())[:PREDICTIONS_SHOWN]


class Complements(TypedDict):
    """Test accuracy by whether the complement was seen in fine-tuning, at the headline rank."""

    new: LabelAccuracy | None
    trained: LabelAccuracy | None
    difference: Interval | None  # new minus trained; None unless there are both
    differ: bool


def complements(sweep: SweepSummary, rank: str) -> Complements:
    """The comparison of new complements with trained ones."""
    by_label = {row["label"]: row for row in sweep["by_label"]}
    found = sweep["generalization"]
    difference = None if found is None else found["difference"][rank]
    return {
        "new": by_label.get("new complement"),
        "trained": by_label.get("trained complement"),
        "difference": difference,
        "differ": difference is not None and excludes_zero(difference),
    }


def new_words(pairs: PairsSummary) -> list[str]:
    """The most frequent words that the base has never read, the first few of all splits'."""
    unseen = pairs["distributions"]["unseen_words"] or {}
    words = dict.fromkeys(word for split in unseen.values() for word in split["most"])
    return list(words)[:WORDS_SHOWN]


def ambiguous_forms(verbs: Mapping[str, Verb], lemmas: Sequence[str]) -> list[AmbiguousForm]:
    """The forms of these verbs that are also other words, with the other meaning."""
    return [
        {
            "verb": lemma,
            "word": word,
            "meaning": meaning,
            "side": "wrong"
            if word in (verbs[lemma].wrong_past, verbs[lemma].wrong_participle)
            else "right",
        }
        for lemma in lemmas
        for word, meaning in verbs[lemma].ambiguous.items()
    ]
