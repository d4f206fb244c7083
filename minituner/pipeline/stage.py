"""A stage of the pipeline, as a script runs it: its log, its errors and its manifest."""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from minituner import commands
from minituner.errors import UserError, report_of
from minituner.pipeline.manifest import hash_inputs, write_manifest


@contextmanager
def run_stage(job: Any) -> Iterator[Any]:
    """Run the block as one stage; its manifest is written once the block has succeeded.

    A :class:`UserError` ends the script with exit code 1 and its message instead of a traceback.

    Args:
        job: The ``snakemake`` object of a script. These parts of it are used here:

            * ``input.code``: the source files; ``input.base``: the base checkpoint. All inputs are
              hashed before the block begins.
            * ``output.manifest``: where the manifest goes; optional.
            * ``params.config``: the part of the config that the rule uses; ``seed``: its seed or
              seeds; ``changes``, ``runs`` and ``arms``: what an ablation adds to them.
            * ``config["study"]``: the fields of :class:`~minituner.commands.Study`.
            * ``log``: where a copy of standard error goes.
    """
    started = time.time()
    commands.use_study(commands.Study(**job.config["study"]))
    with gc_disabled(), _copied_to_log(job.log[0] if job.log else None):
        try:
            code, inputs = hash_inputs(job.input)
            yield job
            if job.output.get("manifest") is not None:
                write_manifest(job, code, inputs, started)
        except UserError as error:
            print(f"\n{report_of(error)}\n", file=sys.stderr)
            sys.exit(1)
        except Exception:
            traceback.print_exc()  # here, so that it reaches the log too
            sys.exit(1)


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disable the cyclic garbage collector, to the end of the process.

    A stage's process is short. Collection took a third of the time on a corpus of 100,000 rows, and
    0.4 s at the exit of every process that had imported torch.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # excludes everything from the last collection, at the interpreter's exit


@contextmanager
def _copied_to_log(path: str | None) -> Iterator[None]:
    """Write what goes to standard error to ``path`` as well."""
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
    """Writes to a terminal and to a log; its other attributes are the terminal's."""

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
