"""What the README says is what the committed results and the files say."""

from __future__ import annotations

import json
import re

from project import ROOT

from minituner.reporting.report import outcome_clause, pct
from minituner.statistics.simulate import simulation_tables

README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADLINE = ROOT / "experiments" / "28-lora-finetune"
SWEEP = ROOT / "experiments" / "28-lora-ablate-rank"


def test_the_result_is_the_committed_one() -> None:
    metrics = json.loads((HEADLINE / "metrics.json").read_text())
    gates = json.loads((HEADLINE / "gates.json").read_text())
    sweep = json.loads((SWEEP / "summary.json").read_text())
    result = README.partition("## The result")[2].partition("\n## ")[0]
    drift = metrics["after"]["control"]["drift"]
    for said in (
        f"{gates['accuracy_gain_pp']['value']:.1f} percentage points at r = {metrics['rank']}",
        f"in {pct(metrics['after']['test']['accuracy'])} of the test sentences",
        f"{pct(metrics['before']['test']['accuracy'])} before",
        f"changes by {drift['text']:+.1%}".replace("%", " %"),
        f"by {drift['target']:+.1%} on the answers alone".replace("%", " %"),
        outcome_clause(sweep),
    ):
        assert said in result, said


def test_what_is_said_of_the_ablations_is_what_they_found() -> None:
    """The README's sentence on full fine-tuning, from the arm's summary."""
    summary = json.loads((ROOT / "experiments/28-lora-ablate-full/summary.json").read_text())
    rows = {(row["run"], row["rank"]): row for row in summary["rows"]}
    chosen = rows[summary["chosen"]["run"], summary["chosen"]["rank"]]
    lora = next(row for row in rows.values() if row["is_study"])
    result = README.partition("## The result")[2].partition("\n## ")[0]
    for said in (
        f"drifts by {chosen['text_drift']['mean']:+.1%}".replace("%", " %"),
        f"stores {pct(lora['size_ratio'])} of it",
    ):
        assert said in result, said


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
        # Near the top, and of verbs that are alike, the exact interval is the wider, by its nature.
        exact = row["scenario"] in ("accuracy 95 %", "accuracy 80 %, equal verbs")
        assert 0.92 <= row["coverage"] <= (1 if exact else 0.98), row
    rows = {row["scenario"]: row for row in results["power"]}
    flat = [row for row in rows.values() if row["truth"] == "flat"]
    elbows = [rows[f"elbow at {rank}, 30 points per rank"] for rank in (4, 8)]
    assert len(flat) == 3
    assert all(row["right"] >= 0.9 for row in flat)
    assert all(row["right"] >= 0.85 for row in elbows)


def test_all_gates_pass_in_the_committed_results() -> None:
    gates = json.loads((HEADLINE / "gates.json").read_text())
    assert set(gates) == {
        "accuracy_gain_pp",
        "control_ppl_drift",
        "base_max_abs_diff",
        "adapter_size_ratio",
    }
    assert all(gate["pass"] for gate in gates.values())


def test_every_file_that_is_linked_or_shown_is_there() -> None:
    documents = [
        *(
            ROOT / name
            for name in ("README.md", "REPORT.md", "docs/elbow.md", "docs/evaluation.md")
        ),
        ROOT / "experiments/28-lora-ablations/REPORT.md",
    ]
    for document in documents:
        for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).is_file(), f"{document}: {link}"


def test_the_two_commands_come_first() -> None:
    blocks = re.findall(r"^    (\w+ .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
    assert blocks[:2] == ["make report", "make test"]
    assert blocks[2:5] == [
        "snakemake --cores 4 report",
        "snakemake experiments/28-lora-ablate-rank/accuracy_vs_rank.png",
        "snakemake --dag | dot -Tsvg > dag.svg",
    ]
