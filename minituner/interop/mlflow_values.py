"""What one of MLflow's runs holds of a study: settings, metrics, times, versions and files."""

from __future__ import annotations

import calendar
import csv
import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minituner.errors import UserError
from minituner.interop.mlflow_store import MetricPoint
from minituner.pipeline import paths
from minituner.pipeline.finished import FinishedStudy, run_command
from minituner.pipeline.nested import flatten
from minituner.reporting.cost import read_measured
from minituner.storage.files import read_json, sha256


def digest_of(*parts: str) -> str:
    """The sha256 of several texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def times_of(study: FinishedStudy, manifest: str) -> dict[str, int]:
    """When a stage began and ended, in ms since the epoch; 0 where that is not recorded."""
    environment = study.environment(manifest)
    if "started" not in environment:
        return {"started_ms": 0, "ended_ms": 0}
    parsed = time.strptime(environment["started"], "%Y-%m-%dT%H:%M:%SZ")
    started = 1000 * calendar.timegm(parsed)
    return {
        "started_ms": started,
        "ended_ms": started + round(1000 * environment.get("wall_seconds", 0)),
    }


def versions_of(study: FinishedStudy, manifest: str) -> dict[str, str]:
    """The versions of a manifest, and the commit if it is recorded."""
    versions = study.manifest(manifest)["versions"]
    git = study.environment(manifest).get("git")
    return {f"version.{name}": text for name, text in versions.items()} | (
        {"git": git} if git else {}
    )


def parameters_of(study: FinishedStudy, train: str, folder: str, seed: int) -> dict[str, Any]:
    """The settings of a training run by their keys in the config, and what follows from them."""
    manifest, metrics = study.manifest(train), study.metrics(folder)
    settings = dict(flatten(manifest["config"])) | dict(manifest["parameters"].get("changes", {}))
    settings.pop("seeds", None)
    adapter = {"rank": metrics["rank"], "scaling": metrics["scaling"]}
    steps: int = read_json(study.path(f"{folder}/training.json"))["steps"]
    return {
        **settings,
        **{key: value for key, value in adapter.items() if value is not None},
        "seed": seed,
        "steps": steps,
        "trained_parameters": metrics["trained_parameters"],
        "file_bytes": metrics["file_bytes"],
        "base": study.base_name,
        "base_sha256": manifest["base_checkpoint_sha256"],
    }


def log_points(path: Path) -> Iterator[MetricPoint]:
    """Every value of a training log, with its step."""
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            step = int(row.pop("step"))
            yield from (MetricPoint(key, float(text), step) for key, text in row.items() if text)


def final_points(metrics: Mapping[str, Any]) -> Iterator[MetricPoint]:
    """The evaluation of one model: ``test/accuracy``, ``control/drift_text`` and so on."""
    splits = {name: metrics[name] for name in ("val", "test", "control")}
    splits |= {f"controls/{name}": split for name, split in metrics.get("controls", {}).items()}
    for split, found in splits.items():
        for key, value in found.items():
            if key in ("perplexity", "drift"):
                yield from (MetricPoint(f"{split}/{key}_{k}", x) for k, x in value.items())
            elif isinstance(value, float):
                yield MetricPoint(f"{split}/{key}", value)
    probe = metrics.get("probe") or []
    if probe:
        yield MetricPoint("probe/failed", sum(row["failed"] for row in probe))
    if "base_max_abs_diff" in metrics:
        yield MetricPoint("base_max_abs_diff", metrics["base_max_abs_diff"])


def cost_points(study: FinishedStudy, folder: str) -> Iterator[MetricPoint]:
    """Seconds and peak memory of the job that trained all seeds of a setting, if measured here."""
    name = folder.removeprefix(f"{paths.EXPERIMENTS}/")
    figures = read_measured(study.path(f"logs/train/{name}.benchmark.tsv")) or (None, None)
    for key, figure in zip(("seconds_all_seeds", "peak_mb"), figures, strict=True):
        if figure is not None:
            yield MetricPoint(f"cost/{key}", figure)


def existing_files(study: FinishedStudy, files: Mapping[str, str]) -> dict[str, Path]:
    """Those of some files of a study that are there, by their names."""
    located = {name: study.path(file) for name, file in files.items()}
    return {name: path for name, path in located.items() if path.is_file()}


def adapter_file(study: FinishedStudy, manifest: str, file: str) -> str:
    """The path of an adapter that is as its training wrote it.

    Raises:
        UserError: It is not there, or was changed.
    """
    path, digest = study.path(file), study.manifest(manifest)["outputs"].get(file)
    if not path.is_file() or sha256(path) != digest:
        raise UserError(
            path,
            "cannot be exported",
            found="another file than training wrote" if path.is_file() else "nothing",
            expected=f"the adapter whose sha256 is in {manifest}",
            fix=f"make it again: {run_command(study.folder)}; or leave out --with-adapters",
        )
    return file
