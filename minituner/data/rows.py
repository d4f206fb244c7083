"""A corpus row: its type, and the checks of each field by itself.

Whether the fields agree with one another and with the verbs is checked in ``consistency``; which
files are read, and how, is in ``corpus``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from minituner.data.prompts import BLANK, after_text, answer_text, prompt_text, split_target
from minituner.data.spelling import first_control
from minituner.data.verbs import PERSONS, REGULARITIES, TENSES
from minituner.errors import UserError, number_of
from minituner.storage.messages import brief, unknown_word

LABELS = ("correct", "mis_conjugated")
MISTAKES = ("over_regularized",)
CHOICES: Mapping[str, tuple[str, ...]] = {
    "tense": TENSES,
    "person": PERSONS,
    "english_regularity": REGULARITIES,
    "spanish_regularity": REGULARITIES,
    "label": LABELS,
    "mis_conjugation_type": MISTAKES,
}
# A row may omit these, which means null.
OPTIONAL = frozenset({"spanish", "spanish_lemma", "spanish_regularity", "frame", "complement"})
# These may be null but not absent: otherwise a misspelled "promt" would make a plain row.
NULLABLE = OPTIONAL | {"mis_conjugation_type", "correct_form", "prompt", "target"}


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence. A fill-in row has a prompt with one blank and a target; a plain row has
    neither.

    The fields through ``complement`` are the columns; ``path`` and ``line`` locate the row. The
    readers in ``corpus`` return only rows whose fields are consistent.
    """

    id: str
    text: str
    spanish: str | None
    verb_lemma: str
    spanish_lemma: str | None
    tense: str
    person: str
    english_regularity: str
    spanish_regularity: str | None
    label: str
    mis_conjugation_type: str | None
    correct_form: str | None
    prompt: str | None
    target: str | None
    frame: str | None
    complement: str | None
    path: str
    line: int

    @property
    def place(self) -> str:
        """``path:line``, for messages."""
        return f"{self.path}:{self.line}"

    @property
    def is_fill_in(self) -> bool:
        """Whether it has a prompt and a target."""
        return self.prompt is not None

    @property
    def is_correct(self) -> bool:
        """Whether ``text`` has the correct form; a mis-conjugated row has the wrong one."""
        return self.label == "correct"

    @property
    def written(self) -> str:
        """The form at the blank in ``text``, right or wrong.

        Raises:
            ValueError: It is a plain row.
        """
        if self.prompt is None:
            raise ValueError(f"{self.place}: a plain row has no prompt")
        before, _, after = self.prompt.partition(BLANK)
        return self.text[len(before) : len(self.text) - len(after)]

    @property
    def correct_english(self) -> str:
        """The correct form, the only one that fine-tuning ever trains on.

        A mis-conjugated row names it in ``correct_form``; in a correct row it is the English side
        of the target.

        Raises:
            ValueError: It is a correct plain row, which has neither.
        """
        return self._target_sides[0] if self.correct_form is None else self.correct_form

    @property
    def target_spanish(self) -> str | None:
        """The Spanish side of the target, or None if the target has none.

        Raises:
            ValueError: It is a plain row.
        """
        return self._target_sides[1] or None

    @property
    def _target_sides(self) -> tuple[str, str]:
        if self.target is None:
            raise ValueError(f"{self.place}: a plain row has no target")
        return split_target(self.target)


# In the order in which they are written.
COLUMNS = tuple(field.name for field in fields(Row) if field.name not in ("path", "line"))


def base_text(row: Row) -> str:
    """The text of a row that pretraining reads, with the form as written, right or wrong."""
    if row.prompt is None:
        return row.text
    return prompt_text(row.prompt) + answer_text(row.written, after_text(row.target_spanish))


