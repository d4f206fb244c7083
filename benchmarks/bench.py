"""Every figure of RESULTS.md, measured in one run.

    make bench
    python benchmarks/bench.py --sections training step     # the others stay as they were

Needs what the study has made (`make report`) and the extra `bench`. Contestants take turns; figures
are medians with the least and the most.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import measure
import work
from measure import ROOT, Usage
from results import write_results

from minituner.checkpoint import load_base
from minituner.interop import export_base

FOLDER = ROOT / "benchmarks"


def training(repetitions: int, scratch: Path) -> dict[str, Any]:
    """One rank with five seeds, three ways, and the losses that show them to be the same work."""
    export_base(load_base(work.BASE), work.TOKENIZER, scratch / "opt")
    common = ("--opt", scratch / "opt", "--threads", 1)
    scripts = {"minituner": "ours.py", "PEFT loop": "peft_loop.py", "Trainer": "peft_trainer.py"}

    def once(script: str, *more: object) -> Usage:
        return measure.python(script, *common, "--out", scratch / script, *more)

    # The losses first: they also warm the file cache up.
    losses = {}
    for name, script in scripts.items():
        once(script, "--seeds", 1, "--losses", scratch / f"{script}.json")
        losses[name] = json.loads((scratch / f"{script}.json").read_text())
    ours = losses["minituner"]
    usages = measure.alternate(
        {name: partial(once, script) for name, script in scripts.items()}, repetitions
    )
    return {
        "contestants": {name: measure.summary(runs) for name, runs in usages.items()},
        "ratio_to_minituner": {
            name: measure.spread(
                [
                    run.wall_seconds / own.wall_seconds
                    for run, own in zip(runs, usages["minituner"], strict=True)
                ]
            )
            for name, runs in usages.items()
        },
        "steps": len(ours),
        "largest_loss_difference": {
            name: max(abs(a - b) for a, b in zip(values, ours, strict=True))
            for name, values in losses.items()
        },
    }


def step(repetitions: int, scratch: Path) -> dict[str, Any]:
    """A training step against the time of its matrix products."""
    return _printed("floor.py", scratch, "--repetitions", repetitions)


def evaluation(repetitions: int, scratch: Path) -> dict[str, Any]:
    """Evaluation of one rank with all its seeds and splits, process start included."""
    usages = measure.alternate(
        {"evaluate": partial(measure.python, "evaluate.py", "--out", scratch)}, repetitions
    )
    return measure.summary(usages["evaluate"])


def profile(_repetitions: int, scratch: Path) -> dict[str, Any]:
    """Where the time of a training job goes, by cProfile."""
    return _printed("profile_training.py", scratch)


def _printed(script: str, scratch: Path, *arguments: object) -> dict[str, Any]:
    """What a script prints as its last line, and what it took."""
    printed = scratch / "printed.json"
    usage = measure.run([sys.executable, FOLDER / script, *map(str, arguments)], output=printed)
    found: dict[str, Any] = json.loads(printed.read_text().splitlines()[-1])
    return found | {"peak_mb": usage.peak_mb, "wall_seconds": usage.wall_seconds}


SECTIONS: dict[str, Callable[[int, Path], dict[str, Any]]] = {
    function.__name__: function for function in (training, step, evaluation, profile)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    path = FOLDER / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {}
    results["machine"] = measure.machine()
    for name in options.sections:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            results[name] = SECTIONS[name](options.repetitions, Path(scratch))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    write_results(json.loads(path.read_text()), FOLDER)


if __name__ == "__main__":
    main()
