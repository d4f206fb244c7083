"""Further control sets of the verb study: plain French, and a BLiMP file, converted and named."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from study import Study

FRENCH = [
    f"{who} {what} {when}."
    for who, what, when in product(
        ("L'été", "Ma sœur", "Le thé"), ("est là", "n'a rien dit", "arrive à midi"), ("ici", "déjà")
    )
]
BLIMP = [
    {
        "sentence_good": f"{who} {right} {what}.",
        "sentence_bad": f"{who} {wrong} {what}.",
        "UID": f"agreement_{number}",
        "linguistics_term": "agreement",
        "pairID": str(i),
    }
    for number, (who, right, wrong) in enumerate(
        [("The cats", "annoy", "annoys"), ("My dog", "likes", "like")]
    )
    for i, what in enumerate(("Tim", "us", "the boys", "Ana and me"))
]


def read(study: Study, file: str) -> Any:
    return json.loads((study.root / file).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def controlled(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study with two further control sets, converted by the command."""
    study = finished.copy(tmp_path_factory.mktemp("controls") / "study")
    (study.root / "french.txt").write_text("\n".join(FRENCH) + "\n", encoding="utf-8")
    (study.root / "blimp.jsonl").write_text("".join(json.dumps(x) + "\n" for x in BLIMP))
    for file, options in (("french.txt", []), ("blimp.jsonl", ["--to", "pairs"])):
        output = f"own/{Path(file).stem}.jsonl"
        done = study.run("-m", "minituner", "convert", file, output, *options)
        assert done.code == 0, done.output
    config = study.config
    config["task"]["controls"] = {
        "french": {"file": "own/french.jsonl", "max_drift": 0.5},
        "blimp": {"file": "own/blimp.jsonl"},
    }
    study.write_config(config)
    return study


def test_further_control_sets_reach_the_gates_and_the_report(
    controlled: Study, finished: Study
) -> None:
    done = controlled.snakemake("--cores", "2", "report")
    assert done.code == 0, done.output
    expected = {"read_control", "evaluate", "evaluate_base", "headline", "summarize", "plot"}
    assert expected <= done.rules
    assert not done.rules & {"filter", "train_tokenizer", "pretrain_base", "train"}

    gates = read(controlled, "experiments/28-lora-finetune/gates.json")
    limits = {name: gate["threshold"] for name, gate in gates.items() if "drift" in name}
    assert limits == {
        "control_ppl_drift": 0.05,
        "control_ppl_drift/blimp": 0.05,
        "control_ppl_drift/french": 0.5,
    }
    metrics = read(controlled, "experiments/28-lora-finetune/metrics.json")
    for name, items in (("french", FRENCH), ("blimp", BLIMP)):
        before, after = (metrics[side]["controls"][name] for side in ("before", "after"))
        assert before["n"] == len(items)
        assert ("accuracy" in before) is (name == "blimp")
        drift = after["perplexity"]["text"] / before["perplexity"]["text"] - 1
        assert gates[f"control_ppl_drift/{name}"]["value"] == pytest.approx(drift)
    report = (controlled.root / "REPORT.md").read_text(encoding="utf-8")
    for words in ("### Control sets", "| french | 18 |", "| blimp | 8 |", "drift/french` |"):
        assert words in report

    # What is not about them is as it was, and so is a study without them.
    for side in ("before", "after"):
        metrics[side].pop("controls")
    former = read(finished, "experiments/28-lora-finetune/metrics.json")
    assert metrics == former
    assert "Control sets" not in (finished.root / "REPORT.md").read_text(encoding="utf-8")
    assert "unknown_above" not in former["before"]["control"]


def test_items_of_a_control_set_of_texts_have_losses_only(controlled: Study) -> None:
    """After the test above, which runs the study."""
    path = controlled.root / "experiments/28-lora-ablate-rank/rank-8/items.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "controls/french"]
    assert len(rows) == 2 * len(FRENCH)  # seeds
    assert {row["correct_form"] for row in rows} == set(FRENCH)
    for row in rows:
        assert (row["correct"], row["margin_nats"], row["wrong_form"]) == ("", "", "")
        assert float(row["text_nll_nats"]) > 0 and int(row["text_tokens"]) > 0


def test_a_limit_of_a_control_set_changes_its_gate_alone(controlled: Study) -> None:
    config = controlled.config
    config["task"]["controls"]["french"]["max_drift"] = 0.25
    controlled.write_config(config)
    done = controlled.snakemake("--cores", "2", "report")
    assert done.rules == {"headline", "plot", "render"}, done.output
    gates = read(controlled, "experiments/28-lora-finetune/gates.json")
    assert gates["control_ppl_drift/french"]["threshold"] == 0.25
