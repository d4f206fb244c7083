"""The ablations' report: the arms' summaries in, Markdown out. The words follow the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minituner.errors import number_of
from minituner.reporting.report import (
    excludes_zero,
    fill,
    interval,
    interval_pp,
    number,
    p_number,
    p_value,
    pct,
    signed_pct,
)

TITLES = {
    "scaling": "The scaling: what part of a rank's effect is the learning rate's?",
    "targets": "The layers: which to adapt?",
    "full": "Full fine-tuning: what does the frozen base buy?",
    "variants": "LoRA's descendants",
    "epochs": "More training",
    "verbs": "A verb left out: does anything beyond the trained forms move?",
    "bases": "Other bases",
}


def render_ablations(
    template: str | Path, arms: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> str:
    """Fill the template.

    Args:
        arms: Each arm's summary, as ``compare`` wrote it.
        settings: The parts of the config that the report quotes: ``lora``, ``train``, ``gates``.

    Raises:
        jinja2.UndefinedError: The template asks for something that no summary holds.
    """
    sections = [
        {
            "name": arm,
            "title": TITLES.get(arm, arm),
            "words": interpret_arm(summary),
            "rows": [row | {"differs": differs(row)} for row in summary["rows"]],
            **{key: summary[key] for key in ("chosen", "gaps", "confidence")},
        }
        for arm, summary in arms.items()
    ]
    return fill(template, {"sections": sections, **settings})


def differs(row: Mapping[str, Any]) -> str:
    """What a run changes of the study, in code: ``alpha: 4``."""
    if row["is_study"]:
        return "the study"
    changes = [
        "`base seed: " + _plain(value) + "`"
        if key.startswith("base.")
        else f"`{key.rpartition('.')[2]}: {_plain(value)}`"
        for key, value in row["changes"].items()
    ]
    return ", ".join((["all weights"] if row["rank"] is None else []) + changes)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value)


# --- the words, by what an arm is and how it came out -------------------------------------------


def interpret_arm(summary: Mapping[str, Any]) -> str:
    """A paragraph on one arm: what differs from the study, and what its kind of arm can tell."""
    rows = summary["rows"]
    parts = [_versus_study(rows, 1 - summary["confidence"])]
    if summary["gaps"]:
        parts.append(_over_ranks(summary))
    elif any(row["rank"] is None for row in rows):
        parts.append(_full(summary))
    elif summary["held_out"] is not None:
        parts.append(_held_out(summary["held_out"]))
    elif summary["front"]:
        parts.append(_choice(summary))
    return " ".join(part for part in parts if part)


def label(row: Mapping[str, Any], with_rank: bool = False) -> str:
    """A run's name, with its rank where an arm has several."""
    if with_rank and row["rank"] is not None:
        return f"`{row['run']}` at r = {row['rank']}"
    return f"`{row['run']}`"


def _versus_study(rows: Sequence[Mapping[str, Any]], alpha: float) -> str:
    compared = [row for row in rows if row["versus_study"] is not None]
    if all(row["is_study"] for row in rows):
        return "Every run of this arm comes out as one of the study's."
    if not compared:
        return "This arm holds no run of the study to be compared with."
    several = len({row["rank"] for row in rows} - {None}) > 1
    apart = [row for row in compared if row["versus_study"]["adjusted_p"] <= alpha]
    if not apart:
        smallest = min(row["versus_study"]["adjusted_p"] for row in compared)
        return (
            "No run's accuracy differs from the study's by more than chance allows (smallest "
            f"Holm-adjusted p: {p_number(smallest)})."
        )
    said = "; ".join(
        f"{label(row, several)} by {interval_pp(row['versus_study'])} points "
        f"(p {p_value(row['versus_study']['adjusted_p'])})"
        for row in apart
    )
    return f"Significantly different from the study in accuracy: {said}."


def _over_ranks(summary: Mapping[str, Any]) -> str:
    """How accuracy and the update's size change from the smallest to the largest rank, setting by
    setting, and what that says where the settings differ in the scaling."""
    sentences = []
    for name, gap in summary["gaps"].items():
        rows = [row for row in summary["rows"] if row["run"] == name]
        first, last = rows[0], rows[-1]
        verdict = "" if excludes_zero(gap) else " (not significant)"
        small, large = (pct(row["scale_audit"][-1]["relative_norm"], 2) for row in (first, last))
        sentences.append(
            f"Under `{name}` accuracy changes from r = {first['rank']} to r = {last['rank']} by "
            f"{interval_pp(gap)} points{verdict}, while the update goes from {small} to {large} of "
            "the weights' norm."
        )
    if any({"lora.alpha", "lora.use_rslora"} & row["changes"].keys() for row in summary["rows"]):
        sentences.append(_rank_or_scale(summary["gaps"]))
    return " ".join(sentences)


