"""What the README says is what the committed results and the files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

from minituner.report import outcome_clause, pct

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADLINE = ROOT / "experiments" / "28-lora-finetune"
SWEEP = ROOT / "experiments" / "28-lora-ablate-rank"


def test_the_result_is_the_committed_one() -> None:
    metrics = json.loads((HEADLINE / "metrics.json").read_text())
    gates = json.loads((HEADLINE / "gates.json").read_text())
    elbow = json.loads((SWEEP / "summary.json").read_text())["elbow"]
    result = README.partition("## The result")[2].partition("\n## ")[0]
    drift = metrics["after"]["control"]["drift"]
    for said in (
        f"{gates['accuracy_gain_pp']['value']:.1f} percentage points at r = {metrics['rank']}",
        f"in {pct(metrics['after']['test']['accuracy'])} of the test sentences",
        f"{pct(metrics['before']['test']['accuracy'])} before",
        f"changes by {drift['text']:+.1%}".replace("%", " %"),
        f"by {drift['target']:+.1%} on the answers alone".replace("%", " %"),
        outcome_clause(elbow),
    ):
        assert said in result, said


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
    for document in (README, (ROOT / "REPORT.md").read_text(encoding="utf-8")):
        links = re.findall(r"\]\(([^)#]+)\)", document)
        assert links
        for link in links:
            assert (ROOT / link).is_file(), link


def test_the_two_commands_come_first() -> None:
    blocks = re.findall(r"^    (\w+ .*?)(?: {2,}#.*)?$", README, re.MULTILINE)
    assert blocks[:2] == ["make report", "make test"]
    assert blocks[2:5] == [
        "snakemake --cores 4 report",
        "snakemake experiments/28-lora-ablate-rank/accuracy_vs_rank.png",
        "snakemake --dag | dot -Tsvg > dag.svg",
    ]
