"""Manifests: what a stage read, ran and wrote, by hash; the same bytes for the same run."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from minituner import __version__, commands
from minituner.errors import UserError
from minituner.storage.files import sha256, write_json

SCHEMA_VERSION = 1


@contextmanager
def run_stage(job: Any) -> Iterator[Any]:
    """Run one stage of the pipeline: its log, its errors and its manifest.

    Args:
        job: The ``snakemake`` object of a script. Of its named inputs, ``code`` lists the source
            files and ``base`` is the base checkpoint; its output ``manifest`` is written here, once
            the block has succeeded, from hashes of the inputs taken before it began. Its parameter
            ``config`` is the part of the config it uses, ``seed`` its seed or seeds; ``changes``,
            ``runs`` and ``arms`` are what an ablation's job is told beside it.

    Of its config, ``config_files`` lists the files it was read from.

    A :class:`UserError` ends the script with exit code 1 and its message instead of a traceback.
    """
    started = time.time()
    commands.use_config_files(job.config["config_files"])
    with cycles_uncollected(), _copied_to_log(job.log[0] if job.log else None):
        try:
            inputs = _hash_inputs(job.input)
            yield job
            if "manifest" in job.output.keys():  # noqa: SIM118 (a Namedlist iterates over values)
                _write_manifest(job, inputs, started)
        except UserError as error:
            print(f"\nminituner cannot go on.\n\n{error}\n", file=sys.stderr)
            sys.exit(1)
        except Exception:
            traceback.print_exc()  # here, so that it reaches the log too
            sys.exit(1)


@contextmanager
def cycles_uncollected() -> Iterator[None]:
    """Leave what a process makes to its end, which is near, instead of looking for cycles in it.

    That took a third of the time on a corpus of 100,000 rows, and 0.4 s on the way out of every
    process that had imported torch.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # the last look, at the interpreter's end, passes over all that is there now


def _hash_inputs(inputs: Any) -> dict[str, dict[str, str]]:
    code = set(inputs.get("code", []))
    files = sorted({str(path) for path in inputs} - code)
    return {
        "code": {path: sha256(path) for path in sorted(code)},
        "inputs": {path: sha256(path) for path in files},
    }


def _write_manifest(job: Any, hashes: dict[str, dict[str, str]], started: float) -> None:
    path = Path(job.output.manifest)
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "experiment": path.parent.as_posix(),
            "stage": job.rule,
            "wildcards": dict(job.wildcards.items()),
            "seed": _plain(job.params.get("seed")),
            "config": _plain(job.params.get("config", {})),
            "parameters": {
                name: _plain(job.params[name])
                for name in ("changes", "runs", "arms")
                if name in job.params.keys()  # noqa: SIM118
            },
            **hashes,
            "outputs": {p: sha256(p) for p in sorted(map(str, job.output)) if p != str(path)},
            "base_checkpoint_sha256": hashes["inputs"].get(str(job.input.get("base"))),
            "versions": versions(),
        },
    )
    write_json(environment_path(path), _environment(started))


def environment_path(manifest: Path) -> Path:
    """Where the facts that differ from run to run stand, beside ``manifest``."""
    return manifest.with_name(manifest.name.replace("manifest", "environment"))


def _plain(value: Any) -> Any:
    """Snakemake's parameters as plain JSON values."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def versions() -> dict[str, str]:
    """The versions that a result may depend on."""
    packages = ("torch", "numpy", "snakemake", "tokenizers")
    return {
        "python": platform.python_version(),
        "minituner": __version__,
        **{name: version(name).split("+")[0] for name in packages},
    }


def _environment(started: float) -> dict[str, Any]:
    """Hardware, git state and times: of interest to a reader, read by no stage."""
    return {
        "git": _git_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "wall_seconds": round(time.time() - started, 3),
    }


def _git_version() -> str | None:
    """The commit, if there is one and a ``git`` to ask."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


@contextmanager
def _copied_to_log(path: str | None) -> Iterator[None]:
    """Send what is written to standard error to ``path`` as well."""
    if path is None:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr
    with Path(path).open("w", encoding="utf-8") as log:
        sys.stderr = _Tee(terminal, log)
        try:
            yield
        finally:
            sys.stderr = terminal


class _Tee:
    """Writes to a terminal and to a log; on other questions it is the terminal."""

    def __init__(self, terminal: Any, log: IO[str]) -> None:
        self.terminal = terminal
        self.log = log

    def write(self, text: str) -> int:
        self.log.write(text)
        self.log.flush()
        return int(self.terminal.write(text))

    def flush(self) -> None:
        self.terminal.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.terminal, name)
