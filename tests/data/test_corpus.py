"""Corpus rows as they are read, and the message for every bad one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.data.corpus import Row, corpus_files, iter_files, read_rows
from minituner.data.verbs import Verb, load_verbs
from minituner.errors import UserError

RAW = ROOT / "data" / "raw"


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(RAW / "verbs.yaml")


# --- rows ------------------------------------------------------------------------------------

GOOD: Mapping[str, Any] = {
    "id": "one",
    "text": "He went to school yesterday.",
    "spanish": "Fue a la escuela ayer.",
    "verb_lemma": "go",
    "spanish_lemma": "ir",
    "tense": "past_simple",
    "person": "3sg",
    "english_regularity": "irregular",
    "spanish_regularity": "irregular",
    "label": "correct",
    "mis_conjugation_type": None,
    "correct_form": None,
    "prompt": "He __ to school yesterday.",
    "target": "went / fue",
    "frame": "time_last",
    "complement": "to school",
}
WRONG = {
    **GOOD,
    "text": "He goed to school yesterday.",
    "label": "mis_conjugated",
    "mis_conjugation_type": "over_regularized",
    "correct_form": "went",
}
PLAIN = {**GOOD, "prompt": None, "target": None}


def write_rows(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_a_right_and_a_wrong_row(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    path = write_rows(tmp_path / "rows.jsonl", GOOD, {**WRONG, "id": "two"})
    right, wrong = read_rows([path], verbs)
    assert (right.written, right.correct_english, right.target_spanish) == ("went", "went", "fue")
    assert (wrong.written, wrong.correct_english, wrong.target_spanish) == ("goed", "went", "fue")
    assert (right.is_correct, wrong.is_correct) == (True, False)
    assert wrong.place == f"{path}:2"
    assert right.to_json() == GOOD
    assert list(right.to_json()) == list(GOOD)


def test_a_plain_row_has_no_blank_to_ask_about(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    wrong_plain = {**WRONG, "id": "two", "prompt": None, "target": None}
    path = write_rows(tmp_path / "rows.jsonl", PLAIN, wrong_plain)
    right, wrong = read_rows([path], verbs)
    assert not right.is_fill_in
    with pytest.raises(ValueError, match="plain row"):
        _ = right.written
    with pytest.raises(ValueError, match="plain row"):
        _ = right.correct_english
    assert wrong.correct_english == "went"


def test_what_a_user_may_leave_out_or_add(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    optional = ("spanish", "spanish_lemma", "spanish_regularity", "frame", "complement")
    row = {key: value for key, value in GOOD.items() if key not in optional}
    row |= {"target": "went", "comment": ["anything"]}
    path = tmp_path / "rows.jsonl"
    # A byte-order mark, Windows line ends, a blank line and no last line end: all from editors.
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(row).encode() + b"\r\n\r\n")
    (read,) = iter_files([path], verbs)
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
        (as_line({**GOOD, "id": "a\rb"}), "'id' has a carriage return (U+000D)", "write a space"),
        (as_line({**GOOD, "spanish": "Va.\nFue."}), "a line feed (U+000A)", "make two rows"),
        (as_line({**GOOD, "prompt": "He\0 __."}), "a NUL (U+0000)", "write a space"),
        (as_line({**GOOD, "frame": "\x85"}), "'frame' is not text", "write 'frame' as"),
        (as_line({**GOOD, "frame": "a\x85"}), "a next-line character (U+0085)", "write a space"),
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
        (as_line({**GOOD, "prompt": "He _ home."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "__ he __."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ____."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ___."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "_ he _."}), "not exactly one blank", "write __ where"),
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
            "has carriage returns for line ends",
            "save the file with line feeds",
        ),
        (as_line({**WRONG, "text": GOOD["text"]}), "is not the prompt with 'goed'", "the label"),
        (as_line({**PLAIN, "text": "He left."}), "has no 'went' in it", "fix the text"),
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
def test_a_bad_row_is_named_by_file_and_line(
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
        (as_line(GOOD)[:-1] + b', "text": "He left."}', ["'text' stands twice", "He left."]),
        (as_line(GOOD)[:-1] + b', "person": "3sg"}', ["'person' stands twice"]),
        (as_line(GOOD)[:-1] + b', "notes": {"a": 1, "a": 2}}', ["'a' stands twice"]),
    ],
)
def test_a_field_that_stands_twice_is_refused(
    tmp_path: Path, verbs: dict[str, Verb], line: bytes, words: list[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UserError) as caught:
        read_rows([path], verbs)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert all(word in str(caught.value) for word in words)


def test_a_difference_that_no_reader_sees_is_named(tmp_path: Path, verbs: dict[str, Verb]) -> None:
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


def test_the_mistakes_of_all_rows_and_files_are_told_at_once(
    tmp_path: Path, verbs: dict[str, Verb]
) -> None:
    bad = {**GOOD, "tense": "aorist"}
    one = write_rows(tmp_path / "one.jsonl", GOOD, *({**bad, "id": f"b{i}"} for i in range(30)))
    two = write_rows(tmp_path / "two.jsonl", {**GOOD, "id": "last"}, GOOD)
    none = tmp_path / "none.jsonl"
    windows = tmp_path / "windows.jsonl"
    windows.write_bytes(json.dumps(GOOD).replace("Fue", "Fu\u00e9").encode("cp1252") + b"\n{}\n")
    came: list[Row] = []
    with pytest.raises(UserError) as caught:
        came.extend(iter_files([one, two, none, windows], verbs))
    message = str(caught.value)
    # 30 tenses, one id, one file that is not there, and one in another encoding.
    assert message.startswith("33 mistakes; the first 10:\n")
    assert message.count("unknown tense") == 10
    with pytest.raises(UserError, match="3 mistakes:") as caught:
        read_rows([write_rows(one, GOOD), two, none, windows], verbs)
    for words in (f"{two}:2: duplicate id", f"{none}: cannot be", f"{windows}:1: is not UTF-8"):
        assert words in str(caught.value)


def test_an_id_stands_once_in_all_files(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    paths = [write_rows(tmp_path / name, GOOD) for name in ("a.jsonl", "b.jsonl")]
    with pytest.raises(UserError) as caught:
        read_rows(paths, verbs)
    assert str(caught.value).startswith(f"{paths[1]}:1: duplicate id")
    assert f"{paths[0]}:1" in str(caught.value)


@pytest.mark.parametrize(
    ("prepare", "what"),
    [
        (lambda path: path.write_bytes(b""), "holds no rows"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf\n \n"), "holds no rows"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda _: None, "cannot be read"),
    ],
)
def test_a_file_without_rows(
    tmp_path: Path, verbs: dict[str, Verb], prepare: Callable[[Path], Any], what: str
) -> None:
    path = tmp_path / "rows.jsonl"
    prepare(path)
    with pytest.raises(UserError, match=what) as caught:
        read_rows([path], verbs)
    assert caught.value.where == str(path)


def test_files_that_begin_with_a_dot_are_no_corpus(tmp_path: Path) -> None:
    """What macOS, editors and a killed writer leave beside a file; their folder may be hidden."""
    folder = tmp_path / ".mine"
    folder.mkdir()
    for name in ("._a.jsonl", ".a.jsonl", ".~a.jsonl", ".a.jsonl.partial", "a.jsonl~", "#a.jsonl#"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / ".#a.jsonl").symlink_to("someone@their-machine")
    with pytest.raises(UserError, match="only files whose name begins with a dot"):
        corpus_files(folder)
    (folder / "a.jsonl").write_text("{}\n")
    assert corpus_files(folder) == [str(folder / "a.jsonl")]


def test_corpus_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.JSONL", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.jsonl").mkdir()
    assert corpus_files(tmp_path) == [str(tmp_path / "a.JSONL"), str(tmp_path / "b.jsonl")]
    for folder in (tmp_path / "c.jsonl", tmp_path / "none"):
        with pytest.raises(UserError, match="holds no corpus"):
            corpus_files(folder)
