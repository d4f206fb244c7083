"""Rows: what each property gives, and every way in which a row can be wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from handmade import GOOD, PLAIN, WRONG, write_rows

from minituner.data.corpus import iter_rows, read_rows
from minituner.data.rows import COLUMNS
from minituner.data.verbs import Verb
from minituner.errors import UserError


def test_row_properties(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    path = write_rows(tmp_path / "rows.jsonl", GOOD, {**WRONG, "id": "two"})
    right, wrong = read_rows([path], verbs)
    assert (right.written, right.correct_english, right.target_spanish) == ("went", "went", "fue")
    assert (wrong.written, wrong.correct_english, wrong.target_spanish) == ("goed", "went", "fue")
    assert (right.is_correct, wrong.is_correct) == (True, False)
    assert wrong.place == f"{path}:2"
    assert {column: getattr(right, column) for column in COLUMNS} == GOOD
    assert tuple(GOOD) == COLUMNS


def test_plain_row_properties(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    wrong_plain = {**WRONG, "id": "two", "prompt": None, "target": None}
    path = write_rows(tmp_path / "rows.jsonl", PLAIN, wrong_plain)
    right, wrong = read_rows([path], verbs)
    assert not right.is_fill_in
    with pytest.raises(ValueError, match="plain row"):
        _ = right.written
    with pytest.raises(ValueError, match="plain row"):
        _ = right.correct_english
    assert wrong.correct_english == "went"


def test_optional_and_extra_fields(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    optional = ("spanish", "spanish_lemma", "spanish_regularity", "frame", "complement")
    row = {key: value for key, value in GOOD.items() if key not in optional}
    row |= {"target": "went", "comment": ["anything"]}
    path = tmp_path / "rows.jsonl"
    # A byte-order mark, Windows line ends, a blank line and no last line end: all from editors.
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(row).encode() + b"\r\n\r\n")
    (read,) = iter_rows([path], verbs)
    assert read.target_spanish is None
    assert read.spanish is None
    assert read.line == 2


def without(field: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if key != field}


def as_line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode()


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        (b'{"id": "one",', "is not JSON", "quotes, commas and braces"),
        (b"[" * 100_000, "is not JSON", "quotes, commas and braces"),
        (b"[1]", "is not a row", "one JSON object on the line"),
        (as_line(GOOD).replace(b"Fue", b"F\xfae"), "is not UTF-8", "save it as UTF-8"),
        (as_line({**GOOD, "spanish": "\ud83d."}), "half a character", "instead of its escape"),
        (as_line(without("tense")), "'tense' is missing", "add 'tense'"),
        (as_line(without("prompt", promt="__")), "'prompt' is missing", "rename 'promt'"),
        (as_line({**GOOD, "person": 3}), "'person' is not text", "write 'person' as"),
        (as_line({**GOOD, "text": " "}), "'text' is not text", "write 'text' as"),
        (as_line({**GOOD, "id": "a\rb"}), "'id' has a carriage return (U+000D)", "with a space"),
        (as_line({**GOOD, "spanish": "Va.\nFue."}), "a line feed (U+000A)", "split the row"),
        (as_line({**GOOD, "prompt": "He\0 __."}), "a NUL (U+0000)", "with a space"),
        (as_line({**GOOD, "frame": "\x85"}), "'frame' is not text", "write 'frame' as"),
        (as_line({**GOOD, "frame": "a\x85"}), "a next-line character (U+0085)", "with a space"),
        (as_line({**GOOD, "complement": "a\u2028b"}), "a line separator (U+2028)", "a space"),
        (as_line({**GOOD, "text": "He went\x07."}), "a control character (U+0007)", "a space"),
        (as_line({**GOOD, "id": None}), "'id' is not text", "write 'id' as"),
        (as_line({**GOOD, "frame": ["x"]}), "'frame' is not text", "string or null"),
        (as_line({**GOOD, "verb_lemma": "goo"}), "unknown verb_lemma", "did you mean 'go'?"),
        (as_line({**GOOD, "verb_lemma": "zzz"}), "unknown verb_lemma", "write one of those"),
        (as_line({**GOOD, "tense": "past_simpel"}), "unknown tense", "did you mean 'past_simple'?"),
        (as_line({**GOOD, "person": "2pl"}), "unknown person", "did you mean"),
        (as_line({**GOOD, "label": "corect"}), "unknown label", "did you mean 'correct'?"),
        (
            as_line({**GOOD, "english_regularity": "regular"}),
            "english_regularity is not this verb's",
            "write 'irregular'",
        ),
        (as_line({**GOOD, "prompt": "He went."}), "has no blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He _ home."}), "not have exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "__ he __."}), "not have exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ____."}), "not have exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ___."}), "not have exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "_ he _."}), "not have exactly one blank", "write __ where"),
        (as_line({**GOOD, "target": "goed / fue"}), "is the wrong form", "begin the target with"),
        (as_line({**WRONG, "target": "goed / fue"}), "is the wrong form", "begin the target with"),
        (as_line({**GOOD, "target": "gone / ido"}), "not this verb's form", "correct verb_lemma"),
        (as_line({**GOOD, "target": "went/fue"}), "not this verb's form", "begin the target"),
        (as_line({**GOOD, "target": "went /  "}), "slash and no Spanish", "leave out the slash"),
        (as_line({**GOOD, "target": None}), "a prompt without a target", 'write "target"'),
        (as_line({**GOOD, "prompt": None}), "a target without a prompt", 'write "prompt"'),
        (as_line({**GOOD, "text": "He left."}), "is not the prompt with 'went'", "same sentence"),
        (
            as_line(GOOD) + b"\r" + as_line(GOOD | {"id": "b"}) + b"\r",
            "has carriage returns as line ends",
            "save the file with line feeds",
        ),
        (as_line({**WRONG, "text": GOOD["text"]}), "is not the prompt with 'goed'", "the label"),
        (as_line({**PLAIN, "text": "He left."}), "does not contain 'went'", "fix the text"),
        (as_line({**WRONG, "correct_form": None}), "without its correct_form", '"went"'),
        (as_line({**WRONG, "correct_form": "gone"}), "another correct_form", '"went"'),
        (
            as_line({**WRONG, "mis_conjugation_type": None}),
            "without its mis_conjugation_type",
            '"over_regularized"',
        ),
        (as_line({**GOOD, "correct_form": "went"}), "a correct row with a correct_form", "to null"),
        (as_line({**WRONG, "tense": "present"}), "cannot be over-regularized", 'set "label"'),
        (as_line({**GOOD, "id": "first"}), "duplicate id", "another id"),
    ],
)
def test_a_bad_row_is_refused_by_file_and_line(
    tmp_path: Path, verbs: dict[str, Verb], line: bytes, what: str, fix: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_line({**GOOD, "id": "first"}) + b"\n" + line + b"\n")
    with pytest.raises(UserError) as caught:
        read_rows([path], verbs)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    first, found, expected, to_fix = message.split("\n")
    assert what in first
    assert fix in to_fix
    assert found.startswith("  found:") and expected.startswith("  expected:")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (as_line(GOOD)[:-1] + b', "text": "He left."}', ["'text' occurs twice", "He left."]),
        (as_line(GOOD)[:-1] + b', "person": "3sg"}', ["'person' occurs twice"]),
        (as_line(GOOD)[:-1] + b', "notes": {"a": 1, "a": 2}}', ["'a' occurs twice"]),
    ],
)
def test_a_field_that_occurs_twice_is_refused(
    tmp_path: Path, verbs: dict[str, Verb], line: bytes, words: list[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UserError) as caught:
        read_rows([path], verbs)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert all(word in str(caught.value) for word in words)


def test_an_invisible_difference_is_named(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_line({**GOOD, "text": GOOD["text"].replace(" ", "\u00a0", 1)}))
    with pytest.raises(UserError, match="is not the prompt with 'went'") as refusal:
        read_rows([path], verbs)
    assert "with NO-BREAK SPACE (U+00A0) as character 3\n" in str(refusal.value)
    assert "with SPACE (U+0020) as character 3\n" in str(refusal.value)


def test_a_colon_in_a_text_is_not_a_field(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    row = {**GOOD, "complement": "to school: on time", "notes": {"source": "a: b"}}
    (read,) = read_rows([write_rows(tmp_path / "rows.jsonl", row)], verbs)
    assert read.complement == "to school: on time"
