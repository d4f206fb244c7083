"""A task that has nothing to do with verbs, through the whole pipeline, in both scorings."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from study import Study

# Plurals: right, and with a regular ending.
NOUNS = {
    "mouse": ("mice", "mouses"), "goose": ("geese", "gooses"), "tooth": ("teeth", "tooths"),
    "foot": ("feet", "foots"), "child": ("children", "childs"), "ox": ("oxen", "oxes"),
    "man": ("men", "mans"), "woman": ("women", "womans"), "louse": ("lice", "louses"),
    "person": ("people", "persones"), "wolf": ("wolves", "wolfs"), "leaf": ("leaves", "leafs"),
    "knife": ("knives", "knifes"), "sheep": ("sheep", "sheeps"), "fish": ("fish", "fishies"),
}  # fmt: skip
FRAMES = (
    "One {}, two __.", "This {} is alone: there are no other __.", "We saw a {}, then many __ 😀.",
    "“A {}!” she said. “I like __.”", "A {} is here, and more __ are there.",
    "Not one {} but ten __ came.", "My {} has no time for your __.",
    "The {} is old, and the __ are new.", "After the first {} came all the other __.",
    "Is it a {}? No, these are __.", "The {} of 猫 likes other __.", "A {} and a few __ went.",
    "Each {} fears some __.", "No {}, only __.",
)  # fmt: skip
TEXTS = [f"{who} {what} {when}." for who, what, when in product(
    ("Water", "The road", "A red house", "Our neighbor", "Ana"),
    ("is near the river", "is cold", "has no name", "was late"),
    ("today", "in the morning", "as always", "again"),
)]  # fmt: skip


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def write_task(root: Path) -> None:
    """200 pairs, a control set of texts, and a further one of pairs without a blank."""
    pairs = [
        {"prompt": frame.format(noun), "target": right, "wrong": [wrong, noun], "group": noun}
        if right != noun
        else {"prompt": frame.format(noun), "target": right, "wrong": wrong, "group": noun}
        for noun, (right, wrong) in NOUNS.items()
        for frame in FRAMES
    ]
    write_lines(root / "plurals.jsonl", pairs)
    write_lines(root / "texts.jsonl", [{"text": text} for text in TEXTS])
    numbers = [
        {"prompt": f"{a} plus {b} is", "target": str(a + b), "wrong": str(a + b + 1), "after": "."}
        for a, b in product(range(4), range(3))
    ]
    write_lines(root / "sums.jsonl", numbers)


def study_of(finished: Study, root: Path, scoring: str) -> Study:
    study = finished.copy(root)
    write_task(study.root)
    config = study.config
    config["task"] |= {
        "name": "irregular plurals",
        "group_name": "noun",
        "wrong_name": "regular plural",
        "control_name": "plain sentences",
        "scoring": scoring,
        "pairs": "plurals.jsonl",
        "controls": {
            "plain": {"file": "texts.jsonl"},
            "sums": {"file": "sums.jsonl", "max_drift": 0.5},
        },
    }
    for key in ("corpus", "irregular_verbs", "regular_verbs"):
        del config["data"][key]
    config |= {"ranks": [2, 4], "ablations": {}, "lora": config["lora"] | {"rank": 4}}
    study.write_config(config)
    return study


def read(study: Study, file: str) -> Any:
    return json.loads((study.root / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("scoring", ["fill_in", "sentence"])
def test_own_task_from_files_to_report(finished: Study, tmp_path: Path, scoring: str) -> None:
    study = study_of(finished, tmp_path / "study", scoring)
    done = study.snakemake("--cores", "2", "report")
    assert done.code == 0, done.output
    assert done.rules >= {"read_task", "read_control", "split", "tokenize", "train", "evaluate"}
    assert not done.rules & {"filter", "pretrain_base"}
    check_splits(study, scoring)
    check_results(study)
    assert (study.root / "REPORT.md").is_file()
    again = study.snakemake("--cores", "2", "report")
    assert again.rules == set(), again.output


def check_splits(study: Study, scoring: str) -> None:
    summary = read(study, "data/tokenized/summary.json")["splits"]
    sizes = {name: split["pairs"] for name, split in summary.items()}
    assert sum(sizes[name] for name in ("train", "val", "test")) == len(NOUNS) * len(FRAMES)
    assert abs(sizes["test"] - len(NOUNS) * len(FRAMES) / 10) <= 1
    assert (sizes["control"], sizes["probe"], sizes["controls/sums"]) == (len(TEXTS), 0, 12)
    rows = [
        json.loads(line)
        for line in (study.root / "data/tokenized/train.jsonl").read_text().splitlines()
    ]
    # The form and its end, or the rest of the sentence without its end.
    whole = [row["correct_ids"] == row["target_ids"][:-1] for row in rows]
    assert all(whole) if scoring == "sentence" else not any(whole)
    assert {len(row["wrong"]) for row in rows} == {1, 2}


def check_results(study: Study) -> None:
    base: Mapping[str, Any] = read(study, "experiments/28-lora-ablate-rank/base/metrics.json")
    assert base["probe"] == []
    assert "accuracy" not in base["control"]
    assert base["control"]["perplexity"]["text"] == base["control"]["perplexity"]["target"]
    headline = read(study, "experiments/28-lora-finetune/metrics.json")
    before, after = headline["before"]["test"], headline["after"]["test"]
    # Learning rate and steps are those of a test, but the training goes the right way.
    assert after["perplexity"]["target"] < before["perplexity"]["target"]
    assert set(read(study, "experiments/28-lora-finetune/gates.json")) >= {"control_ppl_drift"}
    path = study.root / "experiments/28-lora-ablate-rank/base/items.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        items = list(csv.DictReader(stream))
    assert {row["margin_nats"] for row in items if row["split"] == "control"} == {""}
    assert all(row["wrong_form"] for row in items if row["split"] == "test")
