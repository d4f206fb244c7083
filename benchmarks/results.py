"""RESULTS.md and its plots from results.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter


def write_results(results: Mapping[str, Any], folder: Path) -> None:
    """Write RESULTS.md with every section that has been measured."""
    parts = [INTRODUCTION.format(**results["machine"]), _targets(results)]
    parts += [words(results[name]) for name, words in SECTIONS.items() if name in results]
    if "pipeline" in results:
        parts.append(_what_bounds_the_edit(results))
    if {"training", "step"} <= results.keys():
        parts.append(_what_bounds_the_ratio(results))
    if {"data", "ranks", "seeds", "widths"} <= results.keys():
        series = scaling_series(results)
        plot_scaling(series, folder / "scaling.png")
        parts.append(_scaling(series))
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


INTRODUCTION = """# Benchmarks

`make bench` measures all of this and writes it here and into results.json. Contestants take turns,
after a shorter run that does not count; figures are medians, in brackets the least and the most.
Processes are timed whole, start-up included, one thread each. {processor}, {cores} cores; Python
{python}, torch {torch}, transformers {transformers}, PEFT {peft}, Snakemake {snakemake}."""


# --- the targets --------------------------------------------------------------------------------


def _targets(results: Mapping[str, Any]) -> str:
    lines = ["| what | target | measured | |", "|---|---|---|---|"]
    for what, target, unit, below, measured in TARGETS:
        try:
            value = measured(results)
        except KeyError:
            continue
        met = value <= target if below else value >= target
        sign = "≤" if below else "≥"
        verdict = "met" if met else "**missed**"
        lines.append(f"| {what} | {sign} {target:g} {unit} | {value:.3g} {unit} | {verdict} |")
    return "\n".join(lines)


def _wall(results: Mapping[str, Any], name: str) -> float:
    return float(results["pipeline"][name]["wall_seconds"]["median"])


def _microseconds_a_row(point: Mapping[str, Any]) -> dict[str, float]:
    return {key: 1e6 * value / point["rows"] for key, value in point["seconds_in_all"].items()}


def _row_cost(results: Mapping[str, Any], rows: int) -> float:
    point = next(point for point in results["data"]["points"] if point["rows"] == rows)
    return _microseconds_a_row(point)["median"]


def _peak_mb(point: Mapping[str, Any]) -> float:
    return max(float(figure["max"]) for figure in point["peak_mb"].values())


TARGETS: tuple[tuple[str, float, str, bool, Callable[[Mapping[str, Any]], float]], ...] = (
    ("from a fresh clone to REPORT.md", 240, "s", True, lambda r: _wall(r, "from a fresh clone")),
    (
        "nothing changed, to an empty Snakefile",
        1.25,
        "x",
        True,
        lambda r: _wall(r, "nothing changed") / _wall(r, "nothing changed, an empty Snakefile"),
    ),
    (
        "the template edited, more than nothing changed",
        3,
        "s",
        True,
        lambda r: _wall(r, "the report's template edited") - _wall(r, "nothing changed"),
    ),
    (
        "one training sentence edited",
        100,
        "s",
        True,
        lambda r: _wall(r, "one training sentence edited"),
    ),
    (
        "transformers + PEFT + Trainer, to ours",
        3,
        "x",
        False,
        lambda r: r["training"]["ratio_to_minituner"]["Trainer"]["median"],
    ),
    (
        "a plain loop with PEFT's layer, to ours",
        1.5,
        "x",
        False,
        lambda r: r["training"]["ratio_to_minituner"]["PEFT loop"]["median"],
    ),
    ("a training step, to its matrix products", 1.5, "x", True, lambda r: r["step"]["ratio"]),
    (
        "evaluation of one rank",
        6,
        "s",
        True,
        lambda r: r["evaluation"]["wall_seconds"]["median"],
    ),
    (
        "cost of a row, of 1,000,000 to of 10,000",
        1.3,
        "x",
        True,
        lambda r: _row_cost(r, 1_000_000) / _row_cost(r, 10_000),
    ),
    (
        "peak memory at 1,000,000 rows",
        1024,
        "MB",
        True,
        lambda r: _peak_mb(r["data"]["points"][-1]),
    ),
    (
        "peak memory of a training job",
        1024,
        "MB",
        True,
        lambda r: r["training"]["contestants"]["minituner"]["peak_mb"]["max"],
    ),
)


# --- the sections -------------------------------------------------------------------------------


def _figure(figure: Mapping[str, float], digits: int = 1) -> str:
    low, high = figure["min"], figure["max"]
    return f"{figure['median']:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _training(found: Mapping[str, Any]) -> str:
    lines = [
        f"## One rank, {found['seeds']} seeds",
        "",
        f"The same base, token ids, batches and {found['steps']} steps a seed; the validation and "
        "the control loss measured as often; adapters saved by each. From the same start of A and "
        "without dropout all these losses agree, up to the last column.",
        "",
        "| contestant | wall, s | processor, s | peak, MB | times minituner's | trained weights "
        "| losses differ by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, usage in found["contestants"].items():
        lines.append(
            f"| {name} | {_figure(usage['wall_seconds'])} | {_figure(usage['cpu_seconds'])} "
            f"| {_figure(usage['peak_mb'], 0)} | {_figure(found['ratio_to_minituner'][name], 2)} "
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
        f"A step of 16 pairs takes {_figure(milliseconds[0])} ms, its matrix products alone "
        f"{_figure(milliseconds[1])} ms ({found['gflop_a_step']:.2f} GFLOP, {rate:.0f} GFLOP/s): "
        f"{found['ratio']:.2f} times its floor."
    )


def _what_bounds_the_ratio(results: Mapping[str, Any]) -> str:
    """What a rank would take if its steps took no longer than their matrix products."""
    training = results["training"]
    ours, trainer = (
        training["contestants"][name]["wall_seconds"]["median"] for name in ("minituner", "Trainer")
    )
    step, floor = (results["step"][f"{name}_seconds"]["median"] for name in ("step", "floor"))
    steps = training["steps"] * training["seeds"]
    least = ours - steps * (step - floor)
    needed = step - (ours - trainer / 3) / steps
    return (
        "## How far Trainer can be outrun\n\n"
        f"Of minituner's {ours:.1f} s, {steps * floor:.1f} s are the matrix products of {steps} "
        f"steps, {steps * (step - floor):.1f} s what the steps do besides: attention, GELU, norms, "
        f"dropout's masks, copies between layouts; the other {ours - steps * step:.1f} s start it, "
        "load the base, compute the frozen part, measure the losses on the way and save. With "
        f"steps that only multiply, the job would take {least:.1f} s, and Trainer "
        f"{trainer / least:.2f} times as long. Three times as long it would take if a step took "
        f"{1000 * needed:.1f} ms: {needed / floor:.2f} times its products."
    )


def _what_bounds_the_edit(results: Mapping[str, Any]) -> str:
    """What editing a sentence would take if no processor were ever idle."""
    edited = results["pipeline"]["one training sentence edited"]
    cores = results["machine"]["cores"]
    wall, busy = (edited[f"{kind}_seconds"]["median"] for kind in ("wall", "cpu"))
    return (
        "## How soon an edited sentence can be in the report\n\n"
        "Every rank is trained and evaluated anew, as are the base's figures. That keeps a "
        f"processor busy for {busy:.0f} s, so {cores} of them for {busy / cores:.0f} s at the "
        f"least; the other {wall - busy / cores:.0f} s of the {wall:.0f} s have idle ones: while "
        "Snakemake starts, beside the last training job once the other evaluations are done, and "
        "during the last evaluation and the plots, which wait for it."
    )


def _evaluation(found: Mapping[str, Any]) -> str:
    return (
        "## Evaluation of one rank\n\n"
        f"Five seeds, all splits: {_figure(found['wall_seconds'])} s, peak "
        f"{_figure(found['peak_mb'], 0)} MB."
    )


def _profile(found: Mapping[str, Any]) -> str:
    import_torch = _figure(found["import torch"]["wall_seconds"])
    lines = [
        "## Where the time of a job goes",
        "",
        f"First a process imports torch, {import_torch} s. The rest by cProfile, which adds to it: "
        "the functions' own time.",
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
        "Before each repetition the repository is cloned anew. What the processors were busy, over "
        "all jobs, is the least that the wall clock can show when divided by their number.",
        "",
        "| | wall, s | processors, s |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {_figure(usage['wall_seconds'])} | {_figure(usage['cpu_seconds'])} |"
        for name, usage in found.items()
    ]
    return "\n".join(lines)


def _data(found: Mapping[str, Any]) -> str:
    lines = [
        "## filter, split and tokenize",
        "",
        "| rows | filter, s | split, s | tokenize, s | microseconds a row | peak, MB |",
        "|---|---|---|---|---|---|",
    ]
    for point in found["points"]:
        each = " | ".join(
            _figure(point["seconds"][name], 2) for name in ("filter", "split", "tokenize")
        )
        cost = _figure(_microseconds_a_row(point), 0)
        lines.append(f"| {point['rows']:,} | {each} | {cost} | {_peak_mb(point):.0f} |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "pipeline": _pipeline,
    "training": _training,
    "step": _step,
    "evaluation": _evaluation,
    "data": _data,
    "profile": _profile,
}


# --- scaling ------------------------------------------------------------------------------------

Series = tuple[str, list[float], list[float], list[float]]  # its name, x, seconds, peak MB


def scaling_series(results: Mapping[str, Any]) -> list[Series]:
    """Time and memory against each of the four sizes."""
    data = results["data"]["points"]
    series: list[Series] = [
        (
            "rows of the corpus",
            [point["rows"] for point in data],
            [point["seconds_in_all"]["median"] for point in data],
            [_peak_mb(point) for point in data],
        )
    ]
    for section, name in (
        ("ranks", "rank, one seed"),
        ("seeds", "seeds, headline rank"),
        ("widths", "width, one seed"),
    ):
        points = results[section]["points"]
        columns = ([point[key] for point in points] for key in ("value", "seconds", "peak_mb"))
        series.append((name, *columns))
    return series


def plot_scaling(series: Sequence[Series], path: Path) -> None:
    """Seconds and memory on log scales."""
    figure, axes = plt.subplots(2, len(series), figsize=(14, 6), layout="constrained")
    for column, (name, x, seconds, peak_mb) in enumerate(series):
        for row, (label, y) in enumerate((("seconds", seconds), ("peak, MB", peak_mb))):
            panel = axes[row][column]
            panel.loglog(x, y, "o-", color="#0072B2")
            panel.set_ylim(*at_least_a_decade(y))
            panel.set(xlabel=name, ylabel=label, title=f"exponent {exponent(x, y):.2f}")
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.grid(alpha=0.25, which="both")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def at_least_a_decade(y: Sequence[float]) -> tuple[float, float]:
    """Limits of a log axis around y, so far apart that what is flat looks flat."""
    margin = max(1.2, math.sqrt(10 * min(y) / max(y)))
    return min(y) / margin, max(y) * margin


def _scaling(series: Sequence[Series]) -> str:
    lines = [
        "## Scaling",
        "",
        "![Seconds and memory against rows, rank, seeds and width](scaling.png)",
        "",
        "The exponent of a power law through the upper half of the points; what a process takes to "
        "start, and the memory of its libraries, flatten it.",
        "",
        "| against | from | to | seconds | exponent | peak, MB | exponent |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, x, seconds, peak_mb in series:
        lines.append(
            f"| {name} | {x[0]:,} | {x[-1]:,} | {seconds[0]:.1f} to {seconds[-1]:.1f} "
            f"| {exponent(x, seconds):.2f} | {peak_mb[0]:.0f} to {peak_mb[-1]:.0f} "
            f"| {exponent(x, peak_mb):.2f} |"
        )
    return "\n".join(lines)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The slope of a line through the upper half of the points, on log scales."""
    half = math.ceil(len(x) / 2)
    return float(np.polyfit(np.log(x[-half:]), np.log(y[-half:]), 1)[0])
