"""The ablations' report: arm summaries in, Markdown out. Its sentences are in ``templates/``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.data.groups import are_single
from minituner.reporting.formats import number
from minituner.reporting.rendering import render_template
from minituner.reporting.verdicts import excludes_zero
from minituner.reporting.words import words_of
from minituner.results import (
    ArmRow,
    ArmSummary,
    HeldOutSummary,
    Interval,
    PairsSummary,
    RankEffect,
    read_results,
)
from minituner.storage.files import write_text

SCALING_KEYS = {"lora.alpha", "lora.use_rslora"}


def write_ablations_report(
    template: str | Path,
    summaries: Mapping[str, str | Path],
    pairs: str | Path,
    settings: Mapping[str, Any],
    output: str | Path,
) -> None:
    """Read each arm's summary, and write the ablations' report.

    Args:
        summaries: The path of each arm's summary.
        pairs: The path of the pairs' summary, from ``tokenize``.
        settings: The parts of the config that the report quotes: ``task``, ``lora``, ``train`` and
            ``gates``.
    """
    arms = {arm: read_results(path, ArmSummary) for arm, path in summaries.items()}
    single = are_single(read_results(pairs, PairsSummary)["splits"])
    write_text(output, render_ablations(template, arms, settings, single_groups=single))


def render_ablations(
    template: str | Path,
    arms: Mapping[str, ArmSummary],
    settings: Mapping[str, Any],
    *,
    single_groups: bool = False,
) -> str:
    """Fill the template.

    Args:
        single_groups: Whether each group is one pair.

    Raises:
        jinja2.UndefinedError: The template uses a name that no summary holds.
    """
    sections = [
        {
            "arm": arm,
            "summary": summary,
            "verdict": arm_verdict(summary),
            "changes": [changes(row) for row in summary["rows"]],
        }
        for arm, summary in arms.items()
    ]
    words = words_of(settings["task"])
    return render_template(
        template,
        {"sections": sections, "words": words, "single_groups": single_groups, **settings},
    )


def changes(row: ArmRow) -> list[str]:
    """A run's changes to the study, as in the config: ``alpha: 4``; empty for the study's own."""
    return [
        f"base seed: {_plain(value)}"
        if key.startswith("base.")
        else f"{key.rpartition('.')[2]}: {_plain(value)}"
        for key, value in row["changes"].items()
        if not row["is_study"]
    ]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value)


# --- the verdict on an arm ----------------------------------------------------------------------


@dataclass(frozen=True)
class RankChange:
    """The change from the smallest to the largest rank under one setting."""

    name: str
    first: ArmRow
    last: ArmRow
    gap: RankEffect
    significant: bool
    differs: bool  # significantly from the study's change


@dataclass(frozen=True)
class Forgetting:
    """LoRA's forgetting compared with a full run's, by the paired difference of their drifts."""

    full: ArmRow
    difference: Interval  # the full run's drift minus the study's
    outcome: str  # "less", "more" or "unknown": how much LoRA forgets


@dataclass(frozen=True)
class ArmVerdict:
    """The outcome of one arm; ``templates/arms.j2`` has its sentences.

    ``comparison`` and ``body`` name macros there: how the runs compare with the study, and the
    paragraph for this kind of arm.
    """

    comparison: str  # "only_study", "no_study", "none_differ" or "some_differ"
    body: str  # "rank_changes", "full", "held_out", "choice" or "nothing"
    several_ranks: bool
    smallest_p: float | None  # Holm-adjusted, of the runs compared with the study
    differing: list[ArmRow]  # significantly, from the study
    rank_changes: list[RankChange]
    varies_scaling: bool
    has_contrasts: bool  # whether any setting's change over the ranks is compared with the study's
    study: ArmRow | None
    chosen: ArmRow | None
    versus_chosen: Forgetting | None
    full_gains_as_much: bool  # whether any full run gains as much as the study's
    versus_equal_gain: Forgetting | None  # with the one of those that forgets least
    front: list[str]
    size_limit: float
    held_out: HeldOutSummary | None
    held_out_outcome: str  # "better", "worse" or "unknown"


def arm_verdict(summary: ArmSummary) -> ArmVerdict:
    """Read the verdict off an arm's summary."""
    rows, held_out = summary["rows"], summary["held_out"]
    alpha = 1 - summary["confidence"]
    p_values = [(row, row["versus_study"]["adjusted_p"]) for row in rows if row["versus_study"]]
    differing = [row for row, p in p_values if p <= alpha]
    study = next((row for row in rows if row["is_study"]), None)
    chosen = _chosen_row(summary)
    full = [row for row in rows if row["rank"] is None]
    gaining = [row for row in full if study and row["gain"]["mean"] >= study["gain"]["mean"]]
    least = min(gaining, key=lambda row: row["text_drift"]["mean"], default=None)
    return ArmVerdict(
        comparison=_comparison(rows, compared=bool(p_values), differ=bool(differing)),
        body=_body(summary, bool(full), chosen),
        several_ranks=len({row["rank"] for row in rows} - {None}) > 1,
        smallest_p=min((p for _, p in p_values), default=None),
        differing=differing,
        rank_changes=_rank_changes(summary),
        varies_scaling=any(SCALING_KEYS & row["changes"].keys() for row in rows),
        has_contrasts=any(gap["versus_study"] for gap in summary["gaps"].values()),
        study=study,
        chosen=chosen,
        versus_chosen=_forgetting(chosen) if full else None,
        full_gains_as_much=bool(gaining),
        versus_equal_gain=_forgetting(least),
        front=sorted({run["run"] for run in summary["front"]}),
        size_limit=summary["size_limit"],
        held_out=held_out,
        held_out_outcome=_sign(held_out["gain"], "better", "worse") if held_out else "unknown",
    )


