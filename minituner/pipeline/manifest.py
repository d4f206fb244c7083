"""Manifests: what a stage read, ran and wrote, by hash; the same bytes for the same run."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from minituner import __version__
from minituner.pipeline.project import PROJECT
from minituner.storage.files import sha256_of_all, write_json
from minituner.storage.hash_cache import remembered_sha256

SCHEMA_VERSION = 1
# The parameters of an ablation's rule that its config does not show.
RECORDED_PARAMETERS = ("changes", "runs", "arms")
PACKAGES = ("torch", "numpy", "snakemake", "tokenizers")
OF_A_FOLDER = (*PACKAGES, "transformers")  # over a base that transformers loads

Hashes = dict[str, str]  # sha256 by path


class Manifest(TypedDict):
    """The contents of a manifest.json."""

    schema_version: int
    experiment: str  # the folder
    stage: str  # the rule
    wildcards: dict[str, str]
    seed: Any  # one, several, or None
    config: dict[str, Any]  # the part that the rule uses
    parameters: dict[str, Any]  # of RECORDED_PARAMETERS, those that the rule has
    code: Hashes
    inputs: Hashes
    outputs: Hashes
    base_checkpoint_sha256: str | None  # of a base in several files, one over all of them
    versions: dict[str, str]


def hash_inputs(inputs: Any) -> tuple[Hashes, Hashes]:
    """The hashes of a job's source files (its input ``code``), and of its other inputs."""
    code = set(inputs.get("code", []))
    files = {str(path) for path in inputs} - code
    return _hashes(code), _hashes(files)


def write_manifest(job: Any, code: Hashes, inputs: Hashes, started: float) -> None:
    """Write a job's output ``manifest``, and next to it what differs from run to run.

    Args:
        code, inputs: From :func:`hash_inputs`, before the job began.
        started: When it began, in seconds since the epoch.
    """
    path, base = Path(job.output.manifest), job.input.get("base")
    parameters = {key: job.params.get(key) for key in RECORDED_PARAMETERS}
    manifest: Manifest = {
        "schema_version": SCHEMA_VERSION,
        "experiment": path.parent.as_posix(),
        "stage": job.rule,
        "wildcards": dict(job.wildcards.items()),
        "seed": _plain(job.params.get("seed")),
        "config": _plain(job.params.get("config", {})),
        "parameters": {k: _plain(value) for k, value in parameters.items() if value is not None},
        "code": code,
        "inputs": inputs,
        "outputs": _hashes(str(output) for output in job.output if str(output) != str(path)),
        "base_checkpoint_sha256": _base_sha256(base, inputs),
        "versions": versions(PACKAGES if base is None or isinstance(base, str) else OF_A_FOLDER),
    }
    write_json(path, manifest)
    write_json(environment_path(path), _environment(started))


def _hashes(files: Iterable[str]) -> Hashes:
    return {path: remembered_sha256(path) for path in sorted(files)}


def _base_sha256(base: Any, inputs: Hashes) -> str | None:
    """The hash of a job's input ``base``: of one file, or over those of a folder."""
    if base is None or isinstance(base, str):
        return inputs.get(str(base))
    return sha256_of_all({file: inputs[file] for file in base})


def environment_path(manifest: Path) -> Path:
    """The file with the facts that differ from run to run, next to ``manifest``."""
    return manifest.with_name(manifest.name.replace("manifest", "environment"))


def _plain(value: Any) -> Any:
    """Snakemake's parameters as plain JSON values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions that a result may depend on; of the packages, those that are installed."""
    found = {"python": platform.python_version(), "minituner": __version__}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = found.get(name) or version(name).split("+")[0]
    return found


def _environment(started: float) -> dict[str, Any]:
    """Hardware, git state and times: for a reader, not read by any stage."""
    return {
        "git": _git_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_seconds": round(time.time() - started, 3),
    }


def _git_version() -> str | None:
    """The commit of the code; ``None`` outside a repository or without ``git``."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
