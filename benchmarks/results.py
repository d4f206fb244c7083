"""RESULTS.md from results.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_results(results: Mapping[str, Any], folder: Path) -> None:
    """Write RESULTS.md with every section that has been measured."""
    parts = [INTRODUCTION.format(**results["machine"]), _targets(results)]
    parts += [words(results[name]) for name, words in SECTIONS.items() if name in results]
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


TARGETS: tuple[tuple[str, float, str, bool, Callable[[Mapping[str, Any]], float]], ...] = (
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
        "## One rank, five seeds",
        "",
        f"The same base, token ids, batches, {found['steps']} steps a seed and count of trained "
        "weights; adapters saved by each. Only minituner also measures the validation loss and the "
        "control perplexity on the way. From the same start of A and without dropout the losses of "
        "all steps agree, up to the last column.",
        "",
        "| contestant | wall, s | processor, s | peak, MB | times minituner's | loss differs by |",
        "|---|---|---|---|---|---|",
    ]
    for name, usage in found["contestants"].items():
        lines.append(
            f"| {name} | {_figure(usage['wall_seconds'])} | {_figure(usage['cpu_seconds'])} "
            f"| {_figure(usage['peak_mb'], 0)} | {_figure(found['ratio_to_minituner'][name], 2)} "
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


def _evaluation(found: Mapping[str, Any]) -> str:
    return (
        "## Evaluation of one rank\n\n"
        f"Five seeds, all splits: {_figure(found['wall_seconds'])} s, peak "
        f"{_figure(found['peak_mb'], 0)} MB."
    )


def _profile(found: Mapping[str, Any]) -> str:
    lines = [
        "## Where the time of a training job goes",
        "",
        f"cProfile over one seed, {found['total_seconds']:.1f} s in all (more than without it).",
        "",
        "| function | calls | seconds of its own | share |",
        "|---|---|---|---|",
    ]
    for row in found["rows"]:
        name = row["function"].replace("|", "\\|")
        lines.append(
            f"| `{name}` | {row['calls']:,} | {row['seconds']:.2f} | {100 * row['share']:.0f} % |"
        )
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "training": _training,
    "step": _step,
    "evaluation": _evaluation,
    "profile": _profile,
}