def _comparison(rows: Sequence[ArmRow], *, compared: bool, differ: bool) -> str:
    if all(row["is_study"] for row in rows):
        return "only_study"
    if not compared:
        return "no_study"
    return "some_differ" if differ else "none_differ"


def _body(summary: ArmSummary, has_full: bool, chosen: ArmRow | None) -> str:
    if summary["gaps"]:
        return "rank_changes"
    if has_full:
        return "full" if chosen else "nothing"
    if summary["held_out"] is not None:
        return "held_out"
    return "choice" if summary["front"] else "nothing"


def _rank_changes(summary: ArmSummary) -> list[RankChange]:
    """The changes over the ranks, in the order of the arm's runs."""
    found = []
    for name in dict.fromkeys(row["run"] for row in summary["rows"]):
        if (gap := summary["gaps"].get(name)) is not None:
            own = [row for row in summary["rows"] if row["run"] == name]
            contrast = gap["versus_study"]
            differs = contrast is not None and excludes_zero(contrast)
            found.append(RankChange(name, own[0], own[-1], gap, excludes_zero(gap), differs))
    return found


def _forgetting(full: ArmRow | None) -> Forgetting | None:
    """The comparison with a full run; None if its drift is not comparable with the study's."""
    versus = full["versus_study"] if full else None
    if full is None or versus is None or versus["text_drift"] is None:
        return None
    difference = versus["text_drift"]
    return Forgetting(full, difference, _sign(difference, "less", "more"))


def _sign(estimate: Interval, above: str, below: str) -> str:
    """``above`` or ``below``, by the side of zero on which an interval lies; else ``unknown``."""
    if not excludes_zero(estimate):
        return "unknown"
    return above if estimate["mean"] > 0 else below


def _chosen_row(summary: ArmSummary) -> ArmRow | None:
    chosen = summary["chosen"]
    if chosen is None:
        return None
    return next(
        row
        for row in summary["rows"]
        if row["run"] == chosen["run"] and row["rank"] == chosen["rank"]
    )
