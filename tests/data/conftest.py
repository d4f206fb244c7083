"""The committed corpus, its verbs, and what ``filter`` and ``split`` make of it."""

from __future__ import annotations

import pytest
import yaml
from project import ROOT

from minituner.data.corpus import corpus_files, read_rows
from minituner.data.filter import Filtered, filter_rows
from minituner.data.pairs import Pair
from minituner.data.rows import Row
from minituner.data.split import SplitSettings, split_pairs
from minituner.data.verbs import Verb, load_verbs


@pytest.fixture(scope="session")
def names() -> tuple[list[str], list[str]]:
    """The irregular and the regular verbs of the study."""
    data = yaml.safe_load((ROOT / "config.yaml").read_text())["data"]
    return data["irregular_verbs"], data["regular_verbs"]


@pytest.fixture(scope="session")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


@pytest.fixture(scope="session")
def rows(verbs: dict[str, Verb]) -> list[Row]:
    return read_rows(corpus_files(ROOT / "data/processed/verb-corpus"), verbs)


@pytest.fixture(scope="session")
def filtered(
    rows: list[Row], verbs: dict[str, Verb], names: tuple[list[str], list[str]]
) -> Filtered:
    return filter_rows(rows, verbs, *names)


@pytest.fixture(scope="session")
def splits(filtered: Filtered) -> dict[str, list[Pair]]:
    return split_pairs(filtered.irregular, filtered.regular, SplitSettings(), seed=0)
