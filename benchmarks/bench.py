"""Measures every number in RESULTS.md, in one run.

    make bench
    python benchmarks/bench.py --sections training step     # leaves the other sections as they are

Needs the results of the study (`make report`) and the extra `bench`. Contestants take turns;
results are medians with minimum and maximum. No large module is imported here: a process starts
with the size of its parent, which would count toward its peak memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measure
from contestants import llama, training
from measure import ROOT, Usage
from variants import ALL, KEPT, NOT_KEPT

from minituner.storage.files import read_json, write_json

FOLDER = ROOT / "benchmarks"
RANKS = (2, 4, 8, 16, 32, 64, 128, 256)
SEEDS = (1, 2, 4, 8, 16)
WIDTHS = (96, 192, 384, 768)
ROWS = (1_000, 10_000, 100_000, 1_000_000)
STAGES = ("filter", "split", "tokenize")


def step(repetitions: int, scratch: Path) -> dict[str, Any]:
    """A training step compared with the time of its matrix products."""
    return _printed("floor.py", scratch, "--repetitions", repetitions)


def evaluation(repetitions: int, scratch: Path) -> dict[str, Any]:
    """Evaluation of one rank with all seeds and splits, including the start of the process."""
    usages = measure.alternate(
        {"evaluate": partial(measure.python, "evaluate.py", "--out", scratch)}, repetitions
    )
    return measure.summary(usages["evaluate"])


def savings(repetitions: int, scratch: Path) -> dict[str, Any]:
    """One rank's job without each saving of the fast path, and with each that was not kept."""
    variants = ("as it is", *KEPT, ALL, *NOT_KEPT)
    usages = measure.alternate(
        {
            f"{variant}: {job}": partial(
                measure.python, "savings.py", variant, job, "--out", scratch / "savings"
            )
            for variant in variants
            for job in ("train", "evaluate")
        },
        repetitions,
    )

    def seconds(variant: str, job: str) -> list[float]:
        return [usage.wall_seconds for usage in usages[f"{variant}: {job}"]]

    found = {}
    for variant in variants:
        train, evaluate = seconds(variant, "train"), seconds(variant, "evaluate")
        shares = []
        for i, whole in enumerate(map(sum, zip(train, evaluate, strict=True))):
            now = seconds("as it is", "train")[i] + seconds("as it is", "evaluate")[i]
            shares.append(1 - now / whole if variant not in NOT_KEPT else 1 - whole / now)
        found[variant] = {
            "train_seconds": measure.spread(train),
            "evaluate_seconds": measure.spread(evaluate),
            "saved_share": measure.spread(shares),
        }
    return {"variants": found, "not_kept": list(NOT_KEPT)}


def data(repetitions: int, scratch: Path) -> dict[str, Any]:
    """filter, split and tokenize with a thousand to a million rows, each in its own process."""
    folders = {rows: scratch / str(rows) for rows in ROWS}
    for rows, folder in folders.items():
        folder.mkdir()
        measure.python("data_stages.py", "corpus", "--rows", rows, "--folder", folder)
    runs: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for _ in range(repetitions):
        for rows, folder in folders.items():
            found = {
                stage: _printed("data_stages.py", scratch, stage, "--folder", folder)
                for stage in STAGES
            }
            runs[rows].append(found)
    return {"points": [_data_point(rows, found) for rows, found in runs.items()]}


