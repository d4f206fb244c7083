"""Reading a corpus: which files it is, and the mistakes of all of them at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import GOOD, write_rows
from project import ROOT

from minituner.data.corpus import corpus_files, iter_rows, read_rows
from minituner.data.rows import Row
from minituner.data.verbs import Verb, load_verbs
from minituner.errors import UserError

RAW = ROOT / "data" / "raw"


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(RAW / "verbs.yaml")


def test_mistakes_of_all_files_are_reported_together(
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
        came.extend(iter_rows([one, two, none, windows], verbs))
    message = str(caught.value)
    # 30 tenses, one id, one file that is not there, and one in another encoding.
    assert message.startswith("33 mistakes; the first 10:\n")
    assert message.count("unknown tense") == 10
    with pytest.raises(UserError, match="3 mistakes:") as caught:
        read_rows([write_rows(one, GOOD), two, none, windows], verbs)
    for words in (f"{two}:2: duplicate id", f"{none}: cannot be", f"{windows}:1: is not UTF-8"):
        assert words in str(caught.value)


def test_an_id_may_not_occur_in_two_files(tmp_path: Path, verbs: dict[str, Verb]) -> None:
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


def test_corpus_files_skips_names_with_a_dot(tmp_path: Path) -> None:
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
