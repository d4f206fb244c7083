"""Files of pairs and control sets: what is read, what is refused, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from minituner.data.pairs import Pair
from minituner.data.task_file import (
    read_control,
    read_own_task,
    read_task,
    summary,
    task_files,
)
from minituner.errors import SeveralErrors, UserError

CAPITAL = {"prompt": "The capital of France is", "target": "Paris", "wrong": "Lyon"}


def write(path: Path, *rows: Mapping[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read_one(folder: Path, row: Mapping[str, Any] | str) -> Pair:
    (pair,) = read_task([write(folder / "task.jsonl", row)]).pairs
    return pair


def test_a_line_becomes_a_pair(tmp_path: Path) -> None:
    row = {
        "prompt": "“Two __ 😀”, she said: 猫.", "target": " mice ", "wrong": ["mouses", "mouse"],
        "group": "mouse", "form": "plural", "split": "val", "after": " / ratones", "id": "m-1",
    }  # fmt: skip
    pair = read_one(tmp_path, row)
    assert pair == Pair(
        "m-1", "mouse", "plural", "", "", "“Two __ 😀”, she said: 猫.", "mice", " / ratones",
        ("mouses", "mouse"), f"{tmp_path / 'task.jsonl'}:1", "val",
    )  # fmt: skip


def test_defaults(tmp_path: Path) -> None:
    pair = read_one(tmp_path, CAPITAL | {"form": None})
    assert (pair.group, pair.form, pair.after, pair.split, pair.wrong) == (
        "",
        "",
        "",
        "",
        ("Lyon",),
    )
    # The id is of the content: it stays when other lines are added before it.
    file = write(tmp_path / "more.jsonl", CAPITAL | {"prompt": "x", "target": "y"}, CAPITAL)
    assert pair.id in {each.id for each in read_task([file]).pairs}


def test_an_empty_prompt_is_allowed(tmp_path: Path) -> None:
    row = {"prompt": "", "target": "The cats annoy Tim.", "wrong": "The cats annoys Tim."}
    assert read_one(tmp_path, row).sentence == "The cats annoy Tim."


def test_a_control_set_has_texts_and_pairs(tmp_path: Path) -> None:
    text = {"text": "Water is wet.", "id": "w"}
    file = write(tmp_path / "control.jsonl", text, CAPITAL | {"split": "test"})
    water, capital = sorted(read_control([file]).pairs, key=lambda pair: pair.prompt)
    assert (water.id, water.sentence, water.wrong) == ("w", "Water is wet.", ())
    assert (capital.sentence, capital.split) == ("The capital of France is Paris", "")
    with pytest.raises(UserError, match="unknown key"):
        read_task([file])


def test_order_and_repeated_lines_make_no_difference(tmp_path: Path) -> None:
    rows = [CAPITAL | {"prompt": f"Is {i} even?", "target": "Yes", "wrong": "No"} for i in range(9)]
    once = read_task([write(tmp_path / "a.jsonl", *rows)])
    again = read_task([write(tmp_path / "b.jsonl", *rows[::-1], *rows[:4])])
    assert [pair.id for pair in again.pairs] == [pair.id for pair in once.pairs]
    assert (once.duplicates, again.duplicates) == (0, 4)
    assert summary(again, once) == {
        "kept": {"task": 9, "control": 9},
        "dropped": {"duplicate task": 4, "duplicate control": 0},
    }


BAD_LINES = {
    "target equal to wrong": (CAPITAL | {"wrong": "Paris"}, "the target is also a wrong form"),
    "equal up to spaces": (
        CAPITAL | {"target": "New  York", "wrong": ["x", "New York"]},
        "the target is also a wrong form",
    ),
    "a wrong form twice": (CAPITAL | {"wrong": ["Lyon", "Lyon "]}, "a wrong form occurs twice"),
    "no wrong form": (CAPITAL | {"wrong": []}, "'wrong' is an empty list"),
    "an empty wrong form": (CAPITAL | {"wrong": ["Lyon", " "]}, "'wrong' is empty"),
    "an empty target": (CAPITAL | {"target": ""}, "'target' is empty"),
    "an empty group": (CAPITAL | {"group": " "}, "'group' is empty"),
    "two blanks": (CAPITAL | {"prompt": "__ is in __."}, "the prompt has 2 blanks"),
    "a long blank": (CAPITAL | {"prompt": "It is ____."}, "a blank of another length"),
    "a wide blank": (CAPITAL | {"prompt": "It is \uff3f\uff3f."}, "a blank of another length"),
    "a misspelled key": (
        {"promt": "x", "target": "a", "wrong": "b"},
        "did you mean 'prompt'?",
    ),
    "an unknown key": (CAPITAL | {"weight": "1"}, "unknown key"),
    "no target": ({"prompt": "x", "wrong": "b"}, "'target' is missing"),
    "null as target": (CAPITAL | {"target": None}, "'target' is missing"),
    "a number": (CAPITAL | {"target": 7}, "'target' is not text"),
    "a number among the wrong": (CAPITAL | {"wrong": ["6", 8]}, "'wrong' is not text"),
    "a line break": (CAPITAL | {"after": ".\nNext"}, "'after' has a line feed"),
    "a NUL": (CAPITAL | {"prompt": "a\0 __"}, "'prompt' has a NUL"),
    "half a character": (
        '{"prompt": "x \\ud83d __", "target": "a", "wrong": "b"}',
        "half a character",
    ),
    "a split of another name": (CAPITAL | {"split": "tests"}, "did you mean 'test'?"),
    "not an object": ("[1, 2]", "is not a row"),
    "not JSON": ('{"prompt": ', "is not JSON"),
    "a key twice": ('{"prompt": "a", "prompt": "b", "target": "c", "wrong": "d"}', "occurs twice"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_refused_by_its_place(tmp_path: Path, case: str) -> None:
    row, words = BAD_LINES[case]
    file = write(tmp_path / "task.jsonl", CAPITAL, "", row)
    with pytest.raises(UserError) as refusal:
        read_task([file])
    message = str(refusal.value)
    assert message.startswith(f"{file}:3: ")
    assert words in message


@pytest.mark.parametrize(("target", "wrong"), [("come", "comed"), ("comed", "come")])
def test_a_form_that_begins_with_another_is_allowed(
    tmp_path: Path, target: str, wrong: str
) -> None:
    """The token that ends the form tells them apart."""
    assert read_one(tmp_path, CAPITAL | {"target": target, "wrong": wrong}).correct == target


def test_single_underscores_are_no_blanks(tmp_path: Path) -> None:
    assert read_one(tmp_path, CAPITAL | {"prompt": "snake_case is a __"}).prompt


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    task = write(tmp_path / "task.jsonl", *[row for row, _ in BAD_LINES.values()])
    control = write(tmp_path / "control.jsonl", {"text": ""}, {"text": "a", "wrong": "b"})
    with pytest.raises(SeveralErrors) as refusal:
        read_own_task([task], [control])
    assert refusal.value.count == len(BAD_LINES) + 2


@pytest.mark.parametrize("key", ["group", "split"])
def test_all_lines_have_a_group_or_a_split_or_none(tmp_path: Path, key: str) -> None:
    rows = [CAPITAL | {"prompt": f"{i} is", key: "test"} for i in range(5)]
    assert len(read_task([write(tmp_path / "a.jsonl", *rows)]).pairs) == 5
    del rows[3][key]
    with pytest.raises(UserError, match=rf":4: has no '{key}', as 1 line of 5"):
        read_task([write(tmp_path / "b.jsonl", *rows)])


def test_ids_differ(tmp_path: Path) -> None:
    rows = [CAPITAL | {"prompt": f"{i} is", "id": "same"} for i in range(2)]
    with pytest.raises(UserError, match=r"b\.jsonl:2: duplicate id"):
        read_task([write(tmp_path / "b.jsonl", *rows)])


def test_contradictions_are_refused(tmp_path: Path) -> None:
    other = CAPITAL | {"target": "Lyon", "wrong": ["Nice", "Paris"]}
    with pytest.raises(SeveralErrors) as refusal:
        read_task([write(tmp_path / "b.jsonl", CAPITAL, other)])
    assert refusal.value.count == 2
    assert "'Lyon' is wrong here and right at" in str(refusal.value)
    # With another text after it the same form may be right.
    after = other | {"after": ", once."}
    assert len(read_task([write(tmp_path / "c.jsonl", CAPITAL, after)]).pairs) == 2
    # Several right answers are no contradiction.
    several = CAPITAL | {"target": "the city of Paris"}
    assert len(read_task([write(tmp_path / "d.jsonl", CAPITAL, several)]).pairs) == 2


def test_task_files(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", CAPITAL)
    assert task_files(file) == [str(file)]
    write(tmp_path / "b.jsonl", CAPITAL)
    assert task_files(tmp_path) == [str(file), str(tmp_path / "b.jsonl")]
    (tmp_path / "table.csv").write_text("prompt,target\n")
    for path in (tmp_path / "table.csv", tmp_path / "none.jsonl"):
        with pytest.raises(UserError, match="is not a task file"):
            task_files(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no corpus"):
        task_files(tmp_path / "empty")
