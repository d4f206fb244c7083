"""RESULTS.md follows from results.json, and its text from the figures in it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from project import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that writes RESULTS.md; the scripts of its folder import each other by name."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("results")


@pytest.fixture
def measured() -> Any:
    return json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))


def test_results_md_is_made_from_results_json(
    results: ModuleType, measured: Any, tmp_path: Path
) -> None:
    results.write_results(measured, tmp_path)
    for name in ("RESULTS.md", "scaling.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert (tmp_path / "RESULTS.md").read_text() == (FOLDER / "RESULTS.md").read_text()


def test_scaling_section_names_single_runs(results: ModuleType, measured: Any) -> None:
    for point in measured["ranks"]["points"]:
        point |= {"seconds": 8.0, "peak_mb": 400.0}
    for section in ("seeds", "widths"):
        for point in measured[section]["points"]:
            point["seconds"] = {"median": 8.0, "min": 7.0, "max": 9.5}
            point["peak_mb"] = {"median": 400.0, "min": 390.0, "max": 410.0}
    text = results.scaling_section(results.scaling_series(measured))
    assert "Single runs: rank, one seed. The other points are medians" in text
    assert "| rank, one seed | 2 | 256 | 8.0 to 8.0 |" in text
    assert "| 8.0 [7.0, 9.5] to 8.0 [7.0, 9.5] | 0.00 | 400 [390, 410] to" in text


@pytest.mark.parametrize(
    ("trainer", "verdict"),
    [
        (90.0, "The target of 3 times is met."),
        # To take a third of Trainer's time, the job has to save 0.6 s or 10 s in 10 steps of 2 s.
        (88.2, "would have to take 1940.0 ms, more than its matrix products alone (1500.0 ms)"),
        (60.0, "would have to take 1000.0 ms, less than its matrix products alone (1500.0 ms)"),
    ],
)
def test_ratio_bound_follows_the_figures(results: ModuleType, trainer: float, verdict: str) -> None:
    seconds = {"minituner": 30.0, "Trainer": trainer}
    contestants = {name: {"wall_seconds": {"median": s}} for name, s in seconds.items()}
    text = results.ratio_bound(
        {
            "training": {"steps": 5, "seeds": 2, "contestants": contestants},
            "step": {"step_seconds": {"median": 2.0}, "floor_seconds": {"median": 1.5}},
        }
    )
    assert "30.0 s, 15.0 s are the matrix products of 10 steps, 5.0 s the rest" in text
    assert verdict in text


def test_savings_of_the_bench_are_those_of_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    variants, savings = (importlib.import_module(name) for name in ("variants", "savings"))
    assert tuple(savings.KEPT) == (*variants.KEPT, variants.ALL)
    assert tuple(savings.NOT_KEPT) == variants.NOT_KEPT
