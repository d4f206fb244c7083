"""Writes RESULTS.md and scaling.png from results.json.

python benchmarks/results.py    # again, without measuring anything
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from measure import shown
from scaling import microseconds_per_row, peak_mb, plot_scaling, scaling_section, scaling_series
from targets import TRAINER_TARGET, targets_table


def write_results(results: Mapping[str, Any], folder: Path) -> None:
    """Write RESULTS.md with every section that has been measured, and the figure."""
    parts = [INTRODUCTION.format(**results["machine"]), targets_table(results)]
    parts += [words(results[name]) for name, words in SECTIONS.items() if name in results]
    if "pipeline" in results:
        parts.append(edit_bound(results))
    if {"training", "step"} <= results.keys():
        parts.append(ratio_bound(results))
    if {"data", "ranks", "seeds", "widths"} <= results.keys():
        series = scaling_series(results)
        plot_scaling(series, folder / "scaling.png")
        parts.append(scaling_section(series))
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


INTRODUCTION = """# Benchmarks

`make bench` measures everything on this page and writes it here and to results.json. A number
followed by brackets is a median, with the minimum and the maximum in the brackets. A number without
brackets was measured once or is computed from others. Contestants take turns. Processes are timed
as a whole, including start-up, with one thread each. The machine: {processor}, {cores} cores;
Python {python}, torch {torch}, transformers {transformers}, PEFT {peft}, Snakemake {snakemake}."""


# --- the sections -------------------------------------------------------------------------------


def _training(found: Mapping[str, Any]) -> str:
    return f"## One rank, {found['seeds']} seeds\n\n{_comparison(found)}"


def _llama(found: Mapping[str, Any]) -> str:
    parts = [
        "## One rank over a transformers base\n\n"
        "A Llama of 22 million random weights (`benchmarks/llama.py`), adapters on every linear "
        f"layer, {found['every layer']['seeds']} seeds. What is below the lowest adapter is "
        "computed once, so training only the top third of the layers saves most of the work."
    ]
    parts += [f"Adapters on {which}:\n\n{_comparison(each)}" for which, each in found.items()]
    return "\n\n".join(parts)


def _comparison(found: Mapping[str, Any]) -> str:
    lines = [
        f"All contestants use the same base, token ids, batches and {found['steps']} steps per "
        "seed, measure the validation and control losses equally often, and save their adapters. "
        "One shorter run of each, which is not counted, starts from the same A and has no dropout: "
        "its losses differ from minituner's by no more than the last column.",
        "",
        "| contestant | wall, s | processor, s | peak, MB | relative to minituner "
        "| trained weights | losses differ by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, usage in found["contestants"].items():
        lines.append(
            f"| {name} | {shown(usage['wall_seconds'])} | {shown(usage['cpu_seconds'])} "
            f"| {shown(usage['peak_mb'], 0)} | {shown(found['ratio_to_minituner'][name], 2)} "
            f"| {found['trained_parameters'][name]:,} "
            f"| {found['largest_loss_difference'][name]:.1e} |"
        )
    return "\n".join(lines)


def _step(found: Mapping[str, Any]) -> str:
    step, floor = found["step_seconds"], found["floor_seconds"]
    milliseconds = [{key: 1000 * value for key, value in x.items()} for x in (step, floor)]
    rate = found["gflop_a_step"] / floor["median"]
    return (
        "## A training step and its floor\n\n"
        f"A training step takes {shown(milliseconds[0])} ms, and its matrix products alone take "
        f"{shown(milliseconds[1])} ms ({found['gflop_a_step']:.2f} GFLOP at {rate:.0f} GFLOP/s): "
        f"the step takes {found['ratio']:.2f} times its floor."
    )


def ratio_bound(results: Mapping[str, Any]) -> str:
    """The ratio to Trainer if steps took no longer than their matrix products."""
    training = results["training"]
    ours, trainer = (
        training["contestants"][name]["wall_seconds"]["median"] for name in ("minituner", "Trainer")
    )
    step, floor = (results["step"][f"{name}_seconds"]["median"] for name in ("step", "floor"))
    steps = training["steps"] * training["seeds"]
    least = ours - steps * (step - floor)
    needed = step - (ours - trainer / TRAINER_TARGET) / steps
    if trainer / ours >= TRAINER_TARGET:
        verdict = f"The target of {TRAINER_TARGET} times is met."
    else:
        verdict = (
            f"For the target of {TRAINER_TARGET} times, a step would have to take "
            f"{1000 * needed:.1f} ms, {'less' if needed < floor else 'more'} than its matrix "
            f"products alone ({1000 * floor:.1f} ms)."
        )
    return (
        "## An upper bound for the ratio to Trainer\n\n"
        f"Of minituner's {ours:.1f} s, {steps * floor:.1f} s are the matrix products of {steps} "
        f"steps, {steps * (step - floor):.1f} s the rest of these steps, and "
        f"{ours - steps * step:.1f} s everything outside them, such as start-up and validation. If "
        "steps consisted of their matrix products only, the job would take "
        f"{least:.1f} s, and Trainer {trainer / least:.2f} times as long. {verdict}"
    )


def edit_bound(results: Mapping[str, Any]) -> str:
    """The seconds to update the report after an edited sentence if no core were ever idle."""
    edited = results["pipeline"]["one training sentence edited"]
    cores = results["machine"]["cores"]
    wall, busy = (edited[f"{kind}_seconds"]["median"] for kind in ("wall", "cpu"))
    return (
        "## A lower bound for an edited sentence\n\n"
        "After an edit of a training sentence, every rank is trained and evaluated again, and the "
        f"base is evaluated again. The jobs take {busy:.0f} s of processor time, so {cores} cores "
        f"need at least {busy / cores:.0f} s. The run takes {wall:.0f} s: the cores are idle for "
        f"{max(0.0, 1 - busy / (cores * wall)):.0%} of their time.".replace("%", " %")
    )


def _evaluation(found: Mapping[str, Any]) -> str:
    return (
        "## Evaluation of one rank\n\n"
        f"All seeds and splits: {shown(found['wall_seconds'])} s, peak "
        f"{shown(found['peak_mb'], 0)} MB."
    )


def _savings(found: Mapping[str, Any]) -> str:
    kept = {name: row for name, row in found["variants"].items() if name not in found["not_kept"]}
    lines = [
        "## What the fast path saves",
        "",
        "One rank's job, training five seeds and evaluating them, without each saving of "
        "`minituner/fast/`: how much longer the job takes without it, as a share of that longer "
        "time. Each is taken out alone, so the shares do not add up.",
        "",
        *SAVINGS_HEAD,
        *(_saving(name, row) for name, row in kept.items()),
        "",
        *_small_savings(kept),
        "Not kept (`benchmarks/savings.py` still has it): the job with it put in, and how much "
        "shorter it is than the job as it is.",
        "",
        *SAVINGS_HEAD,
        *(_saving(name, found["variants"][name]) for name in found["not_kept"]),
    ]
    return "\n".join(lines)


def _small_savings(kept: Mapping[str, Any]) -> list[str]:
    """How a saving of less than 8 % of the whole job divides into training and evaluation."""
    lines = []
    for name, row in kept.items():
        if name != "as it is" and row["saved_share"]["median"] < 0.08:
            shares = [
                100 * (1 - kept["as it is"][part]["median"] / row[part]["median"])
                for part in ("train_seconds", "evaluate_seconds")
            ]
            lines += [
                f"Under 8 % of the job in this measurement: {name}; it saves {shares[0]:.0f} % of "
                f"the training and {shares[1]:.0f} % of the evaluation.",
                "",
            ]
    return lines


SAVINGS_HEAD = ("| | training, s | evaluation, s | saves, % |", "|---|---|---|---|")


def _saving(name: str, row: Mapping[str, Any]) -> str:
    percent = {key: 100 * value for key, value in row["saved_share"].items()}
    return (
        f"| {name} | {shown(row['train_seconds'])} | {shown(row['evaluate_seconds'])} "
        f"| {'' if name == 'as it is' else shown(percent)} |"
    )


def _profile(found: Mapping[str, Any]) -> str:
    import_torch = shown(found["import torch"]["wall_seconds"])
    lines = [
        "## Where the time of a job goes",
        "",
        f"A process first imports torch, which takes {import_torch} s. The tables show the rest of "
        "one run under cProfile, which slows it down; the seconds are the functions' own.",
    ]
    for job, profile in found.items():
        if job == "import torch":
            continue
        lines += [
            "",
            f"| {job}: {profile['total_seconds']:.1f} s | calls | seconds | share |",
            "|---|---|---|---|",
        ]
        for row in profile["rows"]:
            name = row["function"].replace("|", "\\|")
            share = f"{100 * row['share']:.0f} %"
            lines.append(f"| `{name}` | {row['calls']:,} | {row['seconds']:.2f} | {share} |")
    return "\n".join(lines)


def _pipeline(found: Mapping[str, Any]) -> str:
    lines = [
        "## `snakemake --cores 4 report`",
        "",
        "Each repetition starts with a new clone. Processor time is the sum over all jobs; divided "
        "by the number of cores, it is a lower bound for the wall time.",
        "",
        "| | wall, s | processor, s |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {shown(usage['wall_seconds'])} | {shown(usage['cpu_seconds'])} |"
        for name, usage in found.items()
    ]
    return "\n".join(lines)


def _data(found: Mapping[str, Any]) -> str:
    lines = [
        "## filter, split and tokenize",
        "",
        "| rows | filter, s | split, s | tokenize, s | microseconds per row | peak, MB |",
        "|---|---|---|---|---|---|",
    ]
    for point in found["points"]:
        each = " | ".join(
            shown(point["seconds"][name], 2) for name in ("filter", "split", "tokenize")
        )
        cost = shown(microseconds_per_row(point), 0)
        lines.append(f"| {point['rows']:,} | {each} | {cost} | {shown(peak_mb(point), 0)} |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "pipeline": _pipeline,
    "training": _training,
    "llama": _llama,
    "step": _step,
    "evaluation": _evaluation,
    "savings": _savings,
    "data": _data,
    "profile": _profile,
}


if __name__ == "__main__":
    here = Path(__file__).parent
    write_results(json.loads((here / "results.json").read_text(encoding="utf-8")), here)
