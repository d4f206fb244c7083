"""An ablation arm: its runs side by side, each against the untuned base and the study's run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from minituner.errors import UserError
from minituner.pipeline.paths import SWEEP, is_inside
from minituner.statistics.intervals import Array, PairedBootstrap, StatisticsSettings, holm
from minituner.statistics.sweep import Answers, Judge, answers_of, mean_audit
from minituner.storage.files import read_json
from minituner.storage.items import read_items

HELD_OUT = "train.held_out_verb"


@dataclass(frozen=True)
class Result:
    """One run of an arm with what its evaluation wrote, and its base's."""

    run: Mapping[str, Any]  # its name (run), rank, folder, and changes to the study's config
    metrics: Mapping[str, Any]
    items: pd.DataFrame
    base_items: pd.DataFrame

    @property
    def is_study(self) -> bool:
        """Whether this is a run of the study itself."""
        return is_inside(str(self.run["folder"]), SWEEP)

    @property
    def held_out_verb(self) -> str | None:
        """The verb that was not trained on: the only one that is then asked about."""
        verb: str | None = self.run["changes"].get(HELD_OUT)
        return verb

    def test(self, verb: str | None) -> Answers:
        """The answers to the test items of one verb or of all.

        Raises:
            UserError: There is no test item of that verb.
        """
        return self._test(self.items, verb)

    def base_test(self, verb: str | None) -> Answers:
        """The base's answers to the same items."""
        return self._test(self.base_items, verb)

    def _test(self, items: pd.DataFrame, verb: str | None) -> Answers:
        base_test = self.base_items[self.base_items["split"] == "test"]
        if verb is not None and verb not in set(base_test["verb"]):
            raise UserError(
                f"{self.run['folder']}/items.csv",
                "there is no test sentence of the verb that was left out",
                found=", ".join(sorted(set(base_test["verb"]))),
                expected=verb,
                fix="add rows of it to the corpus, or leave out another verb",
            )
        return answers_of(only_verb(items, verb), "test", only_verb(self.base_items, verb))


def only_verb(items: pd.DataFrame, verb: str | None) -> pd.DataFrame:
    """The items without the test items of other verbs; all of them if no verb is named."""
    return items if verb is None else items[(items["split"] != "test") | (items["verb"] == verb)]


def compare_runs(
    results: Sequence[Result], settings: StatisticsSettings, size_limit: float
) -> dict[str, Any]:
    """The table of one arm, in the order of its runs.

    Args:
        size_limit: The largest file that may be chosen, as a share of the base's.

    Returns:
        ``rows``, each with ``versus_study``: its accuracy less that of the study's run at the same
        rank, with a Holm-adjusted p; the run that the validation split has ``chosen``; ``gaps``,
        the largest rank less the smallest, where an arm has several; what is on the ``front`` of
        gain against drift; and ``held_out``, all left-out verbs together, where there are any.
    """
    rows = [describe_result(result, settings) for result in results]
    for row, versus in zip(rows, versus_study(results, settings), strict=True):
        row["versus_study"] = versus
    asked_alike = all(result.held_out_verb is None for result in results)
    return {
        "rows": rows,
        "seeds": [run["seed"] for run in results[0].metrics["runs"]],
        "confidence": settings.confidence,
        # Runs that are judged on different sentences cannot be ranked.
        "chosen": choose(rows, size_limit) if asked_alike else None,
        "size_limit": size_limit,
        "front": front(rows) if asked_alike else [],
        "gaps": rank_gaps(results, settings),
        "held_out": pool_held_out(results, settings),
    }


def describe_result(result: Result, settings: StatisticsSettings) -> dict[str, Any]:
    """One row: what the sweep says of a rank, what validation says, and what became of the base."""
    verb, runs = result.held_out_verb, result.metrics["runs"]
    result.test(verb)  # refuses a verb that is not asked about
    judge = Judge(only_verb(result.base_items, verb), len(runs), settings)

    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    return {
        **result.run,
        "is_study": result.is_study,
        **judge.describe(result.metrics, only_verb(result.items, verb)),
        "val_accuracy": mean([run["val"]["accuracy"] for run in runs]),
        "val_perplexity": mean([run["val"]["perplexity"]["target"] for run in runs]),
        "probe_failures": mean([sum(row["failed"] for row in run["probe"]) for run in runs]),
        "base_max_abs_diff": max(run["base_max_abs_diff"] for run in runs),
        "scale_audit": mean_audit(runs),
    }


def versus_study(
    results: Sequence[Result], settings: StatisticsSettings
) -> list[dict[str, Any] | None]:
    """Each run's accuracy less the study's on the same items and seeds; ``None`` for the study's
    own runs, and where the arm holds none.

    A run is held against the study's run at its rank, or if there is none (all weights are trained)
    against the first. The p-values are adjusted over the arm.
    """
    study = [result for result in results if result.is_study]
    found: dict[int, dict[str, Any]] = {}
    for i, result in enumerate(results):
        if result.is_study or not study:
            continue
        same_rank = (other for other in study if other.run["rank"] == result.run["rank"])
        reference = next(same_rank, study[0])
        verb = result.held_out_verb
        difference = result.test(verb)["correct"] - reference.test(verb)["correct"]
        bootstrap = _bootstrap(result, verb, settings)
        found[i] = {
            **asdict(bootstrap.difference(difference)),
            "p": bootstrap.p_value(difference),
            "text_drift": _drift_difference(result, reference, settings),
        }
    adjusted = holm([versus["p"] for versus in found.values()])
    for versus, p in zip(found.values(), adjusted, strict=True):
        versus["adjusted_p"] = p
    return [found.get(i) for i in range(len(results))]


