"""The summary of an ablation arm: each run compared with the untuned base and with the study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from minituner.errors import UserError
from minituner.pipeline.paths import SWEEP, is_inside
from minituner.results import (
    ArmRow,
    ArmRun,
    ArmSummary,
    HeldOutSummary,
    Interval,
    RankEffect,
    RunName,
    TunedMetrics,
    VersusStudy,
    read_results,
)
from minituner.statistics.comparison import ItemScores, PairedComparison, item_scores
from minituner.statistics.intervals import Array, PairedBootstrap, StatisticsSettings
from minituner.statistics.p_values import holm
from minituner.storage.items import read_items

HELD_OUT = "train.held_out_verb"


@dataclass(frozen=True)
class Result:
    """One run of an arm with the files of its evaluation, and the items of its base."""

    run: ArmRun
    metrics: TunedMetrics
    items: pd.DataFrame
    base_items: pd.DataFrame

    @property
    def is_study(self) -> bool:
        """Whether this is a run of the study itself."""
        return is_inside(self.run["folder"], SWEEP)

    @property
    def held_out_verb(self) -> str | None:
        """The verb left out of training, if any; the run is then tested on that verb alone."""
        verb: str | None = self.run["changes"].get(HELD_OUT)
        return verb

    def test(self, verb: str | None) -> ItemScores:
        """The scores on the test items of one verb, or of all if it is ``None``.

        Raises:
            UserError: There is no test item of that verb.
        """
        return self._test(self.items, verb)

    def base_test(self, verb: str | None) -> ItemScores:
        """The base's scores on the same items."""
        return self._test(self.base_items, verb)

    def _test(self, items: pd.DataFrame, verb: str | None) -> ItemScores:
        base_test = self.base_items[self.base_items["split"] == "test"]
        if verb is not None and verb not in set(base_test["group"]):
            raise UserError(
                f"{self.run['folder']}/items.csv",
                "there is no test pair of the group that was left out",
                found=", ".join(sorted(set(base_test["group"]))),
                expected=verb,
                fix="add pairs of it, or leave out another group",
            )
        return item_scores(only_verb(items, verb), "test", only_verb(self.base_items, verb))


def arm_results(
    runs: Sequence[ArmRun],
    metrics: Sequence[str | Path],
    items: Sequence[str | Path],
    base_items: Sequence[str | Path],
) -> list[Result]:
    """Read the files of an arm's runs, each in the order of ``runs``.

    Args:
        metrics: Each run's metrics.json.
        items: Each run's items.csv.
        base_items: The items.csv of each run's base.

    Raises:
        UserError: A file cannot be read, or is not of its kind.
    """
    return [
        Result(run, read_results(path, TunedMetrics), read_items(own), read_items(base))
        for run, path, own, base in zip(runs, metrics, items, base_items, strict=True)
    ]


def only_verb(items: pd.DataFrame, verb: str | None) -> pd.DataFrame:
    """The items without the test items of other verbs; all of them if no verb is named."""
    return items if verb is None else items[(items["split"] != "test") | (items["group"] == verb)]


def compare_runs(
    results: Sequence[Result], settings: StatisticsSettings, size_limit: float
) -> ArmSummary:
    """The table of one arm, in the order of its runs.

    Args:
        size_limit: The largest file that may be chosen, as a share of the base's.

    Returns:
        ``rows``, each with ``versus_study``; the run ``chosen`` on the validation split; ``gaps``,
        from :func:`rank_effects`; ``front``, from :func:`pareto_front`; and ``held_out``, from
        :func:`pool_held_out`.
    """
    versus = versus_study(results, settings)
    rows = [describe_result(*pair, settings) for pair in zip(results, versus, strict=True)]
    # Runs that are tested on different sentences cannot be ranked.
    comparable = all(result.held_out_verb is None for result in results)
    return {
        "rows": rows,
        "seeds": [run["seed"] for run in results[0].metrics["runs"]],
        "confidence": settings.confidence,
        "chosen": choose(rows, size_limit) if comparable else None,
        "size_limit": size_limit,
        "front": pareto_front(rows) if comparable else [],
        "gaps": rank_effects(results, settings),
        "held_out": pool_held_out(results, settings),
    }


def describe_result(
    result: Result, versus: VersusStudy | None, settings: StatisticsSettings
) -> ArmRow:
    """One row: the comparison with the base, the validation split, and the state of the base.

    Args:
        versus: The run's entry of :func:`versus_study`.

    Raises:
        UserError: There is no test item of the verb that the run left out.
    """
    verb, runs = result.held_out_verb, result.metrics["runs"]
    result.test(verb)  # refuses a verb without test items
    comparison = PairedComparison(only_verb(result.base_items, verb), len(runs), settings)

    return {
        **comparison.describe(result.metrics, only_verb(result.items, verb)),
        "run": result.run["run"],
        "folder": result.run["folder"],
        "changes": result.run["changes"],
        "is_study": result.is_study,
        "val_accuracy": float(np.mean([run["val"]["accuracy"] for run in runs])),
        "val_perplexity": float(np.mean([run["val"]["perplexity"]["target"] for run in runs])),
        "probe_failures": sum(row["failed"] for run in runs for row in run["probe"]) / len(runs),
        "base_max_abs_diff": max(run["base_max_abs_diff"] for run in runs),
        "versus_study": versus,
    }


