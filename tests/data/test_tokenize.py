"""Pairs that are longer than the model's context: refused all at once, or left out and counted."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from project import ROOT

from minituner.data.corpus import read_rows
from minituner.data.encode import tokenize_pair
from minituner.data.pairs import Pair, read_tokenized_pairs
from minituner.data.tokenize import ContextLimit, tokenize_splits
from minituner.data.verbs import load_verbs
from minituner.errors import SeveralErrors, UserError
from minituner.pretrain import check_lengths
from minituner.tokenizer import TextTokenizer

CONTEXT = 32


def some(pair: Pair, count: int, too_long: int = 0) -> list[Pair]:
    """``count`` pairs, the last of them longer than the context."""
    pairs = [replace(pair, id=f"p-{i}", source=f"c.jsonl:{i + 1}") for i in range(count)]
    for i in range(count - too_long, count):
        pairs[i] = replace(pairs[i], prompt="He __ to school" + " again" * 40 + ".")
    return pairs


def write(
    folder: Path, splits: dict[str, list[Pair]], tokenizer: TextTokenizer, max_share: float = 0.0
) -> dict[str, object]:
    paths = {name: folder / f"{name}.jsonl" for name in splits}
    return tokenize_splits(splits, paths, tokenizer, ContextLimit(CONTEXT, max_share))


def test_context_limit_is_exact(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    pair = tokenize_pair(raw_pairs[0], tokenizer)
    tokens = len(pair.prompt_ids) + len(pair.target_ids)
    paths = {"test": tmp_path / "test.jsonl"}
    tokenize_splits({"test": raw_pairs[:1]}, paths, tokenizer, ContextLimit(tokens))
    assert read_tokenized_pairs(paths["test"]) == [pair]
    with pytest.raises(UserError, match=rf"^t\.jsonl:1: [\s\S]*{tokens} tokens"):
        tokenize_splits({"test": raw_pairs[:1]}, paths, tokenizer, ContextLimit(tokens - 1))


def test_context_limit_includes_the_wrong_form(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    pair = replace(raw_pairs[0], wrong=("goed" * 20,))
    with pytest.raises(UserError, match="longer than the model's context"):
        write(tmp_path, {"test": [pair]}, tokenizer)


def test_too_long_pairs_are_reported_together(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    (tmp_path / "train.jsonl").write_text("as it was\n")
    splits = {"train": some(raw_pairs[0], 70, 30), "test": some(raw_pairs[0], 30, 10)}
    with pytest.raises(SeveralErrors) as refusal:
        write(tmp_path, splits, tokenizer, max_share=0.39)
    message = str(refusal.value)
    assert message.startswith("40 mistakes; the first 10:\n\nc.jsonl:21: the sentence is longer")
    assert message.count("c.jsonl:") == 10
    assert "shorten it, or raise base.model.context_length" in message
    assert message.count("data.max_share_too_long: 0.4, now 0.39)\n") == 9
    assert (tmp_path / "train.jsonl").read_text() == "as it was\n"
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]


def test_too_long_pairs_outside_the_splits_are_reported_too(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    corpus = some(raw_pairs[0], 60, 40)
    paths = {"control": tmp_path / "control.jsonl"}
    with pytest.raises(SeveralErrors, match=r"^40 mistakes") as refusal:
        tokenize_splits(
            {"control": corpus[18:23]}, paths, tokenizer, ContextLimit(CONTEXT), others=corpus
        )
    lines = re.findall(r"^c\.jsonl:(\d+): ", str(refusal.value), re.MULTILINE)
    assert lines == [str(line) for line in range(21, 31)]
    tokenize_splits({"control": corpus[:5]}, paths, tokenizer, ContextLimit(CONTEXT), others=corpus)


def test_too_long_pairs_within_the_share_are_left_out(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    splits = {"train": some(raw_pairs[0], 2790), "test": some(raw_pairs[0], 10, 1)}
    with pytest.raises(UserError, match=r"data.max_share_too_long: 0\.0004, now 0"):
        write(tmp_path, splits, tokenizer)
    summary = write(tmp_path, splits, tokenizer, max_share=0.01)
    assert summary["too_long"] == {"test": 1}
    for name, count in (("train", 2790), ("test", 9)):
        ids = [pair.id for pair in read_tokenized_pairs(tmp_path / f"{name}.jsonl")]
        assert ids == [f"p-{i}" for i in range(count)]
        assert summary["splits"][name]["pairs"] == count  # type: ignore[index]
    assert json.dumps(summary), "plain values, as JSON has them"


@pytest.mark.parametrize("count", [7, 29, 57])
def test_max_share_is_inclusive(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path, count: int
) -> None:
    """In binary fractions 0.29 * 100 is below 29."""
    splits = {"train": some(raw_pairs[0], 100, count)}
    assert write(tmp_path, splits, tokenizer, count / 100)["too_long"] == {"train": count}
    with pytest.raises(UserError):
        write(tmp_path, splits, tokenizer, (count - 1) / 100)


def test_summary_without_too_long_pairs(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    summary = write(tmp_path, {"train": raw_pairs}, tokenizer, max_share=0.5)
    assert summary.keys() == {"splits"}


def test_a_split_without_fitting_pairs_is_refused(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    splits = {"train": some(raw_pairs[0], 99), "probe": some(raw_pairs[0], 1, 1)}
    with pytest.raises(UserError, match="no pair of the probe split is short enough") as refusal:
        write(tmp_path, splits, tokenizer, max_share=0.5)
    assert "found:    1 pair, all of them too long" in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_check_lengths_reports_all_sentences() -> None:
    corpus = ROOT / "data/processed/base-corpus/plain.jsonl"
    rows = read_rows([corpus], load_verbs(ROOT / "data/raw/verbs.yaml"))[:50]
    texts = [[0] * (49 if i % 2 else 48) for i in range(50)]
    with pytest.raises(SeveralErrors, match=r"^25 mistakes; the first 10:\n\n.*plain\.jsonl:2: "):
        check_lengths(rows, texts, 48)
    check_lengths(rows, texts, 49)
