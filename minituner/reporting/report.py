"""REPORT.md: results files in, Markdown out. Its sentences are in ``templates/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from minituner.data.verbs import Verb, load_verbs
from minituner.reporting import data_tables
from minituner.reporting.own_base import Base, base_of
from minituner.reporting.rendering import render_template
from minituner.reporting.verdicts import excludes_zero, sweep_verdict
from minituner.reporting.words import words_of
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
    UnseenWords,
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
    base: Base
    ambiguous: list[AmbiguousForm]


def write_report(
    files: Mapping[str, Any], config: Mapping[str, Any], base_path: str, output: str | Path
) -> None:
    """Read the results files, and write REPORT.md.

    Args:
        files: The paths of the results files by their name in :class:`Results`, of ``verbs.yaml``
            as ``verbs`` and of the ``template``; ``pretraining`` and ``verbs`` are empty where
            there are none.
        config: The parts of the config that the report quotes.
        base_path: The base: a checkpoint, or the folder or name of a transformers model.
    """
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
        "base": base_of(base_path),
        "ambiguous": _ambiguous_in(files["verbs"], config) if files["verbs"] else [],
    }
    write_text(output, render_report(files["template"], results, config))


def render_report(template: str | Path, results: Results, settings: Mapping[str, Any]) -> str:
    """Fill the template.

    Args:
        settings: The parts of the config that the report quotes.

    Raises:
        jinja2.UndefinedError: The template uses a name that no results file holds.
    """
    return render_template(template, report_context(results, settings))


def report_context(results: Results, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The names that the template may use: the results, the settings and what follows from them."""
    sweep, metrics, pairs = results["sweep"], results["metrics"], results["pairs"]
    before, after, rank = metrics["before"], metrics["after"], str(metrics["rank"])
    words = words_of(settings["task"])
    return {
        **settings,
        **results,
        "words": words,
        "before": before,
        "after": after,
        "ranks": [row["rank"] for row in sweep["ranks"]],
        "headline": next(row for row in sweep["ranks"] if row["rank"] == metrics["rank"]),
        "verdict": sweep_verdict(sweep),
        "complements": complements(sweep, rank),
        "predictions": first_predictions(before["predictions"], after["predictions"]),
        "splits": data_tables.splits_of(pairs),
        "forms": data_tables.forms_of(pairs, of_verbs=words.of_verbs),
        "forms_tested": any(not row["label"].endswith("/") for row in sweep["by_group_and_form"]),
        "groups": data_tables.groups_of(pairs),
        "labels": data_tables.label_rows(sweep["by_label"], rank),
        "group_rows": data_tables.group_rows(sweep["by_group_and_form"], rank),
        "match": data_tables.match_of(pairs),
        "unseen": unseen_words(pairs),
        "new_words": new_words(pairs),
        "missing_verbs": missing_verbs(sweep, settings) if words.of_verbs else [],
    }


def first_predictions(
    before: Sequence[Prediction], after: Sequence[Prediction]
) -> list[dict[str, str]]:
    """The first prompt of each of the first few groups, with both answers."""
    chosen: dict[str, dict[str, str]] = {}
    for old, new in zip(before, after, strict=True):
        row = {"before": old["answer"], "after": new["answer"]}
        # Without a group, each pair is its own.
        chosen.setdefault(
            new["group"] or new["prompt"],
            {"prompt": new["prompt"], "expected": new["expected"], **row},
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
        "new": by_label.get(data_tables.NEW_COMPLEMENT),
        "trained": by_label.get(data_tables.TRAINED_COMPLEMENT),
        "difference": difference,
        "differ": difference is not None and excludes_zero(difference),
    }


def unseen_words(pairs: PairsSummary) -> dict[str, UnseenWords] | None:
    """By split, how many of its words the base has not read; ``None`` if that is not known."""
    return pairs["distributions"]["unseen_words"] if "distributions" in pairs else None


def new_words(pairs: PairsSummary) -> list[str]:
    """The most frequent words that the base has never read, the first few of all splits'."""
    unseen = unseen_words(pairs) or {}
    words = dict.fromkeys(word for split in unseen.values() for word in split["most"])
    return list(words)[:WORDS_SHOWN]


def missing_verbs(sweep: SweepSummary, settings: Mapping[str, Any]) -> list[str]:
    """The verbs of the config that no test sentence has."""
    tested = {row["label"].rpartition("/")[0] for row in sweep["by_group_and_form"]}
    return [verb for verb in settings["data"]["irregular_verbs"] if verb not in tested]


def _ambiguous_in(verbs: str | Path, config: Mapping[str, Any]) -> list[AmbiguousForm]:
    data = config["data"]
    return ambiguous_forms(load_verbs(verbs), data["irregular_verbs"] + data["regular_verbs"])


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
