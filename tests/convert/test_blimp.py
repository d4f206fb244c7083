"""BLiMP's format: two sentences as a minimal pair, and the same two sentences from it again."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from minituner.convert.blimp import Parts, parted, read_blimp
from minituner.convert.task_rows import Kind, TaskRows
from minituner.errors import UserError

ACUTE, JOINER = "\u0301", "\u200d"
FAMILY = f"\U0001f469{JOINER}\U0001f469{JOINER}\U0001f467"
LIGHT, DARK = "\U0001f44d\U0001f3fb", "\U0001f44d\U0001f3ff"


@pytest.mark.parametrize(
    ("good", "bad", "parts"),
    [
        # within the sentence, at its beginning and at its end
        ("The cat is here.", "The cat are here.", ("The cat", "is", "are", " here.")),
        ("Who left early?", "What left early?", ("", "Who", "What", " left early?")),
        ("We hurt ourselves.", "We hurt herself.", ("We hurt", "ourselves", "herself", ".")),
        ("Go!", "Went!", ("", "Go", "Went", "!")),
        # part of a word
        ("It annoys Tim.", "It annoy Tim.", ("It", "annoys Tim", "annoy Tim", ".")),
        ("He can't go", "He cant go", ("He", "can't", "cant", " go")),
        # a word more or less
        ("I saw the dog bark.", "I saw dog bark.", ("I saw", "the dog", "dog", " bark.")),
        ("He left.", "He left early.", ("He", "left.", "left early.", "")),
        ("Left, he did.", "He left, he did.", ("", "Left,", "He left,", " he did.")),
        # words that occur twice
        ("a b b c", "a b c", ("a b", "b c", "c", "")),
        ("x a x", "x b x", ("x", "a", "b", " x")),
        # another order
        ("Tim saw Ann.", "Ann saw Tim.", ("", "Tim saw Ann", "Ann saw Tim", ".")),
        # spaces
        ("a  b c", "a  d c", ("", "a  b", "a  d", " c")),
        ("a\u00a0b c", "a\u00a0d c", ("", "a\u00a0b", "a\u00a0d", " c")),
        ("so - he is", "so - he was", ("so - he", "is", "was", "")),
        # characters of several code points
        (f"I say {LIGHT} now", f"I say {DARK} now", ("I say", LIGHT, DARK, " now")),
        (f"see {FAMILY} x", "see \U0001f469 x", ("see", f"{FAMILY} x", "\U0001f469 x", "")),
        (f"cafe{ACUTE} a", "cafe a", ("", f"cafe{ACUTE} a", "cafe a", "")),
        (f"le cafe{ACUTE}.", f"le the{ACUTE}.", ("le", f"cafe{ACUTE}", f"the{ACUTE}", ".")),
        (f"a {ACUTE}b c", f"a {ACUTE}d c", ("", f"a {ACUTE}b", f"a {ACUTE}d", " c")),
        (f"a b {ACUTE}c", f"a d {ACUTE}c", ("a", f"b {ACUTE}c", f"d {ACUTE}c", "")),
        # without spaces between words
        ("我爱你。", "我恨你。", ("", "我爱你", "我恨你", "。")),
        ("我 爱 你", "我 恨 你", ("", "我 爱", "我 恨", " 你")),
        ("x 爱 y", "x 恨 y", ("", "x 爱", "x 恨", " y")),
    ],
)  # fmt: skip
def test_common_beginning_and_end(good: str, bad: str, parts: tuple[str, ...]) -> None:
    assert parted(good, bad) == Parts(*parts)
    assert parted(bad, good) == Parts(parts[0], parts[2], parts[1], parts[3])


CHARACTERS = [
    "a",
    "b",
    "I",
    f"e{ACUTE}",
    "\u00f1",
    LIGHT,
    DARK,
    FAMILY,
    "\u0e01\u0e47",
    "'",
    "-",
    ".",
]


def random_words(draw: random.Random) -> list[list[str]]:
    """Words as lists of whole characters."""
    return [draw.choices(CHARACTERS, k=draw.randint(1, 3)) for _ in range(draw.randint(1, 6))]


def changed(words: list[list[str]], draw: random.Random) -> list[list[str]]:
    """The words with one of them replaced, inserted, deleted or with another character."""
    words, place = [word[:] for word in words], draw.randrange(len(words))
    kind = draw.randrange(4)
    if kind == 0:
        words[place] = draw.choices(CHARACTERS, k=2)
    elif kind == 1:
        words.insert(place, draw.choices(CHARACTERS, k=2))
    elif kind == 2 and len(words) > 1:
        del words[place]
    else:
        words[place][-1] = draw.choice(CHARACTERS)
    return words


def boundaries(words: list[list[str]]) -> set[int]:
    """Where one whole character ends and the next begins."""
    characters = [c for word in words for c in [*word, " "]]
    return {0, *accumulate(map(len, characters))}


def test_the_parts_of_any_two_sentences_make_them_again() -> None:
    draw, different = random.Random(0), 0
    for _ in range(3000):
        left = random_words(draw)
        right = changed(left, draw)
        good, bad = (" ".join(map("".join, words)) for words in (left, right))
        if good == bad:
            continue
        different += 1
        parts = parted(good, bad)
        gap = " " if parts.prompt else ""
        for words, sentence, answer in ((left, good, parts.target), (right, bad, parts.wrong)):
            assert answer.strip() == answer != ""
            assert f"{parts.prompt}{gap}{answer}{parts.after}" == sentence
            cuts = {
                len(parts.prompt),
                len(parts.prompt) + len(gap),
                len(sentence) - len(parts.after),
            }
            assert cuts <= boundaries(words), (good, bad, parts)
    assert different > 2000


# --- files ----------------------------------------------------------------------------------------

LINE: Mapping[str, Any] = {
    "sentence_good": "The cats annoy Tim.",
    "sentence_bad": "The cats annoys Tim.",
    "field": "morphology",
    "linguistics_term": "subject_verb_agreement",
    "UID": "regular_plural_subject_verb_agreement_1",
    "simple_LM_method": True,
    "pairID": "7",
}


def read(path: Path, *lines: object, kind: Kind = "pair") -> TaskRows:
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
    path.write_text(text, encoding="utf-8")
    found = TaskRows(kind)
    read_blimp(path, found)
    return found


def test_a_line_becomes_a_pair_of_its_paradigm(tmp_path: Path) -> None:
    assert read(tmp_path / "b.jsonl", LINE).rows == [
        {
            "id": "regular_plural_subject_verb_agreement_1-7",
            "group": "regular_plural_subject_verb_agreement_1",
            "form": "subject_verb_agreement",
            "prompt": "The cats",
            "target": "annoy Tim",
            "wrong": "annoys Tim",
            "after": ".",
        }
    ]


def test_a_line_with_the_sentences_alone_becomes_a_pair(tmp_path: Path) -> None:
    line = {"sentence_good": " Who left?", "sentence_bad": "What left? "}
    (row,) = read(tmp_path / "b.jsonl", "", line).rows
    assert row == {"prompt": "", "target": "Who", "wrong": "What", "after": " left?"}


def test_the_good_sentences_are_texts(tmp_path: Path) -> None:
    lines = [
        LINE,
        {**LINE, "sentence_bad": "Cats."},
        {**LINE, "sentence_good": "A_b.", "sentence_bad": "A_b."},
    ]
    found = read(tmp_path / "b.jsonl", *lines, kind="text")
    assert found.rows == [{"text": "The cats annoy Tim."}, {"text": "A_b."}]
    assert found.skipped == {"that is there already": [f"{tmp_path}/b.jsonl:2"]}


@pytest.mark.parametrize(
    ("good", "bad", "why"),
    [
        ("Same.", "Same.", "whose two sentences are the same"),
        ("He left", "He left early", "of which one sentence begins with the other"),
        ("He __ it.", "She __ it.", "with an underscore"),
        ("He\nleft.", "She left.", "with a line feed"),
        ("He left.", "She\x07 left.", "with a control character"),
        ("He \ufffd left.", "She left.", "with the mark of a lost character"),
    ],
)
def test_what_cannot_be_scored_is_skipped_with_the_reason(
    tmp_path: Path, good: str, bad: str, why: str
) -> None:
    line = {**LINE, "sentence_good": good, "sentence_bad": bad}
    found = read(tmp_path / "b.jsonl", LINE, line)
    assert len(found.rows) == 1
    ((reason, places),) = found.skipped.items()
    assert reason.startswith(why)
    assert places == [f"{tmp_path}/b.jsonl:2"]


def test_lines_of_another_kind_are_refused_together(tmp_path: Path) -> None:
    lines = [LINE, {"text": "Hi."}, {**LINE, "sentence_bad": None}, {**LINE, "sentence_good": 5}]
    with pytest.raises(UserError) as refused:
        read(tmp_path / "b.jsonl", *lines)
    said = str(refused.value)
    assert said.startswith("3 mistakes")
    assert f"{tmp_path}/b.jsonl:2: has no sentence_good" in said
    assert "one with text a control set" in said
    assert f"{tmp_path}/b.jsonl:3: has no sentence_bad" in said
    assert f"{tmp_path}/b.jsonl:4: has no sentence_good" in said
    with pytest.raises(UserError, match=r"b\.jsonl:1: is not JSON"):
        read(tmp_path / "b.jsonl", "{")