def _data_point(rows: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def figures(key: str) -> dict[str, dict[str, float]]:
        return {stage: measure.spread([run[stage][key] for run in runs]) for stage in STAGES}

    return {
        "rows": rows,
        "seconds": figures("seconds"),
        "seconds_in_all": measure.spread(
            [sum(run[stage]["seconds"] for stage in STAGES) for run in runs]
        ),
        "peak_mb": figures("peak_mb"),
    }


def ranks(repetitions: int, scratch: Path) -> dict[str, Any]:
    """Training with one seed at ranks 2 to 256."""
    return _training_over(RANKS, "--rank", repetitions, scratch, "--seeds", 1)


def seeds(repetitions: int, scratch: Path) -> dict[str, Any]:
    """Training at the headline rank with 1 to 16 seeds."""
    return _training_over(SEEDS, "--seeds", repetitions, scratch)


def widths(repetitions: int, scratch: Path) -> dict[str, Any]:
    """Training with one seed on untrained bases of several widths."""
    bases = [scratch / f"{d_model}.pt" for d_model in WIDTHS]
    for d_model, path in zip(WIDTHS, bases, strict=True):
        measure.python("untrained.py", "--width", d_model, "--out", path)
    found = _training_over(bases, "--base", repetitions, scratch, "--seeds", 1)
    for d_model, point in zip(WIDTHS, found["points"], strict=True):
        point["value"] = d_model
    return found


def _training_over(
    values: Sequence[Any], option: str, repetitions: int, scratch: Path, *more: object
) -> dict[str, Any]:
    """Train minituner with each value of an option; the values take turns."""
    command = ("ours.py", "--out", scratch / "out", *more, option)
    usages = measure.alternate(
        {str(value): partial(measure.python, *command, value) for value in values}, repetitions
    )
    points = []
    for value in values:
        found = measure.summary(usages[str(value)])
        seconds, peak_mb = found["wall_seconds"], found["peak_mb"]
        points.append({"value": value, "seconds": seconds, "peak_mb": peak_mb})
    return {"points": points}


def pipeline(repetitions: int, scratch: Path) -> dict[str, Any]:
    """`snakemake report` in a fresh clone, then with nothing changed, then after edits."""
    snakemake = [sys.executable, "-m", "snakemake", "--cores", "4", "report"]
    empty = scratch / "empty"
    empty.mkdir()
    (empty / "Snakefile").write_text("rule report:\n    input: []\n")
    usages: dict[str, list[Usage]] = defaultdict(list)
    for i in range(repetitions):
        clone = scratch / f"clone-{i}"
        measure.run(["git", "clone", "--quiet", ROOT, clone])
        report = partial(measure.run, snakemake, cwd=clone)
        usages["from a fresh clone"].append(report())
        usages["nothing changed"].append(report())
        usages["nothing changed, an empty Snakefile"].append(measure.run(snakemake, cwd=empty))
        with (clone / "minituner/reporting/templates/REPORT.md.j2").open("a") as stream:
            stream.write("<!-- edited -->\n")
        usages["the report's template edited"].append(report())
        _edit_a_training_sentence(clone)
        usages["one training sentence edited"].append(report())
    return {name: measure.summary(runs) for name, runs in usages.items()}


def _edit_a_training_sentence(clone: Path) -> None:
    with (clone / "data/splits/train.jsonl").open(encoding="utf-8") as stream:
        file, _, line = json.loads(next(stream))["source"].rpartition(":")
    path = clone / file
    rows = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(rows[int(line) - 1])
    for key in ("text", "prompt"):
        row[key] = row[key].removesuffix(".") + " indeed."
    rows[int(line) - 1] = json.dumps(row, ensure_ascii=False)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def profile(_repetitions: int, scratch: Path) -> dict[str, Any]:
    """Profiles of a training job and of an evaluation by cProfile, and the time to import torch,
    which both do first."""
    import_torch = [measure.run([sys.executable, "-c", "import torch"]) for _ in range(3)]
    return {
        "import torch": measure.summary(import_torch),
        "training one seed": _printed(
            "profile_job.py", scratch, "ours", "--seeds", 1, "--out", scratch
        ),
        "evaluation of one rank": _printed("profile_job.py", scratch, "evaluate", "--out", scratch),
    }


def _printed(script: str, scratch: Path, *arguments: object) -> dict[str, Any]:
    """The JSON that a script prints as its last line, with its time and peak memory."""
    printed = scratch / "printed.json"
    usage = measure.run([sys.executable, FOLDER / script, *map(str, arguments)], output=printed)
    found: dict[str, Any] = json.loads(printed.read_text().splitlines()[-1])
    return found | {"peak_mb": usage.peak_mb, "wall_seconds": usage.wall_seconds}


SECTIONS: dict[str, Callable[[int, Path], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        training,
        llama,
        step,
        evaluation,
        savings,
        data,
        ranks,
        seeds,
        widths,
        pipeline,
        profile,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    path = FOLDER / "results.json"
    results = read_json(path) if path.is_file() else {}
    results["machine"] = measure.machine()
    for name in options.sections:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            results[name] = SECTIONS[name](options.repetitions, Path(scratch))
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        write_json(path, results)
    from results import write_results

    write_results(read_json(path), FOLDER)


if __name__ == "__main__":
    main()
