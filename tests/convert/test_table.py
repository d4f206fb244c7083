"""Tables of sentences in the shapes that people and programs save them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from minituner.convert.table import Sentence, Table, read_table
from minituner.errors import UserError

LEMMAS = ("eat", "go")


def table(tmp_path: Path, name: str, content: str | bytes, encoding: str | None = None) -> Table:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, LEMMAS, encoding)


def refusal(tmp_path: Path, name: str, content: str | bytes, encoding: str | None = None) -> str:
    with pytest.raises(UserError) as refused:
        table(tmp_path, name, content, encoding)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'en,es\n"He went, he said.",Fue\n'),
        ("t.csv", 'en, es \n"He went, he said.",Fue\n'),
        ("t.CSV", '\ufeffEN;Spanish;\r\n"He went, he said.";Fue;\r\n;;\r\n\r\n'),
        ("t.csv", "sep=;\r\nEnglish;Español\r\nHe went, he said.;Fue\r\n"),
        ("t.csv", "sep=\t\nenglish\tes\nHe went, he said.\tFue\n"),
        ("t.csv", "\n,,\nInglés\tes\rHe went, he said.\tFue\r"),
        ("t.csv", 'es,en\nFue,"He went, he said."\n'),
        ("t.csv", 'es, en\nFue, "He went, he said."\n'),
        ("t.csv", 'en,es\n"He went, he said.", "Fue"\n'),
        ("t.csv", 'en; "es"\n "He went, he said."; "Fue"\n'),
        ("t.tsv", "He went, he said.\tFue\n"),
        ("t.TSV", "\n\t\n\"He went, he said.\"\tFue\t\n"),
        ("t.tsv", "en\tes\nHe went, he said.\tFue\n"),
        ("t.tsv", "en\tes\tnotes, if any\nHe went, he said.\tFue\n"),
        ("t.tsv", "en;es;notes\nHe went, he said.;Fue;x\n"),
    ],
)  # fmt: skip
def test_read_table_in_many_shapes(tmp_path: Path, name: str, content: str) -> None:
    (sentence,) = table(tmp_path, name, content).sentences
    assert (sentence.english, sentence.spanish) == ("He went, he said.", "Fue")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encoding_of_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    content = "en,es\nHe ate.,Comió.\n".encode(encoding)
    assert table(tmp_path, "t.csv", content).sentences[0].spanish == "Comió."


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le"])
@pytest.mark.parametrize("spanish", ["El señor comió pan.", "Come."])
def test_encoding_is_suggested_and_can_be_given(
    tmp_path: Path, encoding: str, spanish: str
) -> None:
    content = f"en,es\nHe ate.,{spanish}\n".encode(encoding)
    if encoding == "utf-16-le" or not spanish.isascii():
        said = refusal(tmp_path, "t.csv", content)
        assert "is not UTF-8" in said
        assert "--encoding " + {"cp1252": "Windows-1252", "utf-16-le": "UTF-16LE"}[encoding] in said
    assert table(tmp_path, "t.csv", content, encoding).sentences[0].spanish == spanish


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "text in UTF-8, which that encoding would garble"),
        ("utf-16", "cannot be read as 'utf-16'"),
        ("klingon", "an encoding that Python does not know"),
        ("base64", "an encoding that Python does not know"),
    ],
)
def test_wrong_encoding_is_refused(tmp_path: Path, encoding: str, words: str) -> None:
    assert words in refusal(tmp_path, "t.csv", "en,es\nHe ate it.,Comió.\n", encoding)


def test_columns_by_name_and_unused_columns(tmp_path: Path) -> None:
    read = table(
        tmp_path,
        "t.csv",
        "notes,Verb,ENGLISH,Tense,es ,,,spanihs\n"
        "x, Eat ,He ate.,Past simple,Comió.,,5,\n,,He went.\n",
    )
    assert read.sentences == [
        Sentence("He ate.", "Comió.", "eat", "past_simple", f"{tmp_path}/t.csv:2"),
        Sentence("He went.", None, None, None, f"{tmp_path}/t.csv:3"),
    ]
    assert read.unused == ["notes", "column 7, which has no name", "spanihs"]


def test_quotation_marks_in_a_tsv(tmp_path: Path) -> None:
    content = (
        'He said "no\tDijo "no\n"Yes," he said.\n"I went.\tFui.\n'
        '"He said ""no""."\tx\nShe ate.\n'
    )  # fmt: skip
    assert [(s.english, s.place[-1]) for s in table(tmp_path, "t.tsv", content).sentences] == [
        ('He said "no', "1"),
        ('"Yes," he said.', "2"),
        ('"I went.', "3"),
        ('He said "no".', "4"),
        ("She ate.", "5"),
    ]


def test_a_sentence_that_begins_like_a_heading(tmp_path: Path) -> None:
    for line in ("English, please, he said.\tInglés, por favor.", "English, please, he said."):
        (sentence,) = table(tmp_path, "t.tsv", f"{line}\n").sentences
        assert sentence.english == "English, please, he said."


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", "", "t.csv: holds no sentence"),
        ("t.csv", "en,es\n,\n\n", "t.csv: holds no sentence"),
        ("t.tsv", "\n\n", "t.tsv: holds no sentence"),
        ("t.csv", "He went.,Fue.\n", "t.csv:1: names no column en"),
        ("t.csv", "en|es\nHe went.|x\n", "t.csv:1: names no column en"),
        ("t.tsv", "es\tlemma\nx\teat\n", "t.tsv:1: names no column en"),
        ("t.csv", "en,es,English\nHe ate.,,\n", "t.csv:1: names the column en more than once"),
        ("t.csv", "sep=!\nen!es\n", "t.csv:1: names a delimiter that is not supported"),
        ("t.csv", "en,es\nHe went.,x,y\n", "t.csv:2: has 3 columns instead of 2"),
        ("t.csv", "en\nHe went, he said.\n", "t.csv:2: has 2 columns instead of 1"),
        ("t.tsv", "a\tb\tc\n", "t.tsv:1: has 3 columns instead of 2"),
        ("t.csv", "en,es\n,Fue.\n", "t.csv:2: has no English"),
        ("t.csv", 'en\n"He\nwent."\n', "t.csv:2: has a line break in a cell"),
        ("t.tsv", '"He\nwent."\tFue.\n', "t.tsv:1: has a line break in a cell"),
        ("t.csv", "en\nHe\u2028went.\n", "t.csv:2: has a line break in a cell"),
        ("t.csv", "en,es\nHe\twent.,\n", "t.csv:2: has a tab in a cell"),
        ("t.csv", "en,es\nHe went.,Fu\x07e\n", "t.csv:2: has the control character U+0007"),
        ("t.csv", "en,es\nHe went.,Com\ufffd\n", "t.csv:2: has the mark of a lost character"),
        ("t.csv", f"en\n{'He went. ' * 200}\n", "t.csv:2: has more than 1,000 characters"),
        ("t.csv", f"en\n{'He went. ' * 20_000}\n", "t.csv:2: "),
        ("t.csv", "en\nHe went_home.\n", "t.csv:2: has an underscore"),
        ("t.csv", "en,lemma\nHe ate.,devour\n", "t.csv:2: names an unknown lemma"),
        ("t.csv", "en,tense\nHe ate.,future\n", "t.csv:2: names an unknown tense"),
        ("t.csv", 'en\n"He went.\n', "t.csv:2: is not CSV"),
        ("t.csv", "en\nHe \0went.\n", "t.csv:2: has a NUL in it"),
        ("t.csv", f"en,{'x' * 200_000}\nHe went.,\n", "t.csv:1: is too long to name columns"),
        ("t.tsv", f"{'x' * 200_000}\tFue.\n", "t.tsv:1: has more than 1,000 characters"),
        ("t.csv", b"PK\x03\x04\x00", "t.csv: is a spreadsheet"),
        ("t.xlsx", b"PK\x03\x04\x00", "t.xlsx: is neither TSV nor CSV"),
        ("t.txt", "He went.\n", "t.txt: is neither TSV nor CSV"),
    ],
)
def test_bad_tables_are_refused_by_line(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    assert f"{tmp_path}/{words}" in refusal(tmp_path, name, content)


def test_unreadable_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("folder.csv", "absent.csv"):
        with pytest.raises(UserError, match=f"{name}: cannot be read"):
            read_table(tmp_path / name, LEMMAS)


def test_bad_lines_are_reported_together(tmp_path: Path) -> None:
    content = 'en,lemma\n"He\nate.",\n"He" ate.,\nHe ate.,eet\nHe ate.,eat\n' + "He_ate.,\n" * 20
    said = refusal(tmp_path, "t.csv", content)
    assert said.startswith("23 mistakes; the first 10:\n")
    for words in (
        "2: has a line break",
        "4: is not CSV",
        "5: names an unknown lemma",
        "7: has an under",
    ):
        assert f"t.csv:{words}" in said
    assert "t.csv:6" not in said