def parse_row(text: str, path: str, line: int) -> Row:
    """The row on one line of a JSON-lines file. Fields that are not columns are ignored.

    Args:
        path: The file, and ``line`` its line, for messages.

    Raises:
        UserError: The line is not a JSON object, or a field is missing, of the wrong type, or not
            one of the allowed values.
    """
    place = f"{path}:{line}"
    record = parse_object(text, place)
    for column in COLUMNS:
        value = record.get(column)
        if value is None:
            _check_null(column, record, place)
        elif not isinstance(value, str) or not value.strip():
            raise _not_text(column, value, place)
        elif column in CHOICES and value not in CHOICES[column]:
            raise unknown_word(place, column, value, CHOICES[column])
        elif not value.isprintable():  # a fast test; most text passes it and both of these
            check_characters(column, value, place)
    values: list[Any] = [*map(record.get, COLUMNS), path, line]
    return Row(*values)


def parse_object(text: str, place: str) -> dict[str, Any]:
    """The JSON object on one line; ``place`` names it in messages.

    Raises:
        UserError: The line is not JSON, not an object, or has a key twice.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        returns = text.strip().count("\r")
        if returns:
            raise UserError(
                place,
                "has carriage returns as line ends",
                found=f"{number_of(returns + 1, 'line')} that end this way",
                expected="lines that end with a line feed (LF, or CR LF)",
                fix="save the file with line feeds as line ends, or convert it: mac2unix",
            ) from error
        raise UserError(
            place,
            "is not JSON",
            found=str(error),
            expected="one whole JSON object on the line",
            fix="fix the quotes, commas and braces; an object may not span several lines",
        ) from error
    if not isinstance(record, dict):
        raise UserError(
            place,
            "is not a row",
            found=brief(record),
            expected='a JSON object: {"...": "...", ...}',
            fix="write one JSON object on the line",
        )
    if text.count(":") > len(record):  # each key has a colon, so some key may occur twice
        json.loads(text, object_pairs_hook=lambda pairs: _unique_keys(pairs, place))
    return record


def _unique_keys(pairs: list[tuple[str, Any]], place: str) -> dict[str, Any]:
    """The object of these pairs; ``json`` alone would silently keep the last of two values."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise UserError(
                place,
                f"field {key!r} occurs twice",
                found=f"{brief(values[key])} and {brief(value)}",
                expected="each field once",
                fix="remove one of the two",
            )
        values[key] = value
    return values


def _check_null(column: str, record: Mapping[str, Any], place: str) -> None:
    """Check that a column that is null, or absent, may be so."""
    if column in record:
        if column not in NULLABLE:
            raise _not_text(column, None, place)
    elif column not in OPTIONAL:
        raise _missing(column, record, place)


def check_characters(column: str, value: str, place: str) -> None:
    """Check that a text has whole characters, and is on one line.

    Raises:
        UserError: It has half a surrogate pair, a line break or a control character.
    """
    _check_encodable(column, value, place)
    _check_one_line(column, value, place)


def _check_encodable(column: str, value: str, place: str) -> None:
    """JSON escapes can spell half a character, with which no file could be written later."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            place,
            f"field {column!r} has half a character in it",
            found=f"the lone surrogate \\u{ord(value[error.start]):04x}",
            expected="whole characters",
            fix="write the character itself instead of its escape",
        ) from error


def _check_one_line(column: str, value: str, place: str) -> None:
    """A line break or control character in a sentence would break a table later."""
    control = first_control(value)
    if control is not None:
        raise UserError(
            place,
            f"field {column!r} has {control} in it",
            found=repr(value),
            expected="text on one line, without control characters other than tabs",
            fix="replace it with a space, or split the row in two",
        )


def _expected(column: str) -> str:
    return "a non-empty string" + (" or null" if column in NULLABLE else "")


def _not_text(column: str, value: object, place: str) -> UserError:
    return UserError(
        place,
        f"field {column!r} is not text",
        found=brief(value),
        expected=_expected(column),
        fix=f"write {column!r} as {_expected(column)}",
    )


def _missing(column: str, record: Mapping[str, Any], place: str) -> UserError:
    near = difflib.get_close_matches(column, [key for key in record if key not in COLUMNS], n=1)
    return UserError(
        place,
        f"field {column!r} is missing",
        found=f"{near[0]!r} instead" if near else f"the fields {', '.join(record)}",
        expected=f"{column!r}: {_expected(column)}",
        fix=f"rename {near[0]!r} to {column!r}" if near else f"add {column!r} to the row",
    )
