"""Text from outside, and the messages that quote it."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest

from minituner.data.spelling import comparable, plainness, single_spaced, where_they_part
from minituner.errors import (
    LONGEST,
    Mistakes,
    SeveralErrors,
    UserError,
    first_of,
    number_of,
    shortened,
)
from minituner.storage.text import decode, decode_line, iter_lines, lines_of, read_text


def mistake(where: str) -> UserError:
    return UserError(where, "is wrong", found="x", expected="y", fix="write y")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_obeyed_and_no_part_of_the_text(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "text"
    file.write_bytes("El niño comió 😀\n".encode(encoding))
    assert read_text(file) == "El niño comió 😀\n"


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "Windows-1252"), ("utf-16-le", "UTF-16LE")]
)
def test_another_encoding_is_named_with_the_line(encoding: str, name: str) -> None:
    raw = "He went home.\nEl niño comió pan, señor.\n".encode(encoding)
    with pytest.raises(UserError, match=f"it looks like {name}") as refusal:
        decode(raw, "own.csv")
    assert refusal.value.where == "own.csv:2"
    assert f"iconv -f {name} -t UTF-8" in str(refusal.value)


def test_bytes_that_are_no_text_are_refused_without_a_guess() -> None:
    with pytest.raises(UserError, match="byte 0x81\n") as refusal:
        decode(bytes([0x81, 0x8D, 0x00, 0xFF]) * 9, "photo.csv")
    assert "iconv" not in str(refusal.value)


def test_lines_end_at_line_feeds_only() -> None:
    assert lines_of("a\r\nb\u2028c\x0cd\x85e\rf\n\ng") == ["a", "b\u2028c\x0cd\x85e\rf", "", "g"]
    assert lines_of("") == []


def test_one_line_is_enough_to_name_its_encoding() -> None:
    with pytest.raises(UserError, match="it looks like Windows-1252"):
        decode_line("café,x".encode("cp1252"), "own.csv:7")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["a\r\nb\u2028c\x0cd\x85e\rf\n\n😀", "é\n", "\n", ""])
def test_the_lines_of_a_stream_are_those_of_its_text(encoding: str, text: str) -> None:
    stream = io.BytesIO(text.encode(encoding))
    lines = [decode_line(line, "stream") for line in iter_lines(stream, "stream")]
    assert lines == lines_of(text)


def test_a_line_is_there_before_the_next_has_come() -> None:
    end, beginning = os.pipe()
    with os.fdopen(end, "rb") as stream, os.fdopen(beginning, "wb", buffering=0) as writer:
        lines = iter_lines(stream, "pipe")
        for line in (b"one", b"caf\xe9", b"two"):
            writer.write(line + b"\n")
            assert next(lines) == line


def test_spaces_accents_and_what_has_no_width_are_one_sentence() -> None:
    assert (
        single_spaced("\ufeff He\u00a0\twas\nat the ca\u00adfe\u0301.\u200b\r\n")
        == "He was at the café."
    )


def test_a_long_list_is_cut() -> None:
    assert first_of([]) == ""
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(range(1_503), 3) == "0, 1, 2 and 1,500 more"


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
def test_spellings_of_one_sentence_are_comparable(spelling: str) -> None:
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
def test_other_sentences_are_not(other: str) -> None:
    assert comparable(other) != comparable(SENTENCE)


@pytest.mark.parametrize("spelling", ["they__an egg .", "They __  an egg.", "THEY__ an egg."])
def test_the_blank_is_a_word_of_its_own(spelling: str) -> None:
    assert comparable(spelling) == "they __ an egg."


def test_what_is_compared_is_stable() -> None:
    """Of every character, in a word and beside one."""
    every = map(chr, (*range(0xD800), *range(0xE000, 0x30000)))
    for text in (SENTENCE, *(f"{c}a{c} {c}b" for c in every)):
        assert comparable(comparable(text)) == comparable(text)


def test_what_is_not_seen_makes_no_difference() -> None:
    characters = map(chr, range(0x110000))
    unseen = [c for c in characters if unicodedata.category(c) == "Cf"]
    assert len(unseen) > 100
    for character in (*unseen, *"\u034f\u115f\u180b\u3164\ufe00\ufe0e\ufe0f\uffa0\U000e0100"):
        assert comparable(f"we{character}nt") == "went"


def test_every_quotation_mark_of_unicode_is_one() -> None:
    """Those that open or close, but for the brackets of editors of the New Testament."""
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
def test_the_plainest_spelling_comes_first(spellings: list[str]) -> None:
    assert len({comparable(text) for text in spellings}) == 1
    for plainer, other in pairwise(spellings):
        assert plainness(plainer) < plainness(other)


def test_a_word_within_a_sentence_is_plainest_without_capitals() -> None:
    words = ["ESTUVIERON", "Estuvieron", "estuvieron"]
    assert min(words, key=lambda word: plainness(word, begins=False)) == "estuvieron"
    assert min(words, key=plainness) == "Estuvieron"


def test_no_part_of_a_message_is_longer_than_a_few_lines() -> None:
    text = "word " * 5_000
    error = UserError(text, text, found=text, expected=text, fix=text)
    assert len(str(error)) < 6 * LONGEST + 100
    assert str(error).count("(25,000 characters)") == 5
    assert shortened("a" * LONGEST) == "a" * LONGEST


def test_all_mistakes_are_told_at_once_the_first_ten_in_full() -> None:
    mistakes = Mistakes()
    mistakes.raise_if_any()
    mistakes.add(mistake("file:1"))
    with pytest.raises(UserError, match=r"^file:1: is wrong"):
        mistakes.raise_if_any()
    for line in range(2, 41):
        mistakes.add(mistake(f"file:{line}"))
    with pytest.raises(SeveralErrors) as several:
        mistakes.raise_if_any()
    assert str(several.value).startswith("40 mistakes; the first 10:\n\nfile:1: is wrong\n")
    assert re.findall(r"^file:(\d+)", str(several.value), re.MULTILINE) == [
        str(line) for line in range(1, 11)
    ]
    both = Mistakes()
    both.add(mistake("other:7"))
    both.add(several.value)
    assert (both.count, len(both.first)) == (41, 10)


@pytest.mark.parametrize("parts", [1, 5])
def test_several_mistakes_of_any_length_are_a_page_at_most(parts: int) -> None:
    """Snakemake prints a job's message, and then its log with the message in it."""
    mistakes = Mistakes()
    for i in range(30):
        long = [f"{i}" + "x" * 50_000] * parts + ["short"] * 5
        mistakes.add(UserError(long[0], long[1], found=long[2], expected=long[3], fix=long[4]))
    with pytest.raises(SeveralErrors) as several:
        mistakes.raise_if_any()
    message = str(several.value)
    assert message.startswith("30 mistakes; the first 10:\n\n0xxx")
    assert len(message) < 5000
    assert all(f"\n\n{i}xxx" in message for i in range(10))
    with pytest.raises(UserError) as single:  # one alone has more room
        raise mistakes.first[0]
    assert len(str(single.value)) >= 600


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
def test_where_two_texts_part_is_seen(text: str, other: str, shown: str) -> None:
    assert where_they_part(text, other).startswith(shown)


def test_one_is_singular() -> None:
    assert number_of(1, "verb") == "1 verb"
    assert number_of(0, "verb") == "0 verbs"
    assert number_of(1_000, "try", "tries") == "1,000 tries"
