"""Differences between finished studies of the same task, item by item and with intervals.

Two studies are paired if they have the same task and scoring, the same test items, and a rank and a
seed in common. Scores of different tasks are never subtracted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import pandas as pd

from minituner.errors import number_of
from minituner.pipeline.finished import FinishedStudy
from minituner.statistics.comparison import PairedComparison, item_scores
from minituner.statistics.intervals import Estimate, PairedBootstrap, StatisticsSettings
from minituner.statistics.p_values import holm

Measure = Literal["accuracy", "margin_nats"]
COLUMNS: dict[Measure, str] = {"accuracy": "correct", "margin_nats": "margin_nats"}  # of items.csv

ITEM_TEXTS = ["id", "prompt", "group", "form", "correct_form"]  # whatever the tokenizer
# Of several wrong forms items.csv has the one that the base finds the likeliest, so it tells items
# apart only where the hashes of the test items do not say that they are the same.
WRONG_FORM = ["wrong_form"]


@dataclass(frozen=True)
class Difference:
    """The second study's measure less the first's at one rank, over the same seeds and items."""

    rank: int
    estimate: Estimate
    p: float
    adjusted_p: float  # Holm, over all differences of all pairs
    text_drift: Estimate | None  # None over different bases, which have different perplexities


@dataclass(frozen=True)
class StudyPair:
    """Two studies and their differences; if they cannot be paired, the reason."""

    first: str  # the study's label
    second: str
    reason: str = ""
    seeds: list[int] = field(default_factory=list)  # those that both studies have
    confidence: float = 0.95
    differences: list[Difference] = field(default_factory=list)


def study_pairs(studies: Sequence[FinishedStudy], measure: Measure) -> list[StudyPair]:
    """Every two studies, in the order in which the studies are given."""
    pairs = [_pair(first, second, measure) for first, second in combinations(studies, 2)]
    found = [difference for pair in pairs for difference in pair.differences]
    adjusted = iter(holm([difference.p for difference in found]))
    return [
        replace(
            pair,
            differences=[replace(each, adjusted_p=next(adjusted)) for each in pair.differences],
        )
        for pair in pairs
    ]


def _pair(first: FinishedStudy, second: FinishedStudy, measure: Measure) -> StudyPair:
    seeds = sorted(set(first.summary["seeds"]) & set(second.summary["seeds"]))
    ranks = sorted(set(first.ranks) & set(second.ranks))
    settings = StatisticsSettings(**first.config["statistics"])
    reason = unpaired_reason(first, second)
    if not reason and not seeds:
        reason = "they have no seed in common"
    if not reason and not ranks:
        reason = "they have no rank in common"
    if reason:
        return StudyPair(first.label, second.label, reason)
    return StudyPair(
        first.label,
        second.label,
        seeds=seeds,
        confidence=settings.confidence,
        differences=[_difference(first, second, r, seeds, measure, settings) for r in ranks],
    )


def unpaired_reason(first: FinishedStudy, second: FinishedStudy) -> str:
    """Why the test items of two studies cannot be paired; empty if they can be."""
    if first.task_name != second.task_name:
        return f"they are of different tasks, {first.task_name} and {second.task_name}"
    scorings = [study.config["task"]["scoring"] for study in (first, second)]
    if scorings[0] != scorings[1]:
        return f"they are scored differently, by {scorings[0]} and by {scorings[1]}"
    same_hash = first.test_hashes & second.test_hashes
    columns = ITEM_TEXTS if same_hash else ITEM_TEXTS + WRONG_FORM
    items = [_test_texts(study, columns) for study in (first, second)]
    if items[0] != items[1]:
        shared = number_of(len(items[0] & items[1]), "test item")
        return (
            f"they are tested on different items: {shared} in common, "
            f"of {len(items[0]):,} and {len(items[1]):,}"
        )
    return ""


def _test_texts(study: FinishedStudy, columns: list[str]) -> set[tuple[str, ...]]:
    items = study.base_items
    texts = items.loc[items["split"] == "test", columns]
    return set(texts.itertuples(index=False, name=None))


def _difference(
    first: FinishedStudy,
    second: FinishedStudy,
    rank: int,
    seeds: list[int],
    measure: Measure,
    settings: StatisticsSettings,
) -> Difference:
    base = first.base_items
    tables = [_of_seeds(study.items(rank), seeds) for study in (first, second)]
    before, after = (item_scores(table, "test", base) for table in tables)
    column = COLUMNS[measure]
    gap = after[column] - before[column]
    bootstrap = PairedBootstrap(before.items["group"].tolist(), len(seeds), settings)
    estimate = bootstrap.difference(gap) if measure == "accuracy" else bootstrap.estimate(gap)
    drift = None
    if base.equals(second.base_items):
        comparison = PairedComparison(base, len(seeds), settings)
        drift = comparison.drift_difference(tables[1], tables[0])
    return Difference(rank, estimate, bootstrap.p_value(gap), 1.0, drift)


def _of_seeds(items: pd.DataFrame, seeds: list[int]) -> pd.DataFrame:
    """The rows of these seeds, in ascending order: both studies' rows are then in the same one."""
    return items[items["seed"].isin(seeds)].sort_values("seed", kind="stable")