def versus_study(
    results: Sequence[Result], settings: StatisticsSettings
) -> list[VersusStudy | None]:
    """Each run's accuracy less the study's on the same items and seeds.

    A run is compared with the study's run at its rank, or if there is none (all weights are
    trained) with the first. The p-values are adjusted over the arm.

    Returns:
        An entry per run; ``None`` for the study's own runs, and if the arm has no run of the study.
    """
    study = [result for result in results if result.is_study]
    references: dict[int, Result] = {}
    for i, result in enumerate(results):
        if study and not result.is_study:
            same_rank = (other for other in study if other.run["rank"] == result.run["rank"])
            references[i] = next(same_rank, study[0])
    found: dict[int, VersusStudy] = {}
    for i, reference in references.items():
        verb = results[i].held_out_verb
        gap = results[i].test(verb)["correct"] - reference.test(verb)["correct"]
        bootstrap = _bootstrap(results[i], verb, settings)
        found[i] = {
            **bootstrap.difference(gap).as_json(),
            "p": bootstrap.p_value(gap),
            "adjusted_p": 1.0,  # below, when all p-values are known
            "text_drift": _drift_difference(results[i], reference, settings),
        }
    adjusted = holm([versus["p"] for versus in found.values()])
    for versus, p in zip(found.values(), adjusted, strict=True):
        versus["adjusted_p"] = p
    return [found.get(i) for i in range(len(results))]


def _drift_difference(
    result: Result, study: Result, settings: StatisticsSettings
) -> Interval | None:
    """A run's drift less the study's; ``None`` over another base, which has another perplexity."""
    if not result.base_items.equals(study.base_items):
        return None
    comparison = PairedComparison(result.base_items, len(result.metrics["runs"]), settings)
    return comparison.drift_difference(result.items, study.items).as_json()


def _bootstrap(result: Result, verb: str | None, settings: StatisticsSettings) -> PairedBootstrap:
    verbs = result.test(verb).items["group"].tolist()
    return PairedBootstrap(verbs, len(result.metrics["runs"]), settings)


def choose(rows: Sequence[ArmRow], size_limit: float) -> RunName | None:
    """The run with the highest validation accuracy, of equals the one with the lowest perplexity of
    the right answers there; the test split is not used.

    If any run of the arm trains all weights, the choice is among those runs, otherwise among the
    adapters within the size limit. ``None`` if there are none.
    """
    full = [row for row in rows if row["rank"] is None]
    candidates = full or [row for row in rows if row["size_ratio"] < size_limit]
    best = max(
        candidates, key=lambda row: (row["val_accuracy"], -row["val_perplexity"]), default=None
    )
    return None if best is None else {"run": best["run"], "rank": best["rank"]}


def pareto_front(rows: Sequence[ArmRow]) -> list[RunName]:
    """The runs that no other run beats in both gain and whole-text drift."""

    def beats(left: ArmRow, right: ArmRow) -> bool:
        gain = left["gain"]["mean"] - right["gain"]["mean"]
        drift = left["text_drift"]["mean"] - right["text_drift"]["mean"]
        return gain >= 0 >= drift and (gain, drift) != (0, 0)

    return [
        {"run": row["run"], "rank": row["rank"]}
        for row in rows
        if not any(beats(other, row) for other in rows)
    ]


def rank_effects(results: Sequence[Result], settings: StatisticsSettings) -> dict[str, RankEffect]:
    """For each name with several ranks: accuracy at the largest less that at the smallest.

    ``versus_study`` is that effect less the study's, if the arm has the study at every rank.
    """
    by_name: dict[str, dict[int, Result]] = {}
    for result in results:
        if result.run["rank"] is not None:
            by_name.setdefault(result.run["run"], {})[result.run["rank"]] = result
    effects = {
        name: at[max(at)].test(None)["correct"] - at[min(at)].test(None)["correct"]
        for name, at in by_name.items()
        if len(at) > 1
    }
    study = next((n for n in effects if all(r.is_study for r in by_name[n].values())), None)
    bootstrap = _bootstrap(results[0], None, settings)
    return {
        name: {
            **bootstrap.difference(effect).as_json(),
            "versus_study": None
            if study is None or study == name
            else bootstrap.difference(effect - effects[study], largest=2).as_json(),
        }
        for name, effect in effects.items()
    }


def pool_held_out(results: Sequence[Result], settings: StatisticsSettings) -> HeldOutSummary | None:
    """Every left-out verb's items, each from the run not trained on it, as one test set.

    Returns:
        The accuracy there of the ``base``, of the runs that left the verb out (``left_out``) and,
        if the arm has it, of the ``study``, with intervals; ``None`` if no verb was left out, or
        if several runs left out the same one, whose sentences would count more than once.
    """
    left_out = [result for result in results if result.held_out_verb is not None]
    verbs = [result.held_out_verb for result in left_out]
    if not left_out or len(set(verbs)) < len(verbs):
        return None
    study = next((result for result in results if result.is_study), None)

    def joined(tables: Iterable[ItemScores]) -> Array:
        return np.concatenate([table["correct"] for table in tables], axis=1)

    tuned = [result.test(result.held_out_verb) for result in left_out]
    base = joined(result.base_test(result.held_out_verb) for result in left_out)
    labels = [verb for table in tuned for verb in table.items["group"]]
    bootstrap = PairedBootstrap(labels, len(left_out[0].metrics["runs"]), settings)
    return {
        "sentences": len(labels),
        "base": bootstrap.accuracy(base).as_json(),
        "left_out": bootstrap.accuracy(joined(tuned)).as_json(),
        "gain": bootstrap.difference(joined(tuned) - base).as_json(),
        "study": None
        if study is None
        else bootstrap.accuracy(joined(study.test(verb) for verb in verbs)).as_json(),
    }
