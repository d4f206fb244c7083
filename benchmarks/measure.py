"""Whole processes, measured from outside: wall and processor seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Usage:
    """Resources used by one process and the children that it waited for."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float  # of the largest single process


def run(
    command: Sequence[str | Path],
    threads: int = 1,
    cwd: Path = ROOT,
    output: Path | None = None,
) -> Usage:
    """Run a command to its end.

    Args:
        output: File for what the command prints.

    Raises:
        RuntimeError: The command failed; the message has what it printed.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(cwd),
    }
    with tempfile.TemporaryFile() if output is None else output.open("w+b") as stream:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), cwd=cwd, env=environment, stdout=stream, stderr=stream
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        if status != 0:
            stream.seek(0)
            raise RuntimeError(f"{command}\n{stream.read().decode(errors='replace')}")
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def python(script: str, *arguments: object, threads: int = 1) -> Usage:
    """Run a script of this folder in its own process."""
    return run([sys.executable, ROOT / "benchmarks" / script, *map(str, arguments)], threads)


def summary(usages: Sequence[Usage]) -> dict[str, dict[str, float]]:
    """Median, minimum and maximum of each resource."""
    return {
        key: spread([asdict(usage)[key] for usage in usages])
        for key in ("wall_seconds", "cpu_seconds", "peak_mb")
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def shown(figure: Mapping[str, float], digits: int = 1) -> str:
    """A spread as text: "2.1 [1.9, 2.5]", without brackets if it is a single value."""
    middle, low, high = (f"{figure[key]:.{digits}f}" for key in ("median", "min", "max"))
    return middle if figure["min"] == figure["max"] else f"{middle} [{low}, {high}]"


def alternate(
    contestants: Mapping[str, Callable[[], Usage]], repetitions: int
) -> dict[str, list[Usage]]:
    """Run each contestant in turn, as often as asked.

    Args:
        contestants: For each name, a function that runs the contestant once.
    """
    usages: dict[str, list[Usage]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run_once in contestants.items():
            usages[name].append(run_once())
    return usages


def machine() -> dict[str, Any]:
    """The processor and the versions that the figures were measured with."""
    import platform
    from importlib.metadata import version

    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ("torch", "transformers", "peft", "snakemake", "numpy")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