def _rank_or_scale(gaps: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the scaling changes what the rank seems to do."""
    contrasts = {name: gap["versus_study"] for name, gap in gaps.items() if gap["versus_study"]}
    apart = {name: contrast for name, contrast in contrasts.items() if excludes_zero(contrast)}
    if not contrasts:
        return ""
    if not apart:
        return (
            "Those changes are not shown to depend on the scaling: no setting's differs from the "
            "study's by an interval that excludes zero."
        )
    said = ", ".join(
        f"under `{name}` that change differs from the study's by {interval_pp(contrast)} points"
        for name, contrast in apart.items()
    )
    return (
        f"What the rank seems to do depends on the scaling: {said}. That part of a rank's effect "
        "is one of the scaling, which acts as a learning rate."
    )


def _full(summary: Mapping[str, Any]) -> str:
    """What LoRA's frozen base buys, against the full run that the validation split chose."""
    rows = summary["rows"]
    chosen = _chosen_row(summary)
    study = next((row for row in rows if row["is_study"]), None)
    if chosen is None:
        return ""
    text = (
        f"Of the full runs the validation split chose {label(chosen)}: it gains "
        f"{interval_pp(chosen['gain'])} points, the control perplexity changes by "
        f"{signed_pct(chosen['text_drift']['mean'], 2)} "
        f"({signed_pct(chosen['target_drift']['mean'], 2)} on the answers), the farthest base "
        f"weight moved by {number(chosen['base_max_abs_diff'])}, and what must be stored is "
        f"{pct(chosen['size_ratio'])} of the base."
    )
    if study is None:
        return text
    return (
        f"{text} LoRA at r = {study['rank']} gains {interval_pp(study['gain'])} points with a "
        f"drift of {signed_pct(study['text_drift']['mean'], 2)} "
        f"({signed_pct(study['target_drift']['mean'], 2)}), no base weight moved and "
        f"{pct(study['size_ratio'], 2)} stored. What the frozen base buys against it: a smaller "
        f"file, a base that is still there, and {_forgetting(chosen)}.{_at_equal_gain(rows, study)}"
    )


def _forgetting(full: Mapping[str, Any]) -> str:
    """How LoRA's forgetting is to a full run's, by the paired interval of the difference."""
    difference = full["versus_study"]["text_drift"]
    points = f"the drifts differ by {interval(difference, 2, 100)} points"
    if not excludes_zero(difference):
        return f"no difference in forgetting that could be shown ({points})"
    if difference["mean"] > 0:
        return f"less forgetting ({points})"
    return f"not less forgetting but more ({points})"


def _at_equal_gain(rows: Sequence[Mapping[str, Any]], study: Mapping[str, Any]) -> str:
    """The fairer comparison: the full run that forgets least of those that learn no less."""
    no_less = [
        row for row in rows if row["rank"] is None and row["gain"]["mean"] >= study["gain"]["mean"]
    ]
    if not no_less:
        return " No full run gains as much as LoRA does."
    least = min(no_less, key=lambda row: float(row["text_drift"]["mean"]))
    return (
        f" Of the full runs that gain no less on the test split, {label(least)} forgets least, "
        f"{signed_pct(least['text_drift']['mean'], 2)} "
        f"({signed_pct(least['target_drift']['mean'], 2)} on the answers): against that one LoRA "
        f"shows {_forgetting(least)}."
    )


def _choice(summary: Mapping[str, Any]) -> str:
    chosen = _chosen_row(summary)
    front = _list({row["run"] for row in summary["front"]})
    text = f"Not beaten in both gain and drift: {front}."
    if chosen is None:
        return (
            f"{text} No run stores less than {pct(summary['size_limit'])} of the base, so none "
            "may be chosen."
        )
    return (
        f"{text} The validation split chooses {label(chosen)} among the runs that store less than "
        f"{pct(summary['size_limit'])} of the base."
    )


def _held_out(held_out: Mapping[str, Any]) -> str:
    gain = held_out["gain"]
    if gain["low"] > 0:
        verdict = "so something beyond the trained forms moves, and moves the right way"
    elif gain["high"] < 0:
        verdict = "so a verb that is left out gets worse"
    else:
        verdict = "so nothing beyond the trained forms moves that this study could see"
    study = held_out["study"]
    beside = "" if study is None else f"; trained on, they reach {pct(study['mean'])}"
    sentences = number_of(held_out["sentences"], "sentence")
    return (
        f"All left-out verbs together ({sentences}, each judged by the run that did not train on "
        f"its verb): {pct(held_out['left_out']['mean'])} right, "
        f"{pct(held_out['base']['mean'])} before, a change of {interval_pp(gain)} points{beside}: "
        f"{verdict}."
    )


def _chosen_row(summary: Mapping[str, Any]) -> Mapping[str, Any] | None:
    chosen = summary["chosen"]
    if chosen is None:
        return None
    row: Mapping[str, Any] = next(
        row
        for row in summary["rows"]
        if row["run"] == chosen["run"] and row["rank"] == chosen["rank"]
    )
    return row


def _list(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