def _drift_difference(
    result: Result, study: Result, settings: StatisticsSettings
) -> dict[str, float | None] | None:
    """A run's drift less the study's; ``None`` over another base, whose perplexity is another."""
    if not result.base_items.equals(study.base_items):
        return None
    judge = Judge(result.base_items, len(result.metrics["runs"]), settings)
    return asdict(judge.drift_difference(result.items, study.items))


def _bootstrap(result: Result, verb: str | None, settings: StatisticsSettings) -> PairedBootstrap:
    verbs = result.test(verb).items["verb"].tolist()
    return PairedBootstrap(verbs, len(result.metrics["runs"]), settings)


def choose(rows: Sequence[Mapping[str, Any]], size_limit: float) -> dict[str, Any] | None:
    """The run with the highest validation accuracy, of equals the one with the lowest perplexity of
    the right answers there; the test split has no say.

    If the arm trains all weights anywhere the choice is among those runs, otherwise among the
    adapters within the size limit. ``None`` if there is none of them.
    """
    full = [row for row in rows if row["rank"] is None]
    candidates = full or [row for row in rows if row["size_ratio"] < size_limit]
    best = max(
        candidates, key=lambda row: (row["val_accuracy"], -row["val_perplexity"]), default=None
    )
    return None if best is None else {"run": best["run"], "rank": best["rank"]}


def front(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The runs that no other beats in both gain and drift over the whole text (Pareto)."""

    def beats(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
        gain = left["gain"]["mean"] - right["gain"]["mean"]
        drift = left["text_drift"]["mean"] - right["text_drift"]["mean"]
        return bool(gain >= 0 >= drift and (gain, drift) != (0, 0))

    return [
        {"run": row["run"], "rank": row["rank"]}
        for row in rows
        if not any(beats(other, row) for other in rows)
    ]


def rank_gaps(results: Sequence[Result], settings: StatisticsSettings) -> dict[str, dict[str, Any]]:
    """For each name with several ranks: accuracy at the largest less that at the smallest.

    ``versus_study`` is that gap less the study's, where the arm has the study at every rank.
    """
    by_name: dict[str, dict[int, Result]] = {}
    for result in results:
        if result.run["rank"] is not None:
            by_name.setdefault(result.run["run"], {})[result.run["rank"]] = result
    gaps = {
        name: at[max(at)].test(None)["correct"] - at[min(at)].test(None)["correct"]
        for name, at in by_name.items()
        if len(at) > 1
    }
    study = next((n for n in gaps if all(r.is_study for r in by_name[n].values())), None)
    bootstrap = _bootstrap(results[0], None, settings)
    return {
        name: {
            **asdict(bootstrap.difference(gap)),
            "versus_study": None
            if study in (None, name)
            else asdict(bootstrap.difference(gap - gaps[str(study)], largest=2)),
        }
        for name, gap in gaps.items()
    }


def pool_held_out(results: Sequence[Result], settings: StatisticsSettings) -> dict[str, Any] | None:
    """Every left-out verb's items, each from the run that did not train on it, as one test set.

    Returns:
        The accuracy there of the ``base``, of the runs that left the verb out (``left_out``) and,
        if the arm holds it, of the ``study``, with intervals; ``None`` if no verb was left out, or
        one of them by several runs, whose sentences would count more than once.
    """
    left_out = [result for result in results if result.held_out_verb is not None]
    verbs = [result.held_out_verb for result in left_out]
    if not left_out or len(set(verbs)) < len(verbs):
        return None
    study = next((result for result in results if result.is_study), None)

    def joined(tables: Iterable[Answers]) -> Array:
        return np.concatenate([table["correct"] for table in tables], axis=1)

    tuned = [result.test(result.held_out_verb) for result in left_out]
    base = joined(result.base_test(result.held_out_verb) for result in left_out)
    labels = [verb for table in tuned for verb in table.items["verb"]]
    bootstrap = PairedBootstrap(labels, len(left_out[0].metrics["runs"]), settings)
    return {
        "sentences": len(labels),
        "base": asdict(bootstrap.accuracy(base)),
        "left_out": asdict(bootstrap.accuracy(joined(tuned))),
        "gain": asdict(bootstrap.difference(joined(tuned) - base)),
        "study": None
        if study is None
        else asdict(bootstrap.accuracy(joined(study.test(verb) for verb in verbs))),
    }


def arm_results(
    runs: Sequence[Mapping[str, Any]],
    metrics: Sequence[str | Path],
    items: Sequence[str | Path],
    base_items: Sequence[str | Path],
) -> list[Result]:
    """The runs of an arm with the files that their evaluations wrote, in the same order."""
    return [
        Result(run, read_json(run_metrics), read_items(run_items), read_items(run_base_items))
        for run, run_metrics, run_items, run_base_items in zip(
            runs, metrics, items, base_items, strict=True
        )
    ]
