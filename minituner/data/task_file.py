"""Task files: minimal pairs of a user's own, and control sets; one JSON object per line.

    {"prompt": "The capital of France is", "target": "Paris", "wrong": ["Lyon", "Nice"]}
    {"text": "Water boils at 100 degrees."}                                   in control sets only

``prompt`` has one blank ``__``, or none: then the answer follows it. ``group`` is what the
intervals resample, ``form`` a kind of pair within its group, ``split`` one of train, val and test,
``after`` the text that follows the answer. ``group``, and likewise ``split``, is in all lines of a
task or in none: without groups the intervals resample the pairs, and without splits the pairs are
divided by seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minituner.data.corpus import corpus_files, numbered_lines
from minituner.data.pairs import TASK_SPLITS, Pair
from minituner.data.prompts import BLANK
from minituner.data.rows import check_characters, parse_object
from minituner.data.spelling import single_spaced
from minituner.data.task_agreement import check_agreement, content
from minituner.errors import Mistakes, UserError, number_of
from minituner.storage.messages import brief, closest, unknown_word

PAIR_KEYS = ("prompt", "target", "wrong", "group", "form", "split", "after", "id")
REQUIRED = ("prompt", "target", "wrong")
TEXT_KEYS = ("text", "group", "form", "id")
MAY_BE_EMPTY = ("prompt", "after")
BLANKS = re.compile("[_\uff3f]{2,}")  # the second is the full-width underscore


class OwnPairs(NamedTuple):
    """The pairs of task files, sorted by content, and how many equal ones were left out."""

    pairs: list[Pair]
    duplicates: int


def read_own_task(
    task: Iterable[str | Path], control: Iterable[str | Path]
) -> tuple[OwnPairs, OwnPairs]:
    """A task and its control set; the mistakes of both at once.

    Raises:
        UserError: All mistakes, each with its file and line.
    """
    mistakes, found = Mistakes(), []
    for read, files in ((read_task, task), (read_control, control)):
        with mistakes.noted():
            found.append(read(files))
    mistakes.raise_if_any()
    return found[0], found[1]


def summary(task: OwnPairs, control: OwnPairs) -> dict[str, dict[str, int]]:
    """How many lines were kept, and left out because another says the same."""
    return {
        "kept": {"task": len(task.pairs), "control": len(control.pairs)},
        "dropped": {"duplicate task": task.duplicates, "duplicate control": control.duplicates},
    }


def task_files(path: str | Path) -> list[str]:
    """A ``.jsonl`` file, or those of a folder.

    Raises:
        UserError: There is no such file, or it is of another kind.
    """
    if Path(path).is_dir():
        return corpus_files(path)
    if not Path(path).is_file() or Path(path).suffix.lower() != ".jsonl":
        raise UserError(
            path,
            "is not a task file",
            found=f"a {Path(path).suffix or 'file'}" if Path(path).is_file() else "no such file",
            expected="a .jsonl file, or a folder of them, relative to the study's folder",
            fix="fix the path; a table becomes such a file by python -m minituner convert",
        )
    return [str(path)]


def read_task(files: Iterable[str | Path]) -> OwnPairs:
    """The minimal pairs of a task.

    Raises:
        UserError: All mistakes, each with its file and line.
    """
    return _read(files, pair_of)


def read_control(files: Iterable[str | Path]) -> OwnPairs:
    """The pairs and texts of a control set; ``split`` has no meaning there.

    Raises:
        UserError: All mistakes, each with its file and line.
    """
    return _read(files, _control_item)


def _read(files: Iterable[str | Path], parse: Callable[[dict[str, Any], str], Pair]) -> OwnPairs:
    mistakes, pairs = Mistakes(), []
    for path in files:
        with mistakes.noted():  # about the file as a whole
            for line, text in numbered_lines(path):
                place = f"{path}:{line}"
                try:
                    pairs.append(parse(parse_object(text, place), place))
                except UserError as error:
                    mistakes.add(error)
    first: dict[tuple[object, ...], Pair] = {}
    for pair in pairs:
        first.setdefault(content(pair), pair)
    different = list(first.values())
    check_agreement(different, mistakes)
    mistakes.raise_if_any()
    return OwnPairs(
        [_with_id(pair) for pair in sorted(different, key=content)], len(pairs) - len(different)
    )


# --- one line -----------------------------------------------------------------------------------


def _control_item(row: dict[str, Any], place: str) -> Pair:
    if "text" not in row:
        return replace(pair_of(row, place), split="")
    texts = _texts(row, place, TEXT_KEYS, ("text",))
    return _made(texts, place, prompt="", correct=texts["text"].strip(), wrong=())


def pair_of(row: dict[str, Any], place: str) -> Pair:
    """The minimal pair on one line, without an id or group if the line has none.

    Args:
        place: ``file:line``.

    Raises:
        UserError: A key is missing, unknown or no text, the prompt has several blanks, or a form
            occurs twice.
    """
    texts = _texts(row, place, PAIR_KEYS, REQUIRED)
    wrong = tuple(form.strip() for form in _wrong_forms(row["wrong"], place))
    _check_blanks(texts["prompt"], place)
    if texts.get("split", "") not in ("", *TASK_SPLITS):
        raise unknown_word(place, "split", texts["split"], TASK_SPLITS)
    correct = texts["target"].strip()
    _check_forms(correct, wrong, place)
    return _made(texts, place, prompt=texts["prompt"], correct=correct, wrong=wrong)


def _made(
    texts: Mapping[str, str], place: str, *, prompt: str, correct: str, wrong: tuple[str, ...]
) -> Pair:
    return Pair(
        id=texts.get("id", ""),
        group=texts.get("group", ""),
        form=texts.get("form", ""),
        frame="",
        complement="",
        prompt=prompt,
        correct=correct,
        after=texts.get("after", ""),
        wrong=wrong,
        source=place,
        split=texts.get("split", ""),
    )


def _texts(
    row: dict[str, Any], place: str, known: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    """The values of a line, except ``wrong``; what is null is left out."""
    for key in row:
        if key not in known:
            raise _unknown_key(key, row, place, known)
    for key in required:
        if row.get(key) is None:
            raise UserError(
                place,
                f"{key!r} is missing",
                found=f"only {', '.join(row) or 'an empty object'}",
                expected=f"{', '.join(required)} in every line",
                fix=f"add {key!r}",
            )
    texts = {key: row[key] for key in row if key != "wrong" and row[key] is not None}
    for key, value in texts.items():
        _check_text(key, value, place)
    return texts


def _unknown_key(key: str, row: Mapping[str, Any], place: str, known: Sequence[str]) -> UserError:
    missing = [name for name in known if name not in row]
    similar = closest(key, missing) or closest(key, known)
    return UserError(
        place,
        "unknown key",
        found=repr(key),
        expected=f"one of {', '.join(known)}",
        fix=f"did you mean {similar!r}?" if similar else f"remove {key!r}",
    )


def _check_text(key: str, value: object, place: str) -> None:
    if not isinstance(value, str) or not (value.strip() or key in MAY_BE_EMPTY):
        raise UserError(
            place,
            f"{key!r} is {'empty' if isinstance(value, str) else 'not text'}",
            found=brief(value),
            expected="text in quotes",
            fix=f"write {key!r} as text"
            + ("" if key in ("target", "text", "wrong") else ", or leave it out"),
        )
    if not value.isprintable():  # a fast test that most text passes
        check_characters(key, value, place)


def _wrong_forms(value: Any, place: str) -> list[str]:
    forms: list[str] = value if isinstance(value, list) else [value]
    if not forms:
        raise UserError(
            place,
            "'wrong' is an empty list",
            found="[]",
            expected="at least one wrong form",
            fix="write a wrong form, or several",
        )
    for form in forms:
        _check_text("wrong", form, place)
    return forms


def _check_blanks(prompt: str, place: str) -> None:
    blanks = BLANKS.findall(prompt)
    if blanks not in ([], [BLANK]):
        raise UserError(
            place,
            f"the prompt has {number_of(len(blanks), 'blank')}"
            if len(blanks) > 1
            else "the prompt has a blank of another length",
            found=repr(prompt),
            expected=f"one blank, written {BLANK}, or none: then the answer follows the prompt",
            fix=f"write {BLANK} where the answer goes, once, and no other underscores in a row",
        )


def _check_forms(correct: str, wrong: Sequence[str], place: str) -> None:
    """Check that all forms differ, in more than spaces."""
    seen = {single_spaced(correct)}
    for form in map(single_spaced, wrong):
        if form in seen:
            is_target = form == single_spaced(correct)
            raise UserError(
                place,
                "the target is also a wrong form" if is_target else "a wrong form occurs twice",
                found=repr(form),
                expected="a target and wrong forms that all differ, in more than spaces",
                fix="change or remove one of the two",
            )
        seen.add(form)


# --- all lines ------------------------------------------------------------------------------------


def _with_id(pair: Pair) -> Pair:
    """The pair with an id: a hash of what it says, so that it does not depend on the line."""
    if pair.id:
        return pair
    text = json.dumps(content(pair), ensure_ascii=False)
    return replace(pair, id=hashlib.sha256(text.encode()).hexdigest()[:16])
