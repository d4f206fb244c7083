"""items.csv: texts reach the summary unchanged, whatever they look like."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from project import ROOT

from minituner.data.corpus import iter_rows
from minituner.data.encode import tokenize_pair
from minituner.data.filter import pair_of_row
from minituner.data.pairs import TokenizedPair
from minituner.data.rows import Row
from minituner.data.verbs import Verb, load_verbs
from minituner.evaluate import item_rows
from minituner.scoring import PairScore
from minituner.statistics.ablations import Result, compare_runs
from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.sweep import summarize
from minituner.storage.items import copy_items_of_seed, read_items, write_items
from minituner.tokenizer import TextTokenizer

SETTINGS = StatisticsSettings(bootstrap_draws=200)
# A reader guesses a column's type from its words, if all of them look like numbers, say.
IDS = {
    "numbers": ["1", "01", "1.0", "1.1", "1.10", "1e5", "100000", "1e05", "-0", "inf", "nan", "0"],
    "truth values": ["TRUE", "true", "True", "FALSE", "false", "False"],
    "missing": ["NA", "nan", "NaN", "null", "None", "N/A", "<NA>", "#N/A", "n/a", "NULL"],
    "dates": ["2026-01-01", "2026-1-1", "20260101", "01.01.2026"],
    "marks": ['"', 'a "quoted" id', "a,b", ";", "a\tb", " 1", "1 ", "#1", "=1+1", "ñ", "😀", "-"],
}
TAILS = ["", "NA", '"so", "it" is', "a|b", "\ttab", "$x$ 1,000.50", "\u00a0no-break", "\u200b"]
LEMMAS = {
    "numbers": ["1", "1.0", "1.10"],
    "truth values": ["true", "True"],
    "missing": ["NA", "nan"],
    "dates": ["no", "2026-01-01"],
    "marks": ["a/b", "a,b", 'say "x"'],
}
COMPLEMENTS = ("12", "12.0")


@pytest.fixture(params=IDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What the ids and lemmas look like."""
    return str(request.param)


@pytest.fixture
def verbs(kind: str) -> dict[str, Verb]:
    """The study's verb "go" under other lemmas."""
    go = load_verbs(ROOT / "data/raw/verbs.yaml")["go"]
    return {lemma: replace(go, lemma=lemma) for lemma in LEMMAS[kind]}


@pytest.fixture
def rows(kind: str, verbs: dict[str, Verb], tmp_path: Path) -> list[Row]:
    """A row for each id, read from a corpus file."""
    path = tmp_path / "corpus.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for i, row_id in enumerate(IDS[kind]):
            prompt = f"He __ to school {TAILS[i % len(TAILS)]}."
            row = {
                "id": row_id,
                "text": prompt.replace("__", "went"),
                "verb_lemma": LEMMAS[kind][i % len(verbs)],
                "tense": "past_simple",
                "person": "3sg",
                "english_regularity": "irregular",
                "label": "correct",
                "mis_conjugation_type": None,
                "correct_form": None,
                "prompt": prompt,
                "target": "went / fue",
                "complement": COMPLEMENTS[i % 2],
            }
            stream.write(json.dumps(row) + "\n")
    return list(iter_rows([path], verbs))


@pytest.fixture
def pairs(rows: list[Row], verbs: dict[str, Verb], tokenizer: TextTokenizer) -> list[TokenizedPair]:
    return [tokenize_pair(pair_of_row(row, verbs), tokenizer) for row in rows]


def answers(pairs: list[TokenizedPair], margin: float) -> list[dict[str, Any]]:
    """Every pair as an item of test and of control, all with the same margin."""
    score = PairScore(
        text=torch.full((10,), -0.25),
        target=torch.full((4,), -0.25),
        correct=torch.tensor([-2.0]),
        wrong=[torch.tensor([-2.0 - margin])],
        greedy_prefix=[],
        greedy_is_correct=False,
    )
    scores = [score] * len(pairs)
    return [*item_rows("test", pairs, scores), *item_rows("control", pairs, scores)]


def of_seeds(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"seed": seed, **row} for seed in (0, 10) for row in items]


