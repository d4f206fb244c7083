"""Spelling: which texts are the same sentence, and which spelling is the plainest."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest

from minituner.data.spelling import comparable, plainness, single_spaced, where_they_part


def test_single_spaced() -> None:
    assert (
        single_spaced("\ufeff He\u00a0\twas\nat the ca\u00adfe\u0301.\u200b\r\n")
        == "He was at the café."
    )


SENTENCE = 'He didn\'t say "went" at the café.'


@pytest.mark.parametrize(
    "spelling",
    [
        'He didn\'t say "went" at the café. ',
        '\tHe  didn\'t say\u00a0"went" at the cafe\u0301.',
        "He didn\u2019t say \u201cwent\u201d at the café.",
        "he DIDN\u00b4T say \u00abwent\u00bb at the caf\u00e9.",
        "He didn`t say \u201ewent\u201f\u3000at the café\u200b.",
        '\ufeffHe didn\u02bct say "\uff57ent" at the ca\ufb01é.'.replace("\ufb01", "f"),
        "He didn\u02bbt say \u2018went\u2019 at the café .",
        "He didn\ua78ct say ''went'' at the café.",
        "He didn\u05f3t say ``went'' at the café.",
        "He didn't say \u05f4went\u05f4 at the café.",
        "He didn't say \u275dwent\u275e at the café.",
        "He didn't say \u00ab went \u00bb at the café.",
        "He didn't say \u2039\u00a0went\u202f\u203a at the café.",
        "\"He didn't say 'went' at the café.\"",
        "\u201cHe didn\u2019t say \u2018went\u2019 at the café.\u201d",
        'He did\u2060n\'t say\u200e "went"\ufe0f at\u034f the\u180e café.',
    ],
)
def test_comparable_spellings(spelling: str) -> None:
    assert comparable(spelling) == comparable(SENTENCE)


@pytest.mark.parametrize(
    "other",
    [
        'He didn\'t say "went" at the cafe.',
        'He did\'nt say "went" at the café.',
        'He didn\'t say "went" at the café!',
        'He didn\'t say "went" atthe café.',
    ],
)
def test_comparable_keeps_sentences_apart(other: str) -> None:
    assert comparable(other) != comparable(SENTENCE)


@pytest.mark.parametrize("spelling", ["they__an egg .", "They __  an egg.", "THEY__ an egg."])
def test_comparable_separates_the_blank(spelling: str) -> None:
    assert comparable(spelling) == "they __ an egg."


def test_comparable_is_idempotent() -> None:
    """Of every character, in a word and next to one."""
    every = map(chr, (*range(0xD800), *range(0xE000, 0x30000)))
    for text in (SENTENCE, *(f"{c}a{c} {c}b" for c in every)):
        assert comparable(comparable(text)) == comparable(text)


def test_comparable_ignores_invisible_characters() -> None:
    characters = map(chr, range(0x110000))
    unseen = [c for c in characters if unicodedata.category(c) == "Cf"]
    assert len(unseen) > 100
    for character in (*unseen, *"\u034f\u115f\u180b\u3164\ufe00\ufe0e\ufe0f\uffa0\U000e0100"):
        assert comparable(f"we{character}nt") == "went"


def test_quotation_marks_of_unicode_are_known() -> None:
    """Those that open or close, except the brackets of editors of the New Testament."""
    marks = [c for c in map(chr, range(0x2E00)) if unicodedata.category(c) in ("Pi", "Pf")]
    assert len(marks) == 10
    for mark in (*marks, *"\"'`\u201a\u201e\u2032\u2033\u300c\u300f\uff02\uff07"):
        assert comparable(f"He {mark}went{mark} home.") == "he'went'home."


# Each begins with the plainest; every one after is less plain than that before.
SPELLINGS = [
    ["He went.", "He Went.", "he went.", "HE WENT.", "He  went."],
    ["He __ out, too.", "He __ out, TOO.", "He __ out , too."],
    ["Ana and I __.", "Ana And I __.", "ana and i __.", "ANA AND I __."],
    ["He __ out, too.", "He __ out,too.", " He __ out,too."],
    ["They __ an egg.", "They__ an egg.", "They__an egg.", "They__an egg ."],
    ["He went.", "He\twent.", "He\twent.\u200b"],
    ["A café.", "A cafe\u0301.", "A \u2060cafe\u0301."],
    ["It's late.", "It\u2019s late.", "\u201cIt\u2019s late.\u201d"],
    ["It's late.", '"It\'s late."'],
    ['A "b" c.', "A 'b' c.", "A ''b'' c.", "A ``b'' c."],
    ['A "b" c.', 'A"b" c.', 'A"b"c.'],
    ['A "b" c.', 'A " b " c.', "A \u00ab b \u00bb c."],
    ["Went 12 times.", "Went \uff11\uff12 times."],
    ["¿Fue él?", "¿fue él?", "¿ Fue él ?"],
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[0])
def test_plainness_order(spellings: list[str]) -> None:
    assert len({comparable(text) for text in spellings}) == 1
    for plainer, other in pairwise(spellings):
        assert plainness(plainer) < plainness(other)


def test_plainness_within_a_sentence() -> None:
    words = ["ESTUVIERON", "Estuvieron", "estuvieron"]
    assert min(words, key=lambda word: plainness(word, begins=False)) == "estuvieron"
    assert min(words, key=plainness) == "Estuvieron"


@pytest.mark.parametrize(
    ("text", "other", "shown"),
    [
        ("He went.", "He goed.", "'He went.'"),
        ("He  went.", "He went.", "'He  went.', with SPACE (U+0020) as character 4"),
        (
            "El caf\u00e9.",
            "El cafe\u0301.",
            "'El caf\u00e9.', with LATIN SMALL LETTER E WITH ACUTE (U+00E9) as character 7",
        ),
        (
            "El cafe\u0301.",
            "El caf\u00e9.",
            "'El cafe\u0301.', with LATIN SMALL LETTER E (U+0065) as character 7",
        ),
        ("He g\u043et.", "He got.", "'He g\u043et.', with CYRILLIC SMALL LETTER O (U+043E) as"),
        ("Yes", "Yes ", "'Yes', with nothing as character 4"),
        ("a" * 500 + "xy", "a" * 500 + "zy", f"'{'a' * 60}xy' (from character 441 of 502)"),
    ],
)
def test_where_they_part(text: str, other: str, shown: str) -> None:
    assert where_they_part(text, other).startswith(shown)
