"""convert: a user's sentences as corpus rows."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from project import ROOT

from minituner.__main__ import main
from minituner.cli.inspect import explain
from minituner.convert.conversion import convert, report
from minituner.convert.table import Sentence, Table
from minituner.data.corpus import read_rows
from minituner.data.filter import filter_rows
from minituner.data.verbs import Verb, load_verbs

IRREGULAR = ["be", "have", "do", "go", "come", "see", "eat", "write"]


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


def prompt_and_target(
    english: str, verbs: dict[str, Verb], spanish: str | None = None
) -> tuple[str | None, str | None]:
    (row,) = convert([Sentence(english, spanish)], verbs, "own").rows
    return row["prompt"], row["target"]


@pytest.mark.parametrize(
    ("english", "prompt", "target"),
    [
        ("She went home and ate.", "She __ home and ate.", "went"),  # the first form, one blank
        ("She's gone, and he ate.", "She's gone, and he __.", "ate"),  # the first that is certain
        ("At the café she wrote: ¡olé! 😀", "At the café she __: ¡olé! 😀", "wrote"),
        ("It was a long, long way, and they had, as ever, no map.",
         "It __ a long, long way, and they had, as ever, no map.", "was"),
    ],
)  # fmt: skip
def test_convert_blanks_the_first_certain_form(
    verbs: dict[str, Verb], english: str, prompt: str, target: str
) -> None:
    assert prompt_and_target(english, verbs) == (prompt, target)


@pytest.mark.parametrize(
    ("english", "spanish", "target"),
    [
        ("He went home.", "Él fue a casa.", "went / fue"),
        ("The boys went home.", "Los chicos fueron a casa.", "went / fueron"),
        ("I have eaten.", "He comido.", "eaten / comido"),
        ("He ate.", unicodedata.normalize("NFD", "COMIÓ."), "ate / comió"),
        ("He liked it.", "Le\u00a0gustó.", "liked / le gustó"),
        ("He went home.", "Se marchó.", "went"),  # another verb there
        ("He went home.", "Se difue.", "went"),  # a part of a word is none
        ("He went home.", None, "went"),
    ],
)
def test_convert_finds_the_spanish_form(
    verbs: dict[str, Verb], english: str, spanish: str | None, target: str
) -> None:
    assert prompt_and_target(english, verbs, spanish)[1] == target


@pytest.mark.parametrize(
    ("english", "person"),
    [
        ("I was late.", "1sg"),
        ("They say he went.", "3sg"),
        ("We went.", "1pl"),
        ("The dogs were late.", "3pl"),
        ("I know who worked.", "3sg"),
        ("You and I were friends.", "1pl"),
        ("Ana and Tom looked at it.", "3pl"),
        ("Ana and my brother were late.", "3pl"),
        ("My parents' friends came.", "3pl"),
        ("I think the teacher came.", "3sg"),
        ("I eat and he ate.", "3sg"),
        ("James came.", "3sg"),
        ("I like it and he went.", "3sg"),
        ("You came.", "2sg"),
        ("We know she has never gone.", "3sg"),
        ("Has she gone?", "3sg"),
        ("Ana and I have already gone.", "1pl"),
        ("I like what they wrote.", "3pl"),
        ("went home", "3sg"),
    ],
)
def test_convert_finds_the_person(verbs: dict[str, Verb], english: str, person: str) -> None:
    assert convert([Sentence(english)], verbs, "own").rows[0]["person"] == person


@pytest.mark.parametrize(
    ("prefix", "first"),
    [("own", "own-000001"), ("año 2 (b)_c", "año-2-b-c-000001"), ("\udcff", "own-000001")],
)
def test_ids_begin_with_the_prefix(verbs: dict[str, Verb], prefix: str, first: str) -> None:
    assert convert([Sentence("He went.")], verbs, prefix).rows[0]["id"] == first


def test_report(verbs: dict[str, Verb]) -> None:
    sentences = [
        Sentence("He went.", "Se marchó.", place="t.csv:2"),
        Sentence("She's gone.", place="t.csv:3"),
        *(Sentence("I like it.", place=f"t.csv:{line}") for line in range(4, 1_204)),
    ]
    done = convert(sentences, verbs, "own")
    lines = report(done, Table(sentences, ["notes", "id"]), "own.jsonl").splitlines()
    assert lines[:6] == [
        "1 row in own.jsonl",
        "columns not used: notes, id",
        "1 sentence whose Spanish does not contain the verb:",
        "  t.csv:2: went: no fui or fuiste or fue or fuimos or fueron in 'Se marchó.'",
        "1 sentence in doubt; the columns lemma and tense can decide them:",
        "  t.csv:3: `gone` may be a past participle after has or had, or something else after "
        "`She's`: \"She's gone.\"",
    ]
    assert lines[6] == "1,200 sentences without a form to ask for:"
    assert lines[7] == "  t.csv:4: no past form of a known verb: 'I like it.'"
    assert lines[17:] == ["  and 1,190 more"]


def test_convert_command_writes_a_corpus(
    verbs: dict[str, Verb], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, corpus = tmp_path / "own.csv", tmp_path / "own.jsonl"
    table.write_text(
        'es,en,lemma\nFue a casa.,She went home and ate.,\n,"She went home, and ate.",eat\n'
        "Comimos.,We ate.,\n,I like it.,\n",
        encoding="utf-8",
    )
    command = ["convert", str(table), str(corpus), "--verbs", str(ROOT / "data/raw/verbs.yaml")]
    assert main(command) == 0
    assert "3 rows" in (said := capsys.readouterr().err)
    assert f"{table}:5: no past form of a known verb: 'I like it.'" in said
    pairs, _, summary = filter_rows(read_rows([corpus], verbs), verbs, IRREGULAR, ["walk"])
    assert [(pair.prompt, pair.correct, pair.after) for pair in pairs] == [
        ("She went home, and __.", "ate", ""),
        ("We __.", "ate", " / comimos"),
        ("She __ home and ate.", "went", " / fue"),
    ]
    assert summary["kept"] == {"irregular": 3, "regular": 0}
    assert "rows: 3, 3 of them fill-in" in explain(corpus)
    # What exists is never overwritten.
    before = corpus.read_bytes()
    assert main(command) == 1
    assert "it exists already" in capsys.readouterr().err
    assert corpus.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (".own.jsonl", "a name that begins with a dot"),
        (".jsonl", "a name that begins with a dot"),
        ("a{b.jsonl", "a brace in its name"),
        ("a}/own.jsonl", "a brace in its name"),
        ("own.json", "an ending '.json'"),
        ("own.csv", "an ending '.csv'"),
    ],
)
def test_convert_command_refuses_a_name_that_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, found: str
) -> None:
    table = tmp_path / "own.csv"
    table.write_text("en\nHe went.\n")
    assert main(["convert", str(table), str(tmp_path / name)]) == 1
    said = capsys.readouterr().err
    assert f"found:    {found}\n" in said
    assert "exists" not in said
    assert list(tmp_path.iterdir()) == [table]


def test_report_of_many_columns_is_short() -> None:
    sentences = [Sentence("I like it.", place="t.csv:2")]
    names = [f"column{number}" for number in range(5_000)]
    said = report(convert(sentences, {}, "own"), Table(sentences, names), "own.jsonl")
    assert "column19 and 4,980 more\n" in said
    long = report(convert(sentences, {}, "own"), Table(sentences, ["x" * 100_000]), "own.jsonl")
    assert len(long) < 1_000


def test_convert_command_writes_nothing_without_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, corpus = tmp_path / "own.csv", tmp_path / "new/folder/own.jsonl"
    command = ["convert", str(table), str(corpus), "--verbs", str(ROOT / "data/raw/verbs.yaml")]
    for content in ("en\nHe went.\nHe_went.\n", "en\nShe's gone.\n"):
        table.write_text(content)
        assert main(command) == 1
        assert list(tmp_path.iterdir()) == [table]
    assert "0 rows; no file" in capsys.readouterr().err
    table.write_bytes("en\nJosé went.\n".encode("cp1252"))
    assert main(command) == 1
    assert main([*command, "--encoding", "cp1252"]) == 0  # and the folder is made
    assert "José" in corpus.read_text(encoding="utf-8")
