"""What REPORT.md says of further control sets, and of a drift that says little."""

from __future__ import annotations

import copy
import re
from typing import Any, cast

import pytest
from example_results import interval, report_results
from markdown import tables_of
from project import ROOT

from minituner.reporting.rendering import environment
from minituner.results import Gate

TEMPLATES = ROOT / "minituner/reporting/templates"
PAIRS = {"n": 67, "accuracy": 0.8}
TEXTS = {"n": 1200}


def cells(line: str) -> list[str]:
    """The cells of a row; a bar that is escaped is text."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def gate(value: float, threshold: float = 0.05, doubt: str | None = None) -> Gate:
    found = {"value": value, "rule": "<=", "threshold": threshold, "pass": value <= threshold}
    return cast(Gate, found | ({"doubt": doubt} if doubt else {}))


def metrics(kind: dict[str, Any], perplexity: float, drift: float | None = None) -> dict[str, Any]:
    both = {"text": perplexity, "target": perplexity}
    found = {**kind, "perplexity": both}
    return found if drift is None else found | {"drift": {"text": drift, "target": drift}}


@pytest.fixture
def results() -> dict[str, Any]:
    """A study with texts in French, of which much is forgotten, and pairs, of which nothing is."""
    found: dict[str, Any] = copy.deepcopy(dict(report_results()))
    before, after = found["metrics"]["before"], found["metrics"]["after"]
    before["controls"] = {"blimp": metrics(PAIRS, 20.0), "french": metrics(TEXTS, 40.0)}
    after["controls"] = {
        "blimp": metrics(PAIRS | {"accuracy": 0.75}, 20.2, 0.01),
        "french": metrics(TEXTS, 60.0, 0.5),
    }
    found["gates"] |= {
        "control_ppl_drift/blimp": gate(0.01),
        "control_ppl_drift/french": gate(0.5, 0.2),
    }
    for row, scale in zip(found["sweep"]["ranks"], (1, 2, 3), strict=True):
        row["control_drifts"] = {"blimp": interval(0.01), "french": interval(0.1 * scale)}
    return found


def section(results: dict[str, Any]) -> str:
    module: Any = environment(TEMPLATES).get_template("controls.j2").module
    of = results["metrics"]
    text: str = module.section(
        of["before"], of["after"], results["gates"], results["sweep"], "regular | verbs"
    )
    return text + "\n"


def doubts(results: dict[str, Any]) -> str:
    module: Any = environment(TEMPLATES).get_template("controls.j2").module
    text = module.doubts(results["gates"], results["metrics"]["before"], "regular verbs")
    return " ".join(text.split())


def test_every_control_set_has_a_row_with_its_limit(results: dict[str, Any]) -> None:
    first, _ = tables_of(section(results))
    _, _, own, blimp, french = map(cells, first)
    control = results["metrics"]["after"]["control"]
    assert own[:2] == ["regular \\| verbs", str(control["n"])]
    assert blimp == [
        "blimp", "67", "20.0000", "20.2000", "+1.0 %", "+5.0 %", "**PASS**", "80.0 %", "75.0 %"
    ]  # fmt: skip
    assert french == [
        "french", "1,200", "40.0000", "60.0000", "+50.0 %", "+20.0 %", "**FAIL**", "", ""
    ]  # fmt: skip


def test_every_rank_has_the_drift_of_each_control_set(results: dict[str, Any]) -> None:
    _, by_rank = tables_of(section(results))
    heading, _, *rows = map(cells, by_rank)
    assert heading == ["rank", "regular \\| verbs", "blimp", "french"]
    assert [row[0] for row in rows] == ["2", "8", "32"]
    assert [row[2] for row in rows] == ["1.00 % [-4.00, 6.00]"] * 3
    assert [row[3].split(" %")[0] for row in rows] == ["10.00", "20.00", "30.00"]


def test_a_control_set_that_the_base_hardly_knows_is_named(results: dict[str, Any]) -> None:
    assert doubts(results) == ""
    results["metrics"]["before"]["controls"]["french"] |= {
        "unknown_above": 512.0,
        "perplexity": {"text": 686.04, "target": 700.0},
    }
    results["gates"]["control_ppl_drift/french"] = gate(-0.4, doubt="unknown")
    assert doubts(results) == (
        "**The gate `control_ppl_drift/french` says little about forgetting.** The base hardly "
        "knows `french`: its perplexity there, 686.0, is above 512, half of what guessing evenly "
        "among all tokens of the vocabulary gives. What a model does not know it cannot forget, "
        "whether the gate passes or fails."
    )
    assert "**PASS**, but see above" in section(results)


def test_a_control_set_that_tuning_improved_is_named(results: dict[str, Any]) -> None:
    results["gates"]["control_ppl_drift"] = gate(-0.25, doubt="improved")
    said = doubts(results)
    assert said.startswith("**The gate `control_ppl_drift` says little about forgetting.** Tuning")
    assert "changed the perplexity of regular verbs by -25.0 %" in said
