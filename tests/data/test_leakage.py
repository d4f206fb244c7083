"""Leakage checks, on the committed corpora and on planted leaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handmade import RESPELLED, pair
from project import ROOT

from minituner.data.corpus import corpus_files
from minituner.data.leakage import (
    check_base_apart,
    check_groups_apart,
    check_leakage,
    check_prompts_apart,
    check_splits,
    question,
    unseen_words,
)
from minituner.data.pairs import Pair
from minituner.data.rows import Row
from minituner.data.spelling import words_of
from minituner.errors import SeveralErrors, UserError

TASK = {"pairs": None, "scoring": "fill_in"}


def test_check_leakage_passes_the_committed_corpora(
    splits: dict[str, list[Pair]],
) -> None:
    base = corpus_files(ROOT / "data/processed/base-corpus")
    unseen = check_leakage(splits, base, ROOT / "data/raw/verbs.yaml", TASK)
    assert unseen is not None
    assert unseen == sorted(set(unseen))


def test_unseen_words() -> None:
    read = set(words_of("She hasn't gone to the café, you see. HE WENT!"))
    assert read == {"she", "hasn't", "gone", "to", "the", "café", "you", "see", "he", "went"}
    pairs = [
        replace(pair(1, "go"), prompt="He __ to the well-known café.", correct="went"),
        replace(pair(2, "go"), prompt="The café, the zoo: she __ to the zoo 😀.", correct="went"),
    ]
    assert unseen_words(pairs, read) == {"zoo", "well-known"}


def test_unseen_words_ignores_spelling() -> None:
    read = set(words_of("Don\u2019t go to the cafe\u0301, STRASSE."))
    new = replace(pair(1), prompt="don't __ to the café, Straße.", correct="go")
    assert unseen_words([new], read) == set()


def test_check_splits_without_a_base_corpus(
    splits: dict[str, list[Pair]],
) -> None:
    assert check_splits(splits, []) is None


@pytest.mark.parametrize("fault", ["prompt", "verb", "base"])
def test_check_splits_makes_every_check(
    splits: dict[str, list[Pair]], rows: list[Row], fault: str
) -> None:
    good = next(p for p in splits["control"] if p.frame == "time_last")
    planted, base = {name: list(pairs) for name, pairs in splits.items()}, rows[:0]
    if fault == "prompt":
        planted["test"].append(replace(splits["train"][0], source="edited.jsonl:1"))
    elif fault == "verb":
        planted["control"].append(replace(good, group="go", prompt="x __", source="edited.jsonl:1"))
    else:
        base = [replace(rows[0], prompt=good.prompt, path="edited.jsonl", line=1)]
    with pytest.raises(UserError, match=r"edited\.jsonl:1: "):
        check_splits(planted, base)


def test_check_prompts_apart() -> None:
    with pytest.raises(UserError, match=r"c\.jsonl:2: its prompt is in the splits train and"):
        check_prompts_apart({"train": [pair(1)], "test": [replace(pair(2), prompt="P1 __ x.")]})


@pytest.mark.parametrize("how", RESPELLED)
def test_check_prompts_apart_in_every_spelling(rows: list[Row], how: str) -> None:
    one = replace(pair(1), prompt='Yes, "José\'s" they __ x.')
    other = replace(pair(2), prompt=RESPELLED[how](one.prompt))
    assert one.prompt != other.prompt
    with pytest.raises(UserError, match=r"c\.jsonl:2: its prompt is in the splits train and"):
        check_prompts_apart({"train": [one], "test": [other]})
    for text in (other.prompt, other.sentence):
        planted = replace(rows[0], text=text, prompt=None, path="base.jsonl", line=12)
        with pytest.raises(UserError, match=r"base\.jsonl:12: the base corpus holds"):
            check_base_apart({"test": [one]}, [rows[1], planted])


def test_leaks_are_reported_together(rows: list[Row]) -> None:
    train, test = [pair(i) for i in range(40)], [replace(pair(i), id=f"{i}") for i in range(40)]
    with pytest.raises(SeveralErrors, match=r"^40 mistakes; the first 10:"):
        check_prompts_apart({"train": train, "test": test})
    base = [replace(rows[0], prompt=p.prompt, text=p.sentence) for p in train]
    with pytest.raises(SeveralErrors, match=r"^40 mistakes; the first 10:"):
        check_base_apart({"train": train}, base)


def test_check_groups_apart() -> None:
    with pytest.raises(UserError, match=r"c\.jsonl:2: a group is both trained on"):
        check_groups_apart([pair(1)], [pair(2)])


@pytest.mark.parametrize("kind", ["prompt", "sentence", "wrong sentence"])
def test_check_base_apart(rows: list[Row], kind: str) -> None:
    study = pair(7)
    text = study.sentence if kind == "sentence" else "P7 goed x."
    prompt = study.prompt if kind == "prompt" else None
    planted = replace(rows[0], text=text, prompt=prompt, path="base.jsonl", line=12)
    with pytest.raises(UserError, match=r"base\.jsonl:12: .*\n.*also at c\.jsonl:7"):
        check_base_apart({"test": [study]}, [rows[1], planted])


def test_question() -> None:
    blank = replace(pair(1), prompt="One mouse, two __.", correct="mice")
    other = replace(blank, correct="oxen")
    assert question(blank) == question(other)
    assert question(blank, "sentence") != question(other, "sentence")
    asks, begins = (replace(blank, prompt=prompt) for prompt in ("The plural is", "The"))
    assert question(asks) == question(replace(asks, correct="oxen"))
    assert question(begins) != question(replace(begins, correct="oxen"))
    assert question(begins) == question(replace(begins, correct="MICE"))


def test_two_control_sets_may_share_a_text_but_not_with_the_task() -> None:
    text = replace(pair(1), prompt="", correct="Water is wet.", wrong=(), after="")
    splits = {"train": [pair(2)], "control": [text], "controls/french": [text]}
    check_prompts_apart(splits)
    with pytest.raises(UserError, match="in the splits train and control"):
        check_prompts_apart({"train": [text], "control": [text]})


def test_pairs_without_groups_share_none() -> None:
    check_groups_apart([replace(pair(1), group="")], [replace(pair(2), group="")])


def test_base_corpus_with_a_sentence_of_a_pair_without_a_blank(rows: list[Row]) -> None:
    study = replace(pair(7), prompt="The capital of France is", correct="Paris", after=".")
    planted = replace(rows[0], text="The capital of France is goed.", prompt=None, path="b.jsonl")
    with pytest.raises(UserError, match="the base corpus holds a sentence of the study"):
        check_base_apart({"test": [study]}, [planted])
