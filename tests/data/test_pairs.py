"""Pairs: their files."""

from __future__ import annotations

from pathlib import Path

from minituner.data.filter import Filtered
from minituner.data.pairs import (
    TokenizedPair,
    iter_pairs,
    pair_rows,
    read_tokenized_pairs,
    write_pairs,
)
from minituner.storage.files import write_jsonl


def test_pairs_round_trip(tmp_path: Path, filtered: Filtered) -> None:
    write_pairs(tmp_path / "pairs.jsonl", filtered.irregular[:50])
    assert list(iter_pairs(tmp_path / "pairs.jsonl")) == filtered.irregular[:50]


def test_tokenized_pairs_round_trip(tmp_path: Path, pairs: list[TokenizedPair]) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", pair_rows(pairs))
    assert read_tokenized_pairs(tmp_path / "pairs.jsonl") == pairs
