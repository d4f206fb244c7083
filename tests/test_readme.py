"""The README states what the committed results and files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from example_results import committed
from markdown import anchors_of, links_of
from project import ROOT

from minituner.reporting.rendering import environment
from minituner.reporting.verdicts import sweep_verdict
from minituner.statistics.simulate import simulation_tables

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEMPLATES = ROOT / "minituner/reporting/templates"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "experiments/*/*.md")
    for path in ROOT.glob(pattern)
)

# --- the numbers of the result ------------------------------------------------------------------


def results_of_readme() -> list[str]:
    """The items of the README's list: what it buys, what it breaks, the rank, the frozen base."""
    section = README.partition("## The result")[2].partition("\n## ")[0]
    items = re.findall(r"^- ((?:.+\n)(?:  .+\n)*)", section, re.MULTILINE)
    assert len(items) == 4
    return items


def numbers(text: str) -> list[str]:
    """Its numbers without their signs, sorted."""
    return sorted(re.findall(r"\d+(?:\.\d+)?", text))


def percent(share: float) -> str:
    return f"{abs(100 * share):.1f}"


def assert_direction(text: str, change: float) -> None:
    """A change is said to go up or down as it does, in words or by its sign."""
    down = re.search(r"\bfalls\b|\blower\b|-\d", text) is not None
    up = re.search(r"\brises\b|\bhigher\b|\+\d|\bpercentage points\b", text) is not None
    assert (up, down) == (change > 0, change < 0), text


def test_readme_states_what_the_headline_run_buys() -> None:
    metrics, gates = (committed(f"28-lora-finetune/{name}.json") for name in ("metrics", "gates"))
    gain = gates["accuracy_gain_pp"]["value"]
    accuracies = [metrics[moment]["test"]["accuracy"] for moment in ("before", "after")]
    buys = results_of_readme()[0]
    assert numbers(buys) == sorted(
        [f"{abs(gain):.1f}", str(metrics["rank"]), *map(percent, accuracies)]
    )
    assert buys.index(percent(accuracies[1])) < buys.index(percent(accuracies[0])), "then before"
    assert_direction(buys, gain)


def test_readme_states_what_the_headline_run_breaks() -> None:
    drift = committed("28-lora-finetune/metrics.json")["after"]["control"]["drift"]
    breaks = results_of_readme()[1]
    assert numbers(breaks) == sorted([percent(drift["text"]), percent(drift["target"])])
    assert breaks.index(percent(drift["text"])) < breaks.index(percent(drift["target"]))
    assert_direction(breaks, drift["text"])


def test_readme_states_the_outcome_of_the_sweep() -> None:
    """In the words of the report."""
    sweep = committed("28-lora-ablate-rank/summary.json")
    verdict = sweep_verdict(sweep)
    outcomes = environment(TEMPLATES).get_template("outcomes.j2").module
    rank = results_of_readme()[2]
    assert getattr(outcomes, f"{verdict.outcome}_clause")(verdict) in rank
    assert set(numbers(rank)) <= {str(row["rank"]) for row in sweep["ranks"]}


def test_readme_states_what_full_fine_tuning_breaks() -> None:
    summary = committed("28-lora-ablate-full/summary.json")
    rows = {(row["run"], row["rank"]): row for row in summary["rows"]}
    chosen = rows[summary["chosen"]["run"], summary["chosen"]["rank"]]
    lora = next(row for row in rows.values() if row["is_study"])
    drift = chosen["text_drift"]["mean"]
    frozen = results_of_readme()[3]
    assert numbers(frozen) == sorted([percent(drift), percent(lora["size_ratio"])])
    assert frozen.index(percent(drift)) < frozen.index(percent(lora["size_ratio"]))
    assert_direction(frozen, drift)


def test_all_gates_pass_in_the_committed_results() -> None:
    gates = committed("28-lora-finetune/gates.json")
    assert set(gates) == {
        "accuracy_gain_pp",
        "control_ppl_drift",
        "base_max_abs_diff",
        "adapter_size_ratio",
    }
    assert all(gate["pass"] for gate in gates.values())


# --- the simulations ----------------------------------------------------------------------------

SIMULATION = ROOT / "experiments" / "28-lora-simulation"


def test_the_tables_on_the_elbow_are_the_committed_ones() -> None:
    text = (ROOT / "docs/elbow.md").read_text(encoding="utf-8")
    quoted = text.partition("<!-- simulation -->\n")[2].partition("<!-- /simulation -->")[0]
    assert quoted == (SIMULATION / "simulation.md").read_text()
    assert quoted == simulation_tables(json.loads((SIMULATION / "simulation.json").read_text()))


def test_the_statistics_are_as_good_as_they_are_said_to_be() -> None:
    results = json.loads((SIMULATION / "simulation.json").read_text())
    for row in results["coverage"]:
        assert row["studies"] >= 400
        # Near the top, and for identical verbs, the exact interval is wider by construction.
        exact = row["scenario"] in ("accuracy 95 %", "accuracy 80 %, equal verbs")
        assert 0.92 <= row["coverage"] <= (1 if exact else 0.98), row
    rows = {row["scenario"]: row for row in results["power"]}
    flat = [row for row in rows.values() if row["truth"] == "flat"]
    elbows = [rows[f"elbow at {rank}, 30 points per rank"] for rank in (4, 8)]
    assert len(flat) == 3
    assert all(row["right"] >= 0.9 for row in flat)
    assert all(row["right"] >= 0.85 for row in elbows)


# --- commands and links -------------------------------------------------------------------------


def test_the_two_commands_come_first() -> None:
    """Whatever else is there; tests/test_documented.py has the others."""
    commands = re.findall(r"^    (\w+ .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
    assert commands[:2] == ["make report", "make test"]
    assert {
        "snakemake --cores 4 report",
        "snakemake experiments/28-lora-ablate-rank/accuracy_vs_rank.png",
        "snakemake --dag | dot -Tsvg > dag.svg",
    } <= set(commands)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    """To a file that is there, and in a document to an anchor or a heading of it."""
    for link in links_of(document.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), link


def test_every_document_is_checked() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS}
    assert {"README.md", "REPORT.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= names
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= names
    assert {"benchmarks/RESULTS.md", "experiments/28-lora-ablations/REPORT.md"} <= names
