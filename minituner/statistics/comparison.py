"""A tuned model, with all its seeds, compared with the base item by item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from minituner.data.pairs import further_controls
from minituner.results import (
    ComparisonRow,
    LayerAudit,
    LayerAuditMean,
    RunMetrics,
    TunedMetrics,
)
from minituner.statistics.intervals import (
    Array,
    Estimate,
    PairedBootstrap,
    StatisticsSettings,
)
from minituner.statistics.p_values import mcnemar

SCORE_COLUMNS = (
    "correct",
    "margin_nats",
    "text_nll_nats",
    "text_tokens",
    "target_nll_nats",
    "target_tokens",
)


@dataclass(frozen=True)
class ItemScores:
    """A model's scores on the items of one split, one array (seeds, items) per column.

    The base counts as one seed. Items are in the order of the base's.
    """

    items: pd.DataFrame  # the base's rows: id, verb, form, ...
    columns: Mapping[str, Array]

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]


def item_scores(items: pd.DataFrame, split: str, base_items: pd.DataFrame) -> ItemScores:
    """One split of a table of per-item results, its items in the base's order."""
    base = base_items[base_items["split"] == split]
    rows = items[items["split"] == split]
    if "seed" not in rows:
        rows = rows.assign(seed=0)
    seeds = list(dict.fromkeys(rows["seed"]))
    table = rows.pivot(index="seed", columns="id", values=list(SCORE_COLUMNS))
    return ItemScores(
        base,
        {
            column: table[column].loc[seeds, base["id"].tolist()].to_numpy(np.float64)
            for column in SCORE_COLUMNS
        },
    )


class PairedComparison:
    """Compares tuned settings with the base, with the same bootstrap draws for all of them."""

    def __init__(
        self, base_items: pd.DataFrame, n_seeds: int, settings: StatisticsSettings
    ) -> None:
        self.base_items = base_items
        self.further_controls = further_controls(base_items["split"].unique())
        splits = ("test", "control", *self.further_controls.values())
        self.base = {split: item_scores(base_items, split, base_items) for split in splits}
        self.bootstrap = {
            split: PairedBootstrap(scores.items["group"].tolist(), n_seeds, settings)
            for split, scores in self.base.items()
        }

    def describe(self, metrics: TunedMetrics, items: pd.DataFrame) -> ComparisonRow:
        """One row of a table: means with intervals, the single seeds, McNemar's test.

        Args:
            metrics: The setting's metrics, as ``evaluate`` wrote them.
            items: Its scores, one row per item and seed.
        """
        test, control = (
            item_scores(items, split, self.base_items) for split in ("test", "control")
        )
        bootstrap = self.bootstrap["test"]
        base_correct = self.base["test"]["correct"]
        runs = metrics["runs"]
        row: ComparisonRow = {
            "rank": metrics["rank"],
            "scaling": metrics["scaling"],
            "trained_parameters": metrics["trained_parameters"],
            "file_bytes": metrics["file_bytes"],
            "size_ratio": metrics["size_ratio"],
            "accuracy": bootstrap.accuracy(test["correct"]).as_json(),
            "gain": bootstrap.difference(test["correct"] - base_correct).as_json(),
            "margin_nats": bootstrap.estimate(test["margin_nats"]).as_json(),
            "text_drift": self.drift(control, "text").as_json(),
            "target_drift": self.drift(control, "target").as_json(),
            "base_accuracy": float(base_correct.mean()),
            "accuracy_by_seed": test["correct"].mean(axis=1).tolist(),
            "text_drift_by_seed": [run["control"]["drift"]["text"] for run in runs],
            "target_drift_by_seed": [run["control"]["drift"]["target"] for run in runs],
            "mcnemar_headline_seed": mcnemar(base_correct[0], test["correct"][0]),
            "scale_audit": mean_audit(runs),
        }
        if self.further_controls:
            row["control_drifts"] = {
                name: self.drift(
                    item_scores(items, split, self.base_items), "text", split
                ).as_json()
                for name, split in self.further_controls.items()
            }
            row["control_drifts_by_seed"] = {
                name: [run["controls"][name]["drift"]["text"] for run in runs]
                for name in self.further_controls
            }
        return row

    def drift(self, tuned: ItemScores, kind: str, split: str = "control") -> Estimate:
        """The relative change of the perplexity on the control items, as a mean over seeds.

        Args:
            kind: ``text`` or ``target``.
            split: The control set: ``control``, or ``controls/french``.
        """
        drift = self.bootstrap[split].interval(*self._drift_draws(tuned, kind, split))
        # A perplexity cannot fall by more than 100 %.
        return drift if drift.low is None else replace(drift, low=max(drift.low, -1.0))

    def drift_difference(self, left: pd.DataFrame, right: pd.DataFrame) -> Estimate:
        """The whole-text drift of one setting less that of another, on the same draws."""
        (mean, draws), (other_mean, other_draws) = (
            self._drift_draws(item_scores(items, "control", self.base_items), "text")
            for items in (left, right)
        )
        return self.bootstrap["control"].interval(mean - other_mean, draws - other_draws)

    def _drift_draws(
        self, tuned: ItemScores, kind: str, split: str = "control"
    ) -> tuple[float, Array]:
        """The drift, and its bootstrap draws."""
        bootstrap = self.bootstrap[split]
        tokens = tuned[f"{kind}_tokens"]
        change = tuned[f"{kind}_nll_nats"] - self.base[split][f"{kind}_nll_nats"]
        by_seed = bootstrap.item_means(change) / bootstrap.item_means(tokens)
        mean = np.expm1(change.sum(axis=1) / tokens.sum(axis=1)).mean()
        return float(mean), bootstrap.seed_means(np.expm1(by_seed))


def mean_audit(runs: Sequence[RunMetrics]) -> list[LayerAuditMean]:
    """The scale audits of all seeds averaged: a row per layer, and last one over all layers; no
    rows if there is no adapter."""
    rows = [
        _audit_mean(layers[0]["layer"], layers)
        for layers in zip(*(run["scale_audit"] for run in runs), strict=True)
    ]
    return [*rows, _audit_mean("all", rows)] if rows else []


def _audit_mean(
    layer: str, rows: Sequence[LayerAudit] | Sequence[LayerAuditMean]
) -> LayerAuditMean:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(rows)

    return {
        "layer": layer,
        "relative_norm": mean(row["relative_norm"] for row in rows),
        "effective_rank": mean(row["effective_rank"] for row in rows),
        "largest_b": mean(row["largest_b"] for row in rows),
    }
