"""convert: sentences of one's own, in every shape they come in, and what inspect says of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from minituner.__main__ import main
from minituner.artefacts import explain
from minituner.convert import Sentence, convert, read_sentences
from minituner.corpus import read_rows
from minituner.data import filter_rows
from minituner.errors import UserError
from minituner.files import write_jsonl
from minituner.verbs import Verb, load_verbs

ROOT = Path(__file__).parent.parent
IRREGULAR = ["be", "have", "do", "go", "come", "see", "eat", "write"]


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


def prompt_and_target(
    english: str, verbs: dict[str, Verb], spanish: str | None = None, lemma: str | None = None
) -> tuple[str | None, str | None] | None:
    rows, without = convert(iter([Sentence(english, spanish, lemma, "t.tsv:1")]), verbs, "own")
    assert len(rows) + len(without) == 1
    return (rows[0]["prompt"], rows[0]["target"]) if rows else None


@pytest.mark.parametrize(
    ("english", "prompt", "target"),
    [
        ("He went to school yesterday.", "He __ to school yesterday.", "went"),
        ("She went home and ate.", "She __ home and ate.", "went"),  # the first form, one blank
        ("He hasn't gone yet.", "He hasn't __ yet.", "gone"),
        ("They\u2019ve already eaten.", "They\u2019ve already __.", "eaten"),
        ("She had eaten before we came.", "She had __ before we came.", "eaten"),  # had helps
        ("She had a cold.", "She __ a cold.", "had"),
        ("We had not really seen it.", "We had not really __ it.", "seen"),
        ("The dogs were loud.", "The dogs __ loud.", "were"),
        ("I was late.", "I __ late.", "was"),
        ("John's dog came back.", "John's dog __ back.", "came"),  # 's may be no have
        ("I have come home.", "I have __ home.", "come"),
        ('"It was you," he said.', '"It __ you," he said.', "was"),
        ("At the café she wrote: ¡olé! 😀", "At the café she __: ¡olé! 😀", "wrote"),
        ("Yesterday WE walked.", "Yesterday WE __.", "walked"),
        ("It was a long, long way, and they had, as ever, no map.",
         "It __ a long, long way, and they had, as ever, no map.", "was"),
    ],
)  # fmt: skip
def test_the_blank_stands_at_the_first_past_form(
    verbs: dict[str, Verb], english: str, prompt: str, target: str
) -> None:
    assert prompt_and_target(english, verbs) == (prompt, target)


@pytest.mark.parametrize("english", ["I come here often.", "She goes.", "WENT", "Hola.", "He seen"])
def test_a_sentence_without_a_past_form_gives_no_row(verbs: dict[str, Verb], english: str) -> None:
    assert prompt_and_target(english, verbs) is None


def test_a_lemma_says_which_of_several_verbs(verbs: dict[str, Verb]) -> None:
    found = prompt_and_target("She went home and ate.", verbs, lemma="eat")
    assert found == ("She went home and __.", "ate")
    with pytest.raises(UserError, match=r"^t\.tsv:1: names a verb whose forms are not known"):
        prompt_and_target("She sang.", verbs, lemma="sing")


@pytest.mark.parametrize(
    ("english", "spanish", "target"),
    [
        ("He went home.", "Él fue a casa.", "went / fue"),
        ("The boys went home.", "Los chicos fueron a casa.", "went / fueron"),
        ("I have eaten.", "He comido.", "eaten / comido"),
        ("He went home.", "Se marchó.", "went"),  # another verb there
        ("He went home.", None, "went"),
    ],
)
def test_the_spanish_form_is_taken_where_it_stands(
    verbs: dict[str, Verb], english: str, spanish: str | None, target: str
) -> None:
    found = prompt_and_target(english, verbs, spanish)
    assert found is not None and found[1] == target


def test_what_is_converted_is_a_corpus(
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
    assert [(pair.prompt, pair.english, pair.spanish) for pair in pairs] == [
        ("She went home, and __.", "ate", ""),
        ("We __.", "ate", "comimos"),
        ("She __ home and ate.", "went", "fue"),
    ]
    assert summary["kept"] == {"irregular": 3, "regular": 0}
    assert "rows: 3, 3 of them fill-in" in explain(corpus)
    # What exists is never overwritten.
    before = corpus.read_bytes()
    assert main(command) == 1
    assert "it exists already" in capsys.readouterr().err
    assert corpus.read_bytes() == before


def test_a_table_of_two_columns_needs_no_head(tmp_path: Path) -> None:
    path = tmp_path / "own.tsv"
    path.write_text("\ufeffHe went.\tFue.\n\nShe ate.\n", encoding="utf-8")
    assert list(read_sentences(path)) == [
        Sentence("He went.", "Fue.", None, f"{path}:1"),
        Sentence("She ate.", None, None, f"{path}:3"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.tsv", b"a\tb\tc\n", "t.tsv:1: has another number of columns"),
        ("t.csv", b"english\nHe went.\n", "t.csv:1: names no column en"),
        ("t.csv", b"en,es\nHe went.,x,y\n", "t.csv:2: has another number of columns"),
        ("t.tsv", b"caf\xe9\n", "t.tsv: cannot be read"),
        ("t.txt", b"He went.\n", "t.txt: is neither TSV nor CSV"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refusal:
        list(read_sentences(tmp_path / name))
    assert f"{tmp_path}/{words}" in str(refusal.value)


def test_an_underscore_would_be_taken_for_the_blank(verbs: dict[str, Verb]) -> None:
    with pytest.raises(UserError, match="an underscore"):
        prompt_and_target("He went_home.", verbs)


# --- inspect ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("experiments/17-minigpt-train/tokenizer.json", "A tokenizer"),
        ("experiments/17-minigpt-train/manifest.json", "stage: pretrain_base"),
        ("experiments/28-lora-ablate-rank/summary.json", "Results, as JSON"),
        ("experiments/28-lora-ablate-rank/base/items.csv", "rows: 205"),
        ("data/processed/base-corpus/plain.jsonl", "rows: 3,000, 0 of them fill-in"),
    ],
)
def test_committed_files_are_explained(file: str, words: str) -> None:
    assert words in explain(ROOT / file)


def test_what_is_no_artefact_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(b"no tensors")
    (tmp_path / "a.json").write_text("{")
    write_jsonl(tmp_path / "empty.jsonl", [])
    for name, words in (
        ("a.pt", "cannot be read as plain tensors"),
        ("a.json", "is not JSON"),
        ("a.txt", "there is no such file"),
    ):
        assert main(["inspect", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err
    assert "rows: 0" in explain(tmp_path / "empty.jsonl")
