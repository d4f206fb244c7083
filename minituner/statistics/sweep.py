"""The summary of the rank sweep: what each rank gained and what it broke, and the elbow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from minituner.data.groups import are_single
from minituner.data.spelling import comparable
from minituner.results import (
    Generalization,
    LabelAccuracy,
    PairsSummary,
    SweepSummary,
    TunedMetrics,
    read_results,
)
from minituner.statistics.comparison import ItemScores, PairedComparison, item_scores
from minituner.statistics.elbow import find_elbow
from minituner.statistics.intervals import Array, PairedBootstrap, StatisticsSettings
from minituner.storage.items import read_items

NEW, TRAINED, NONE = "new complement", "trained complement", "no complement"


def summarize_files(
    base_items: str | Path,
    metrics: Sequence[str | Path],
    items: Sequence[str | Path],
    pairs: str | Path,
    settings: StatisticsSettings,
) -> SweepSummary:
    """:func:`summarize` from the files' paths.

    Args:
        base_items: The base's items.csv.
        metrics: Each rank's metrics.json.
        items: Each rank's items.csv, in the same order.
        pairs: The summary.json of ``tokenize``.

    Raises:
        UserError: A file cannot be read, or is not of its kind.
    """
    splits = read_results(pairs, PairsSummary)["splits"]
    return summarize(
        read_items(base_items),
        [read_results(path, TunedMetrics) for path in metrics],
        [read_items(path) for path in items],
        settings,
        splits["train"]["complements"],
        by_group=not are_single(splits),
    )


def summarize(
    base_items: pd.DataFrame,
    metrics: Sequence[TunedMetrics],
    items: Sequence[pd.DataFrame],
    settings: StatisticsSettings,
    trained_complements: Collection[str] = (),
    *,
    by_group: bool = True,
) -> SweepSummary:
    """Put the evaluations of all ranks and seeds into one table with intervals, and the elbow.

    Args:
        base_items: The base's scores, one row per item, as ``evaluate_base`` wrote them.
        metrics: Each rank's metrics, as ``evaluate`` wrote them.
        items: Each rank's scores, one row per item and seed, in the same order.
        trained_complements: Every complement of the training prompts.
        by_group: Whether to compute the accuracy by group and form: not of groups of one pair.

    Raises:
        ValueError: A model has no rank, since all its weights were trained.
    """
    by_rank: dict[int, tuple[TunedMetrics, pd.DataFrame]] = {}
    for rank_metrics, rank_items in zip(metrics, items, strict=True):
        if rank_metrics["rank"] is None:
            raise ValueError("full fine-tuning has no rank, and is not part of a rank sweep")
        by_rank[rank_metrics["rank"]] = rank_metrics, rank_items
    ranks = sorted(by_rank)
    seeds = [run["seed"] for run in by_rank[ranks[0]][0]["runs"]]
    comparison = PairedComparison(base_items, len(seeds), settings)
    test, bootstrap = comparison.base["test"], comparison.bootstrap["test"]
    correct = {r: item_scores(by_rank[r][1], "test", base_items)["correct"] for r in ranks}
    smallest, largest = by_rank[ranks[0]][1], by_rank[ranks[-1]][1]
    complements = complement_labels(test.items["complement"], trained_complements)
    groups_and_forms = test.items["group"] + "/" + test.items["form"] if by_group else ()
    return {
        "test_items": len(test.items),
        "seeds": seeds,
        "confidence": settings.confidence,
        "base_accuracy": bootstrap.accuracy(test["correct"]).as_json(),
        "ranks": [comparison.describe(*by_rank[r]) for r in ranks],
        "drift_largest_minus_smallest": comparison.drift_difference(largest, smallest).as_json(),
        "elbow": find_elbow(correct, test["correct"][0], bootstrap, settings).as_json(),
        "by_label": [
            *accuracy_by_label(test.items["form"].tolist(), test, correct, settings),
            *accuracy_by_label(complements, test, correct, settings),
        ],
        "by_group_and_form": accuracy_by_label(list(groups_and_forms), test, correct, settings),
        "generalization": generalization(complements, test, correct, settings),
    }


def complement_labels(complements: Iterable[str], trained: Collection[str]) -> list[str]:
    """Whether each item's complement occurred in a training prompt, in any spelling; an item may
    have none."""
    known = set(map(comparable, trained))
    return [
        NONE if not complement else TRAINED if comparable(complement) in known else NEW
        for complement in complements
    ]


def accuracy_by_label(
    labels: Sequence[str],
    base: ItemScores,
    correct: Mapping[int, Array],
    settings: StatisticsSettings,
) -> list[LabelAccuracy]:
    """Test accuracy of the base and of each rank (over all seeds) for the items of each label.

    Args:
        labels: One per item.
        correct: For each rank (seeds, items) of 0 or 1.
    """
    rows: list[LabelAccuracy] = []
    for label in sorted(set(labels)):
        chosen = np.array([other == label for other in labels])
        groups = base.items["group"][chosen].tolist()
        bootstrap = PairedBootstrap(groups, _n_seeds(correct), settings)
        rows.append(
            {
                "label": label,
                "sentences": int(chosen.sum()),
                "base": bootstrap.accuracy(base["correct"][:, chosen]).as_json(),
                "ranks": {
                    str(r): bootstrap.accuracy(correct[r][:, chosen]).as_json() for r in correct
                },
            }
        )
    return rows


def generalization(
    labels: Sequence[str],
    base: ItemScores,
    correct: Mapping[int, Array],
    settings: StatisticsSettings,
) -> Generalization | None:
    """Accuracy on the items with a new complement minus accuracy on those with a trained one.

    Args:
        labels: One per item, from :func:`complement_labels`.
        correct: For each rank (seeds, items) of 0 or 1.

    Returns:
        The difference for each rank; ``None`` unless there are items of both kinds.
    """
    new, trained = (np.array([label == kind for label in labels]) for kind in (NEW, TRAINED))
    if not (new.any() and trained.any()):
        return None
    both = new | trained
    groups = base.items["group"][both].tolist()
    bootstrap = PairedBootstrap(groups, _n_seeds(correct), settings)
    return {
        "difference": {
            str(r): bootstrap.group_difference(correct[r][:, both], new[both]).as_json()
            for r in correct
        }
    }


def _n_seeds(correct: Mapping[int, Array]) -> int:
    return len(next(iter(correct.values())))
