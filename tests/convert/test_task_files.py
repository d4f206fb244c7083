"""Tables of minimal pairs and files of texts; the command that makes a task or a control set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minituner.__main__ import main
from minituner.convert.task_files import read_task_rows, target_of
from minituner.convert.task_rows import TaskRows
from minituner.data.prompts import sentence_text
from minituner.data.task_file import read_control, read_task
from minituner.errors import UserError

TABLE = "prompt,target,wrong\nThe cat,is,are\nThe cats __ here.,are,is|was\n"
BLIMP = {
    "sentence_good": "The cats annoy Tim.",
    "sentence_bad": "The cats annoys Tim.",
    "UID": "agreement",
    "pairID": "0",
}


def pairs_of(path: Path, content: str | bytes, encoding: str | None = None) -> TaskRows:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_task_rows([path], "pairs", encoding)


def texts_of(path: Path, content: str | bytes, encoding: str | None = None) -> TaskRows:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_task_rows([path], "texts", encoding)


# --- tables of pairs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "prompt,target,wrong,wrong_2\n\"Yes, she\",is,are,am\n"),
        ("t.csv", "Wrong; PROMPT ;Target\nare | am;Yes, she;is\n"),
        ("t.csv", "sep=;\r\nprompt;target;wrong 1;wrong 2\r\nYes, she;is;are;am\r\n;;;\r\n"),
        ("t.tsv", "prompt\ttarget\twrong\twrong-2\nYes, she\tis\tare\tam\n"),
        ("t.tsv", "\ufeffprompt;target;wrong\nYes, she;is;are|am\n"),
    ],
)  # fmt: skip
def test_tables_in_many_shapes(tmp_path: Path, name: str, content: str) -> None:
    assert pairs_of(tmp_path / name, content).rows == [
        {"prompt": "Yes, she", "target": "is", "wrong": ["are", "am"]}
    ]


def test_optional_columns_are_copied_and_others_listed(tmp_path: Path) -> None:
    found = pairs_of(
        tmp_path / "t.csv",
        "group,form,split,notes,prompt,target,wrong,after\n"
        "be,plural,train,x,The cats,are,is,here.\n"
        "be,,,,The cat,is,are,.\n",
    )
    assert found.rows == [
        {
            "prompt": "The cats", "target": "are", "wrong": "is", "after": " here.",
            "group": "be", "form": "plural", "split": "train",
        },
        {"prompt": "The cat", "target": "is", "wrong": "are", "after": ".", "group": "be"},
    ]  # fmt: skip
    assert found.unused == ["notes"]


def test_a_pair_that_is_repeated_is_left_out(tmp_path: Path) -> None:
    found = pairs_of(tmp_path / "t.csv", TABLE + "The cat,is,are\n")
    assert len(found.rows) == 2
    assert found.skipped == {"that is there already": [f"{tmp_path}/t.csv:4"]}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (",is,are", "2: has no prompt"),
        ("The cat,,are", "2: has no target"),
        ("The cat,is,", "2: has no wrong"),
        ("The cat,is", "2: lacks a wrong form"),
        ("The cat,is,are|", "2: lacks a wrong form"),
        ("The cat,is,|are", "2: lacks a wrong form"),
        ("The cat,is,are,here", "2: has 4 columns instead of 3"),
        ("The cat,is,is", "2: the target is also a wrong form"),
        ("The cat,is,are|are", "2: a wrong form occurs twice"),
        ("The __ cat __,is,are", "2: the prompt has 2 blanks"),
        ('The cat,is,"are', "2: is not CSV"),
        ("The cat,is,a\tre", "2: has a tab"),
        (f"{'The cat ' * 3000},is,are", "2: has more than 20,000 characters"),
    ],
)
def test_bad_rows_are_refused_by_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        pairs_of(tmp_path / "t.csv", f"prompt,target,wrong\n{row}\nThe cats,are,is\n")
    assert f"{tmp_path}/t.csv:{words}" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prompt,target\nx,y\n", "t.csv:1: names no column wrong"),
        ("prompt,text\nx,y\n", "t.csv:1: names no column target and no column wrong"),
        ("prompt,target,wrong,wrong_1\nx,y,z,z\n", "names the column wrong more than once"),
        ("prompt,target,wrong,Wrong 2,wrong_2\nx,y,z,z,z\n", "names the column wrong_2 more"),
        ("prompt,target,wrong\n", "t.csv: holds no minimal pair"),
        ("", "t.csv: holds no minimal pair"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        pairs_of(tmp_path / "t.csv", content)
    assert words in str(refused.value)


def test_the_tables_encoding_is_suggested_and_can_be_given(tmp_path: Path) -> None:
    content = "prompt,target,wrong\nEl señor,comió,comí\n".encode("cp1252")
    with pytest.raises(UserError, match="--encoding Windows-1252"):
        pairs_of(tmp_path / "t.csv", content)
    assert pairs_of(tmp_path / "t.csv", content, "cp1252").rows[0]["prompt"] == "El señor"


# --- texts ----------------------------------------------------------------------------------------


def test_lines_of_a_text_file(tmp_path: Path) -> None:
    content = "\ufeffIl pleut.\r\n\r\n  «Oui», dit-elle. 😀\nIl pleut.\nb\x07d\nlost \ufffd\n__\n"
    found = texts_of(tmp_path / "fr.txt", content)
    assert [row["text"] for row in found.rows] == ["Il pleut.", "«Oui», dit-elle. 😀", "__"]
    assert found.skipped == {
        "that is there already": [f"{tmp_path}/fr.txt:4"],
        "with a control character (U+0007) in it": [f"{tmp_path}/fr.txt:5"],
        "with the mark of a lost character (U+FFFD) in it": [f"{tmp_path}/fr.txt:6"],
    }


def test_texts_in_another_encoding(tmp_path: Path) -> None:
    content = "Où est-il passé ?\nÀ l'école.\n".encode("cp1252")
    with pytest.raises(UserError, match="--encoding Windows-1252"):
        texts_of(tmp_path / "fr.txt", content)
    found = texts_of(tmp_path / "fr.txt", content, "cp1252")
    assert found.rows[1] == {"text": "À l'école."}


# --- which is which -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "target"),
    [
        ("a.csv", "en,es\nHe went.,Fue.\n", "corpus"),
        ("a.csv", "en,prompt,target,wrong\nHe went.,a,b,c\n", "corpus"),
        ("a.csv", "anything\n", "corpus"),
        ("a.tsv", "He went.\tFue.\n", "corpus"),
        ("a.csv", "prompt,target,wrong\na,b,c\n", "pairs"),
        ("a.csv", "prompt;target\na;b\n", "pairs"),
        ("a.tsv", "wrong\ttarget\tprompt\na\tb\tc\n", "pairs"),
        ("a.jsonl", "{}\n", "pairs"),
        ("a.txt", "prompt,target,wrong\n", "texts"),
        ("a.xlsx", "PK", "corpus"),
        ("a.csv", "sep=!\nprompt!target\n", "corpus"),
    ],
)
def test_what_a_file_is_converted_to(tmp_path: Path, name: str, content: str, target: str) -> None:
    (tmp_path / name).write_text(content)
    assert target_of(tmp_path / name) == target


def test_what_a_file_that_cannot_be_read_is_converted_to(tmp_path: Path) -> None:
    assert target_of(tmp_path / "absent.csv") == "corpus"


# --- what the pipeline makes of it ----------------------------------------------------------------


def test_a_task_reads_what_is_converted_and_makes_the_sentences_again(tmp_path: Path) -> None:
    pairs = [("The cats annoy Tim.", "The cats annoys Tim."), ("Who left?", "What left?"),
             ("Ana saw 👍🏽 here", "Ana saw 👍🏿 here"), ("我 爱 你。", "我 恨 你。")]  # fmt: skip
    lines = [
        {"sentence_good": good, "sentence_bad": bad, "UID": f"u{i % 2}"}
        for i, (good, bad) in enumerate(pairs)
    ]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["convert", str(tmp_path / "b.jsonl"), str(tmp_path / "task.jsonl")]) == 0
    read, duplicates = read_task([tmp_path / "task.jsonl"])
    assert duplicates == 0
    made = {
        (pair.sentence, sentence_text(pair.prompt, wrong, pair.after))
        for pair in read
        for wrong in pair.wrong
    }
    assert made == set(pairs)
    assert {pair.group for pair in read} == {"u0", "u1"}
    assert (
        main(["convert", str(tmp_path / "b.jsonl"), str(tmp_path / "c.jsonl"), "--to", "texts"])
        == 0
    )
    texts, _ = read_control([tmp_path / "c.jsonl"])
    assert {text.sentence for text in texts} == {good for good, _ in pairs}
    assert not any(text.wrong for text in texts)


def test_a_task_reads_a_converted_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "prompt,target,wrong,after,group,split\nThe cat,is,are|am,here.,be,train\n"
        "We __ it.,saw,seed,,see,test\n"
    )
    assert main(["convert", str(tmp_path / "t.csv"), str(tmp_path / "task.jsonl")]) == 0
    pairs, _ = read_task([tmp_path / "task.jsonl"])
    found = {(pair.sentence, pair.wrong, pair.group, pair.split) for pair in pairs}
    assert found == {
        ("The cat is here.", ("are", "am"), "be", "train"),
        ("We saw it.", ("seed",), "see", "test"),
    }


# --- the command ----------------------------------------------------------------------------------


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_table_becomes_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(TABLE + "The cat,is,are\n")
    output = tmp_path / "own" / "my pairs.jsonl"
    assert main(["convert", str(tmp_path / "t.csv"), str(output)]) == 0
    assert capsys.readouterr().err == (
        f"2 pairs in {output}\nleft out: 1 pair that is there already:\n  {tmp_path}/t.csv:4\n"
    )
    assert rows_of(output) == [
        {"prompt": "The cat", "target": "is", "wrong": "are", "id": "my-pairs-000001"},
        {
            "prompt": "The cats __ here.",
            "target": "are",
            "wrong": ["is", "was"],
            "id": "my-pairs-000002",
        },
    ]
    before = output.read_bytes()
    assert main(["convert", str(tmp_path / "t.csv"), str(output)]) == 1
    assert "it exists already" in capsys.readouterr().err
    assert output.read_bytes() == before


def test_blimp_files_become_one_task_or_one_control_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file, paradigm in zip(files, ("agreement", "islands"), strict=True):
        lines = [BLIMP | {"UID": paradigm, "pairID": str(i), "sentence_good": f"{good} annoy Tim."}
                 for i, good in enumerate(("The cats", f"The {paradigm}"))]  # fmt: skip
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["convert", *map(str, files)]
    assert main([*command, str(tmp_path / "task.jsonl")]) == 0
    rows = rows_of(tmp_path / "task.jsonl")
    assert [(row["id"], row["group"]) for row in rows] == [
        ("agreement-0", "agreement"),
        ("agreement-1", "agreement"),
        ("islands-1", "islands"),
    ]
    assert "left out: 1 pair that is there already" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "control.jsonl"), "--to", "texts"]) == 0
    assert rows_of(tmp_path / "control.jsonl") == [
        {"text": "The cats annoy Tim.", "id": "control-000001"},
        {"text": "The agreement annoy Tim.", "id": "control-000002"},
        {"text": "The islands annoy Tim.", "id": "control-000003"},
    ]


def test_pairs_of_a_single_paradigm_are_groups_by_themselves(tmp_path: Path) -> None:
    lines = [BLIMP, BLIMP | {"sentence_good": "Dogs bark.", "sentence_bad": "Dogs barks."}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["convert", str(tmp_path / "a.jsonl"), str(tmp_path / "task.jsonl")]) == 0
    rows = rows_of(tmp_path / "task.jsonl")
    assert not any("group" in row for row in rows)
    assert [row["id"] for row in rows] == ["task-000001", "task-000002"], "both have the pairID 0"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("t.txt", ["--to", "pairs"], "t.txt: cannot be converted to pairs"),
        ("t.csv", ["--to", "texts"], "t.csv: cannot be converted to texts"),
        ("t.txt", ["--to", "corpus"], "t.txt: is neither TSV nor CSV"),
        ("t.jsonl", ["--encoding", "cp1252"], "t.jsonl: is JSON, whose encoding is UTF-8"),
        ("t.jsonl", [], "t.jsonl:1: is not JSON"),
        ("t.xlsx", [], "t.xlsx: is neither TSV nor CSV"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str], words: str
) -> None:
    (tmp_path / name).write_text(TABLE)
    verbs = ["--verbs", str(Path(__file__).parents[2] / "data/raw/verbs.yaml")]
    assert main(["convert", str(tmp_path / name), str(tmp_path / "o.jsonl"), *options, *verbs]) == 1
    assert f"{tmp_path}/{words}" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_corpus_is_made_from_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for table in tables:
        table.write_text("en\nHe went.\n")
    assert main(["convert", *map(str, tables), str(tmp_path / "o.jsonl")]) == 1
    assert f"{tables[1]}: is a second table for one corpus" in capsys.readouterr().err


def test_nothing_is_written_if_all_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text("\n\n")
    assert main(["convert", str(tmp_path / "t.txt"), str(tmp_path / "o.jsonl")]) == 1
    assert capsys.readouterr().err == "0 texts; no file\n"
    assert not (tmp_path / "o.jsonl").exists()


def test_a_report_of_many_is_short() -> None:
    found = TaskRows("pair", unused=[f"column{n}" for n in range(5_000)])
    for number in range(1_000):
        found.skip(f"b.jsonl:{number}", "whose two sentences are the same")
    lines = found.report("o.jsonl").splitlines()
    assert len(lines) == 1 + 1 + 1 + 10 + 1
    assert lines[-1] == "  and 990 more"
    assert len(found.report("o.jsonl")) < 1_500
