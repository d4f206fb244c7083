"""Finished studies as experiments of MLflow: a run per rank and seed, one of the base, one of the
whole sweep, and one per seed of every run of the ablations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from minituner.interop.mlflow_store import Experiment, MetricPoint, Run, write_store
from minituner.interop.mlflow_values import (
    adapter_file,
    cost_points,
    digest_of,
    existing_files,
    final_points,
    log_points,
    parameters_of,
    times_of,
    versions_of,
)
from minituner.pipeline import paths
from minituner.pipeline.arms import arms_of
from minituner.pipeline.finished import (
    BASE,
    SUMMARY,
    SUMMARY_MANIFEST,
    FinishedStudy,
    open_studies,
    require_current,
)
from minituner.results import Gates, RunMetrics
from minituner.storage.files import read_json, sha256

ADAPTER = "adapter_final.safetensors"
HEADLINE_MANIFEST = f"{paths.HEADLINE}/manifest.json"
PLOT_MANIFEST = f"{paths.SWEEP}/manifest.json"
PRETRAINING_MANIFEST = f"{paths.PRETRAINED}/manifest.json"


def export_studies(
    studies: Sequence[str | Path], folder: str | Path, with_adapters: bool = False
) -> None:
    """Write an MLflow file store with one experiment per study.

    Args:
        with_adapters: Copy the adapters too, as artifacts of their runs.

    Raises:
        UserError: A folder is not that of a finished study, an adapter is not there, or ``folder``
            holds anything but an earlier export.
    """
    opened = open_studies(studies)
    tasks = [study.task_name for study in opened]
    names = [
        f"{task} ({study.label})" if tasks.count(task) > 1 else task
        for task, study in zip(tasks, opened, strict=True)
    ]
    write_store(
        folder,
        [
            experiment_of(study, name, with_adapters)
            for study, name in zip(opened, names, strict=True)
        ],
    )


def experiment_of(study: FinishedStudy, name: str, with_adapters: bool = False) -> Experiment:
    """One study as an experiment.

    Raises:
        UserError: A result is stale or was edited, or an adapter is not there.
    """
    settings = list(_settings(study))
    manifests = (HEADLINE_MANIFEST, PLOT_MANIFEST, PRETRAINING_MANIFEST)
    existing = [file for file in manifests if study.path(file).is_file()]
    of_arms = [
        f"{setting.folder}/{stage}.manifest.json"
        for setting in settings
        for stage in ("train", "evaluate")
    ]
    require_current(study, [*existing, *of_arms])
    elbow = study.summary["elbow"]
    outcome = elbow["outcome"] + ("" if elbow["rank"] is None else f" at r = {elbow['rank']}")
    tags = {
        "outcome": outcome,
        "task": study.task_name,
        "scoring": str(study.config["task"]["scoring"]),
        "study": study.label,
    }
    runs = [
        _sweep_run(study, name, tags),
        _base_run(study, name, tags),
        *(
            _seed_run(study, name, setting, run, tags, with_adapters)
            for setting in settings
            for run in study.metrics(setting.folder)["runs"]
        ),
    ]
    note = f"What LoRA adapters of rank r buy and break: {name}. The elbow rule says: {outcome}."
    digest = digest_of(name, sha256(study.path(SUMMARY_MANIFEST)))
    experiment_id = str(int(digest[:15], 16) % 10**18)
    return Experiment(experiment_id, name, {**tags, "mlflow.note.content": note}, runs)


# --- the runs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Setting:
    """What was trained with every seed: a rank of the sweep, or a run of an arm at one rank."""

    folder: str
    arm: str | None  # None in the sweep
    variant: str

    @property
    def name(self) -> str:
        """``rank-8``, ``targets-q+v-rank-8`` or ``full-lr-1e-5``."""
        last = self.folder.rpartition("/")[2]
        parts = [last] if self.arm is None else [self.arm, self.variant, last]
        return "-".join(dict.fromkeys(parts))


def _settings(study: FinishedStudy) -> Iterator[_Setting]:
    """The ranks of the sweep, then what the ablations of the config have trained in addition."""
    for rank in study.ranks:
        yield _Setting(paths.rank_folder(rank), None, "")
    for arm, runs in arms_of(study.config).items():
        for run in runs:
            trained = study.path(f"{run.folder}/evaluate.manifest.json").is_file()
            if run.computed_by == run.variant and trained:
                yield _Setting(run.folder, arm, run.variant.name)


def _seed_run(
    study: FinishedStudy,
    experiment: str,
    setting: _Setting,
    metrics: RunMetrics,
    tags: Mapping[str, str],
    with_adapters: bool,
) -> Run:
    """One seed of one setting."""
    folder, seed = setting.folder, metrics["seed"]
    train = f"{folder}/train.manifest.json"
    seed_folder = f"{folder}/seed-{seed}"
    headline = folder == paths.rank_folder(study.config["lora"]["rank"])
    headline = headline and seed == study.config["seeds"][0]
    names = ("metrics.json", "training.json", "train.manifest.json", "evaluate.manifest.json")
    files = {name: f"{folder}/{name}" for name in names}
    files["train_log.csv"] = f"{seed_folder}/train_log.csv"
    if headline:
        files |= {Path(f).name: f for f in (paths.LOSS_FIGURE, f"{paths.HEADLINE}/gates.json")}
        files["headline.manifest.json"] = HEADLINE_MANIFEST
    if with_adapters and study.metrics(folder)["rank"] is not None:
        files[ADAPTER] = adapter_file(study, train, f"{seed_folder}/{ADAPTER}")
    gates: Gates = read_json(study.path(f"{paths.HEADLINE}/gates.json")) if headline else {}
    verdicts = {
        f"gate.{name}": f"{'pass' if gate['pass'] else 'FAIL'}: must be {gate['rule']} "
        f"{gate['threshold']:g}"
        for name, gate in gates.items()
    }
    kind = {"kind": "sweep" if setting.arm is None else "ablation", "setting": setting.name}
    arm = {"arm": setting.arm} if setting.arm else {}
    return Run(
        id=digest_of(experiment, folder, str(seed), sha256(study.path(train)))[:32],
        name=f"{setting.name}-seed-{seed}",
        **times_of(study, train),
        parameters=parameters_of(study, train, folder, seed),
        tags={**tags, **kind, **arm, **verdicts, **versions_of(study, train)},
        metrics=[
            *log_points(study.path(f"{seed_folder}/train_log.csv")),
            *final_points(metrics),
            *cost_points(study, folder),
            *(MetricPoint(f"gate/{name}", gate["value"]) for name, gate in gates.items()),
        ],
        artifacts=existing_files(study, files),
    )


def _base_run(study: FinishedStudy, experiment: str, tags: Mapping[str, str]) -> Run:
    """The untuned base, with the losses of its pretraining if the study pretrained it."""
    manifest = f"{BASE}/manifest.json"
    files = {"metrics.json": f"{BASE}/metrics.json", "manifest.json": manifest}
    own = study.config["base"]["checkpoint"] is None
    log = study.path(f"{paths.PRETRAINED}/train_log.csv")
    if own:
        names = ("loss_curve.png", "pretraining.json", "train_log.csv")
        files |= {name: f"{paths.PRETRAINED}/{name}" for name in names}
        files["pretraining.manifest.json"] = PRETRAINING_MANIFEST
    return Run(
        id=digest_of(experiment, BASE, sha256(study.path(manifest)))[:32],
        name="base",
        **times_of(study, manifest),
        parameters={
            "base": study.base_name,
            "base_sha256": study.base_manifest["base_checkpoint_sha256"],
        },
        tags={**tags, "kind": "base", **versions_of(study, manifest)},
        metrics=[
            *(log_points(log) if own and log.is_file() else ()),
            *final_points(study.base_metrics),
        ],
        artifacts=existing_files(study, files),
    )


def _sweep_run(study: FinishedStudy, experiment: str, tags: Mapping[str, str]) -> Run:
    """The sweep over all seeds: the step of its metrics is the rank, so that MLflow plots the
    measures against it. Its artifacts are the reports and figures, those of the ablations too."""
    figures = (paths.ACCURACY_FIGURE, paths.DRIFT_FIGURE, paths.SCALE_FIGURE)
    files = {Path(file).name: file for file in (SUMMARY, SUMMARY_MANIFEST, paths.REPORT, *figures)}
    for file in ("REPORT.md", Path(paths.ABLATIONS_FIGURE).name):
        files[f"ablations/{file}"] = f"{paths.ABLATIONS}/{file}"
    for arm in arms_of(study.config):
        for file, end in ((f"{arm}.png", "png"), ("summary.json", "json")):
            files[f"ablations/{arm}.{end}"] = f"{paths.arm_folder(arm)}/{file}"
    points = [
        MetricPoint(f"{name}/{end}", value, row["rank"] or 0)
        for row in study.summary["ranks"]
        for name in ("accuracy", "gain", "margin_nats", "text_drift", "target_drift")
        for end, value in cast(Mapping[str, Any], row)[name].items()
        if value is not None
    ]
    return Run(
        id=digest_of(experiment, paths.SWEEP, sha256(study.path(SUMMARY_MANIFEST)))[:32],
        name="sweep",
        **times_of(study, SUMMARY_MANIFEST),
        parameters={
            "ranks": study.ranks,
            "seeds": study.summary["seeds"],
            "test_items": study.summary["test_items"],
            "confidence": study.summary["confidence"],
        },
        tags={**tags, "kind": "summary", **versions_of(study, SUMMARY_MANIFEST)},
        metrics=points,
        artifacts=existing_files(study, files),
    )
