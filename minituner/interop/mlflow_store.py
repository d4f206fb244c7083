"""MLflow's file store (``mlruns``): experiments and runs as folders, one small file per value.

Written without MLflow, whose client gives every run a random id and the time of writing: here the
same experiments give the same bytes. The layout is that of ``mlflow.store.tracking.file_store`` in
MLflow 3.17; that store is in maintenance mode, so its layout no longer changes. The tests read it
back with MLflow's own client.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from minituner.errors import UserError, shortened
from minituner.storage.files import atomic_folder, read_json, sha256, write_json
from minituner.storage.replaceable import Record, require_replaceable

RECORD = "minituner-export.json"  # at the top of the store; MLflow looks at folders only
KIND = "mlflow"
ADDED = (".trash/", "models/")  # folders that MLflow adds to every store that it opens
LONGEST_PARAMETER = 6000  # characters; MLflow's limit
FINISHED, LOCAL = 3, 4  # RunStatus and SourceType in MLflow's protocol


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Run:
    """One run; ``artifacts`` are files to copy, by their path among the run's artifacts."""

    id: str  # 32 hexadecimal digits
    name: str
    started_ms: int = 0  # since the epoch
    ended_ms: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[MetricPoint] = ()
    artifacts: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """One experiment and its runs."""

    id: str  # decimal digits
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[Run] = ()


def write_store(folder: str | Path, experiments: Sequence[Experiment]) -> None:
    """Write a file store as a new folder, or over an earlier one that nobody has changed since.

    Paths of artifacts in it are absolute, as MLflow wants them.

    Raises:
        UserError: ``folder`` holds anything else, or cannot be written; it is then unchanged.
    """
    require_replaceable(folder, _record_of(Path(folder)), "export")
    location = Path(folder).resolve()
    with atomic_folder(folder) as partial:
        for experiment in experiments:
            _write_experiment(partial / experiment.id, location / experiment.id, experiment)
        files = (path for path in partial.rglob("*") if path.is_file())
        record = {path.relative_to(partial).as_posix(): sha256(path) for path in files}
        write_json(partial / RECORD, {"kind": KIND, "files": record})


def _record_of(folder: Path) -> Record:
    """What an earlier export wrote; empty if there was none."""
    with suppress(UserError, KeyError, TypeError):
        record = read_json(folder / RECORD)
        if record["kind"] == KIND:
            return {**record["files"], RECORD: None, **dict.fromkeys(ADDED)}
    return {}


def _write_experiment(folder: Path, location: Path, experiment: Experiment) -> None:
    started = min((run.started_ms for run in experiment.runs), default=0)
    meta = {
        "artifact_location": location.as_uri(),
        "creation_time": started,
        "experiment_id": experiment.id,
        "last_update_time": max((run.ended_ms for run in experiment.runs), default=0),
        "lifecycle_stage": "active",
        "name": experiment.name,
    }
    _write_meta(folder, meta)
    _write_values(folder / "tags", experiment.tags)
    for run in experiment.runs:
        _write_run(folder / run.id, location / run.id, experiment.id, run)


def _write_run(folder: Path, location: Path, experiment_id: str, run: Run) -> None:
    meta: dict[str, Any] = {
        "artifact_uri": (location / "artifacts").as_uri(),
        "deleted_time": None,
        "end_time": run.ended_ms,
        "entry_point_name": "",
        "experiment_id": experiment_id,
        "lifecycle_stage": "active",
        "run_id": run.id,
        "run_name": run.name,
        "run_uuid": run.id,
        "source_name": "",
        "source_type": LOCAL,
        "source_version": "",
        "start_time": run.started_ms,
        "status": FINISHED,
        "tags": [],
        "user_id": "minituner",
    }
    _write_meta(folder, meta)
    parameters = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in run.parameters.items()
    }
    _write_values(
        folder / "params",
        {name: shortened(value, LONGEST_PARAMETER) for name, value in parameters.items()},
    )
    _write_values(folder / "tags", {**run.tags, "mlflow.runName": run.name})
    lines: dict[str, str] = {}
    for point in run.metrics:
        line = f"{run.started_ms} {float(point.value)!r} {point.step}\n"
        lines[point.name] = lines.get(point.name, "") + line
    _write_values(folder / "metrics", lines)
    (folder / "artifacts").mkdir()
    for name, source in run.artifacts.items():
        target = folder / "artifacts" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _write_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True)
    _write(folder / "meta.yaml", yaml.safe_dump(dict(meta), allow_unicode=True, sort_keys=True))


def _write_values(folder: Path, values: Mapping[str, str]) -> None:
    """A file per value; a slash in a name makes a folder, as it does in MLflow."""
    folder.mkdir()
    for name, value in values.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, value)


def _write(path: Path, text: str) -> None:
    # Not with `write_text`: the whole folder is atomic, and syncing thousands of files is slow.
    path.write_text(text, encoding="utf-8", newline="\n")