def rank_metrics() -> dict[str, Any]:
    run = {
        "control": {"drift": {"text": 0.0, "target": 0.0}},
        "val": {"accuracy": 1.0, "perplexity": {"target": 2.0}},
        "probe": [],
        "base_max_abs_diff": 0.0,
        "scale_audit": [],
    }
    return {
        "rank": 8,
        "scaling": 2.0,
        "trained_parameters": 1,
        "file_bytes": 1,
        "size_ratio": 0.001,
        "runs": [{"seed": seed, **run} for seed in (0, 10)],
    }


def test_items_keep_any_id_verb_or_text(
    kind: str, rows: list[Row], pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    write_items(tmp_path / "base.csv", answers(pairs, -1.0))
    write_items(tmp_path / "tuned.csv", of_seeds(answers(pairs, 1.0)))
    base, tuned = read_items(tmp_path / "base.csv"), read_items(tmp_path / "tuned.csv")
    assert base["id"].tolist() == IDS[kind] * 2
    assert base["prompt"].tolist() == [row.prompt for row in rows] * 2

    summary = summarize(base, [rank_metrics()], [tuned], SETTINGS, COMPLEMENTS[:1])
    assert summary["test_items"] == len(rows)
    assert summary["ranks"][0]["gain"]["mean"] == 1.0
    by_verb = {
        row["label"].removesuffix("/past_simple"): row["sentences"]
        for row in summary["by_group_and_form"]
    }
    assert by_verb == Counter(row.verb_lemma for row in rows)
    by_label = {row["label"]: row["sentences"] for row in summary["by_label"]}
    assert by_label["trained complement"] == sum(row.complement == "12" for row in rows)

    lemma = LEMMAS[kind][0]
    run = {"run": "r", "rank": 8, "folder": "experiments/x", "changes": {}}
    held_out = {**run, "changes": {"train.held_out_verb": lemma}}
    results = [Result(r, rank_metrics(), tuned, base) for r in (run, held_out)]
    assert compare_runs(results, SETTINGS, 0.01)["held_out"]["sentences"] == by_verb[lemma]


def test_copy_items_of_seed_keeps_the_bytes(pairs: list[TokenizedPair], tmp_path: Path) -> None:
    items = answers(pairs, 1.0)
    write_items(tmp_path / "all.csv", of_seeds(items))
    write_items(tmp_path / "one.csv", [{"seed": 10, **row} for row in items])
    copy_items_of_seed(tmp_path / "all.csv", 10, tmp_path / "copied.csv")
    assert (tmp_path / "copied.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_read_items_with_a_line_break_in_a_text(tmp_path: Path) -> None:
    """The corpus reader refuses them, but a table that has one is read as it was written."""
    items = [
        {"id": "a\rb", "prompt": "x\ny", "margin_nats": "nan"},
        {"id": "\r", "prompt": "\u2028"},
    ]
    write_items(tmp_path / "items.csv", [items[0], {**items[1], "margin_nats": "-inf"}])
    table = read_items(tmp_path / "items.csv")
    assert table["id"].tolist() == ["a\rb", "\r"]
    assert table["prompt"].tolist() == ["x\ny", "\u2028"]
    assert math.isnan(table["margin_nats"][0])
    assert table["margin_nats"][1] == -math.inf


def test_items_of_plain_texts_have_empty_cells(pairs: list[TokenizedPair], tmp_path: Path) -> None:
    texts = [replace(pair, wrong=[], wrong_ids=[], group="") for pair in pairs]
    score = PairScore(
        torch.full((10,), -0.25), torch.full((9,), -0.25), torch.zeros(9), [], [], True
    )
    items = [*answers(pairs, 1.0), *item_rows("controls/french", texts, [score] * len(texts))]
    write_items(tmp_path / "items.csv", of_seeds(items))
    copy_items_of_seed(tmp_path / "items.csv", 10, tmp_path / "one.csv")
    for name, seeds in (("items.csv", 2), ("one.csv", 1)):
        read = read_items(tmp_path / name)
        french = read[read["split"] == "controls/french"]
        assert len(french) == seeds * len(texts)
        assert french[["correct", "margin_nats", "margin_nats_per_token"]].isna().all(axis=None)
        assert french["wrong_form"].eq("").all() and french["group"].eq("").all()
        assert french["text_nll_nats"].eq(2.5).all() and french["text_tokens"].eq(10).all()
        assert read[read["split"] == "test"]["correct"].eq(1).all()
