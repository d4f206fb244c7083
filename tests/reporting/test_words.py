"""The words of a task in the forms that sentences need."""

from __future__ import annotations

import pytest
import yaml
from example_results import CAPITALS
from project import ROOT

from minituner.reporting.words import plural, with_article, words_of


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("verb", "verbs"),
        ("country", "countries"),
        ("category", "categories"),
        ("day", "days"),
        ("class", "classes"),
        ("box", "boxes"),
        ("branch", "branches"),
        ("hypothesis", "hypotheses"),
        ("phenomenon", "phenomena"),
        ("Person", "People"),
        ("species", "species"),
        ("product category", "product categories"),
        ("part of speech", "parts of speech"),
        ("y", "ys"),
    ],
)
def test_plural(noun: str, expected: str) -> None:
    assert plural(noun) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("over-regularized form", "the over-regularized form"),
        ("another capital", "another capital"),
        ("A wrong answer", "A wrong answer"),
        ("anonymous author", "the anonymous author"),
    ],
)
def test_a_phrase_gets_an_article_unless_it_has_one(phrase: str, expected: str) -> None:
    assert with_article(phrase) == expected


def test_words_of_the_default_study_are_those_of_verbs() -> None:
    task = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["task"]
    words = words_of(task)
    assert words.of_verbs
    assert (words.group, words.groups) == ("verb", "verbs")
    assert (words.answers, words.items, words.scored) == ("forms", "sentences", "form")


def test_words_of_pairs_of_the_users_own() -> None:
    words = words_of(CAPITALS)
    assert not words.of_verbs
    assert (words.groups, words.wrong, words.control) == ("countries", "another capital", "rivers")
    assert (words.answers, words.items, words.scored) == ("answers", "pairs", "answer")
    assert not words.whole_sentences
    assert words_of(CAPITALS | {"scoring": "sentence"}).whole_sentences
