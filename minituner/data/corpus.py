"""The corpus rows: one sentence a line of JSON, every mistake named by file:line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from minituner.data.spelling import first_control, where_they_part
from minituner.data.verbs import PAST_TENSES, PERSONS, REGULARITIES, TENSES, Verb
from minituner.errors import Mistakes, UserError, number_of
from minituner.storage.messages import brief
from minituner.storage.text import not_utf8, unreadable

LABELS = ("correct", "mis_conjugated")
MISTAKES = ("over_regularized",)
BLANK = "__"
UNDERSCORES = re.compile("[_\uff3f]+")  # the second is as wide as a Chinese character
SLASH = " / "  # between the two sides of a target: "went / fue"

# The columns of a row, in the order they are written.
COLUMNS = (
    "id",
    "text",
    "spanish",
    "verb_lemma",
    "spanish_lemma",
    "tense",
    "person",
    "english_regularity",
    "spanish_regularity",
    "label",
    "mis_conjugation_type",
    "correct_form",
    "prompt",
    "target",
    "frame",
    "complement",
)
# A row may leave these out; that means null.
OPTIONAL = frozenset({"spanish", "spanish_lemma", "spanish_regularity", "frame", "complement"})
# These may be null but not absent: a misspelt "promt" would otherwise pass for a plain row.
NULLABLE = OPTIONAL | {"mis_conjugation_type", "correct_form", "prompt", "target"}
CHOICES: dict[str, tuple[str, ...]] = {
    "tense": TENSES,
    "person": PERSONS,
    "english_regularity": REGULARITIES,
    "spanish_regularity": REGULARITIES,
    "label": LABELS,
    "mis_conjugation_type": MISTAKES,
}

_BOM = b"\xef\xbb\xbf"


# --- rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence. A fill-in row has a prompt with one blank and a target; a plain row neither.

    The fields down to ``complement`` are the columns; ``path`` and ``line`` say where it stands.
    ``read_rows`` and ``iter_files`` return only rows whose fields agree with one another.
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
        """Whether ``text`` is right; a mis-conjugated row has the wrong form in it."""
        return self.label == "correct"

    @property
    def written(self) -> str:
        """The form that stands in ``text`` at the blank, right or wrong; fill-in rows only."""
        before, _, after = self._prompt().partition(BLANK)
        return self.text[len(before) : len(self.text) - len(after)]

    @property
    def correct_english(self) -> str:
        """The right form, and the only one ever to train towards.

        A mis-conjugated row names it in ``correct_form``; in a correct row it is the English side
        of the target. A correct plain row has neither, and raises ValueError.
        """
        if self.correct_form is not None:
            return self.correct_form
        return self._target().partition(SLASH)[0]

    @property
    def target_spanish(self) -> str | None:
        """The Spanish side of the target, null if the target has none; fill-in rows only."""
        return self._target().partition(SLASH)[2] or None

    def to_json(self) -> dict[str, str | None]:
        """The columns, in their order, without ``path`` and ``line``."""
        return {column: getattr(self, column) for column in COLUMNS}

    def _prompt(self) -> str:
        if self.prompt is None:
            raise ValueError(f"{self.place}: a plain row has no prompt")
        return self.prompt

    def _target(self) -> str:
        if self.target is None:
            raise ValueError(f"{self.place}: a plain row has no target")
        return self.target


def corpus_files(folder: str | Path) -> list[str]:
    """The folder's ``*.jsonl`` files, sorted by name, without those whose name begins with a dot:
    editors, file managers and our own writing leave such ones beside the real ones.

    Raises:
        UserError: There is no such folder, or none of its files is a ``.jsonl``.
    """
    found = [
        path
        for path in Path(folder).glob("*")
        if path.suffix.lower() == ".jsonl" and path.is_file()
    ]
    files = sorted(str(path) for path in found if not path.name.startswith("."))
    if not files:
        nothing = "only files whose name begins with a dot" if found else "no *.jsonl file"
        raise UserError(
            folder,
            "holds no corpus",
            found=nothing if Path(folder).is_dir() else "no such folder",
            expected="a folder with at least one .jsonl file, one JSON object a line",
            fix="name the corpus's folder, or put its files there",
        )
    return files


def read_rows(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> list[Row]:
    """Read and check the rows of all files, in the order given; an id may stand only once in all.

    Raises:
        UserError: As ``iter_files``.
    """
    return list(iter_files(paths, verbs))


def iter_files(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> Iterator[Row]:
    """``read_rows``, one row at a time. After a first mistake no row comes any more, but all files
    are read to their end.

    Args:
        paths: JSON-lines files in UTF-8, with or without a byte-order mark; blank lines are passed
            over.
        verbs: The known verbs, by lemma.

    Raises:
        UserError: At the end: a file cannot be read or holds no row, or a row is not valid or does
            not agree with ``verbs``. It names ``path:line`` of every mistake, one for each row.
    """
    mistakes = Mistakes()
    seen: dict[str, tuple[str, int]] = {}
    for path in paths:
        for row in _rows(path, verbs, seen, mistakes):
            if not mistakes.count:
                yield row
    mistakes.raise_if_any()


def _rows(
    path: str | Path,
    verbs: Mapping[str, Verb],
    seen: dict[str, tuple[str, int]],
    mistakes: Mistakes,
) -> Iterator[Row]:
    """One file's good rows; what is wrong with the others is noted.

    Args:
        seen: Where each id read so far stands; ids already there are duplicates.
    """
    name = str(path)
    try:
        for line, text in _lines(path):
            try:
                row = _row(_parse(text, f"{name}:{line}"), name, line)
                _check_id(row, seen)
                _check_forms(row, verbs)
            except UserError as error:
                mistakes.add(error)
            else:
                yield row
    except UserError as error:  # of the file as a whole
        mistakes.add(error)


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """A file's lines that are not blank, each with its number.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or has no such line.
    """
    empty = True
    try:
        with Path(path).open("rb") as stream:
            for line, raw in enumerate(stream, start=1):
                if line == 1:
                    raw = raw.removeprefix(_BOM)
                if raw.strip():
                    empty = False
                    yield line, raw.decode("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_utf8(f"{path}:{line}", raw, error.start) from error
    if empty:
        raise UserError(
            path,
            "holds no rows",
            found="an empty file",
            expected="one JSON object a line",
            fix="put the rows back, or delete the file",
        )


def _parse(text: str, place: str) -> dict[str, Any]:
    """The JSON object on one line."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        if "\r" in text.strip():
            raise UserError(
                place,
                "has carriage returns for line ends",
                found=number_of(text.strip().count("\r") + 1, "line") + " that end so",
                expected="lines that end with a line feed (LF, or CR LF)",
                fix="save the file with line feeds as line ends, or convert it: mac2unix",
            ) from error
        raise UserError(
            place,
            "is not JSON",
            found=str(error),
            expected="one whole JSON object on the line",
            fix="fix the quotes, commas and braces; an object may not run over several lines",
        ) from error
    if not isinstance(record, dict):
        raise UserError(
            place,
            "is not a row",
            found=brief(record),
            expected='a JSON object: {"id": ..., "text": ..., ...}',
            fix="write one JSON object on the line",
        )
    if text.count(":") > len(record):  # each key has one, so this one may have a key twice
        _check_keys(text, place)
    return record


def _check_keys(text: str, place: str) -> None:
    """Of a key that stands twice JSON would use the last alone."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise UserError(
                    place,
                    f"field {key!r} stands twice",
                    found=f"{brief(values[key])} and {brief(value)}",
                    expected="each field once",
                    fix="remove one of the two",
                )
            values[key] = value
        return values

    json.loads(text, object_pairs_hook=once)


def _row(record: dict[str, Any], path: str, line: int) -> Row:
    """The record as a Row, once every field is present, of the right kind and an allowed value.

    Fields that are no columns (a comment, say) are passed over.
    """
    for column in COLUMNS:
        value = record.get(column)
        if isinstance(value, str):
            if not value.strip():
                _bad_field(record, column, path, line)
            if column in CHOICES and value not in CHOICES[column]:
                _bad_choice(f"{path}:{line}", column, value, CHOICES[column])
            if not value.isprintable():  # cheap, and neither of these is
                _check_encodable(value, column, path, line)
                _check_one_line(value, column, path, line)
        elif (
            value is not None
            or column not in NULLABLE
            or (column not in record and column not in OPTIONAL)
        ):
            _bad_field(record, column, path, line)
    fields: list[Any] = [*map(record.get, COLUMNS), path, line]
    return Row(*fields)


def _check_encodable(value: str, column: str, path: str, line: int) -> None:
    """JSON's escapes can spell half a character, which no file could be written with later."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} has half a character in it",
            found=f"the lone surrogate \\u{ord(value[error.start]):04x}",
            expected="whole characters",
            fix="write the character itself instead of its escape",
        ) from error


def _check_one_line(value: str, column: str, path: str, line: int) -> None:
    """A sentence is one line of text: what breaks it, or is no text, would break a table later."""
    control = first_control(value)
    if control is not None:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} has {control} in it",
            found=repr(value),
            expected="text on one line, with no control character in it but tabs",
            fix="write a space in its place, or make two rows of the two lines",
        )


def _check_id(row: Row, seen: dict[str, tuple[str, int]]) -> None:
    if row.id in seen:
        first_path, first_line = seen[row.id]
        raise UserError(
            row.place,
            "duplicate id",
            found=f"{row.id!r}, which stands at {first_path}:{first_line} already",
            expected="an id of its own for every row of the corpus",
            fix="give one of the two rows another id",
        )
    seen[row.id] = (row.path, row.line)


def _check_forms(row: Row, verbs: Mapping[str, Verb]) -> None:
    """Whether verb, label, prompt, target and text agree with one another and with ``verbs``."""
    verb = verbs.get(row.verb_lemma)
    if verb is None:
        _bad_choice(row.place, "verb_lemma", row.verb_lemma, verbs)
    if row.english_regularity != verb.english_regularity:
        raise UserError(
            row.place,
            "english_regularity is not this verb's",
            found=repr(row.english_regularity),
            expected=f"{verb.english_regularity!r}: so the verbs' file says of {verb.lemma!r}",
            fix=f"write {verb.english_regularity!r}",
        )
    correct = verb.english(row.tense, row.person)
    _check_label(row, verb, correct)
    written = correct if row.is_correct else verb.wrong(row.tense)
    if row.prompt is None or row.target is None:
        _check_plain(row, written)
    else:
        _check_target(row, verb, correct, row.target)
        _check_prompt(row, written, row.prompt)


def _check_label(row: Row, verb: Verb, correct: str) -> None:
    """A correct row names no mistake; a mis-conjugated one names its kind and the right form."""
    if row.is_correct:
        for field, value in (
            ("mis_conjugation_type", row.mis_conjugation_type),
            ("correct_form", row.correct_form),
        ):
            if value is not None:
                raise UserError(
                    row.place,
                    f"a correct row with a {field}",
                    found=repr(value),
                    expected="null: only a mis_conjugated row has one",
                    fix=f'set "{field}" to null, or "label" to "mis_conjugated"',
                )
        return
    if not verb.irregular or row.tense not in PAST_TENSES:
        raise UserError(
            row.place,
            "this form cannot be over-regularized",
            found=f"label 'mis_conjugated', {row.tense} of the {verb.english_regularity} "
            f"verb {verb.lemma!r}",
            expected=f"an irregular verb in {_listed(PAST_TENSES)}",
            fix='set "label" to "correct" and write the right form, or delete the row',
        )
    if row.mis_conjugation_type is None:
        raise UserError(
            row.place,
            "a mis_conjugated row without its mis_conjugation_type",
            found="null",
            expected=_listed(MISTAKES),
            fix='set "mis_conjugation_type" to "over_regularized"',
        )
    if row.correct_form != correct:
        what = "without its" if row.correct_form is None else "with another"
        raise UserError(
            row.place,
            f"a mis_conjugated row {what} correct_form",
            found="null" if row.correct_form is None else repr(row.correct_form),
            expected=f"{correct!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            fix=f'set "correct_form" to "{correct}"',
        )


def _check_target(row: Row, verb: Verb, correct: str, target: str) -> None:
    """The English side is the right form, also where the text is wrong."""
    english, slash, spanish = target.partition(SLASH)
    shown = f"{correct}{SLASH}{spanish or '...'}" if "/" in target else correct
    if row.tense in PAST_TENSES and english == verb.wrong(row.tense):
        raise UserError(
            row.place,
            "the target is the wrong form",
            found=repr(target),
            expected=f"{shown!r}: the target is the right form, also in a mis_conjugated row",
            fix=f"begin the target with {correct!r}",
        )
    if english != correct:
        raise UserError(
            row.place,
            "the target is not this verb's form",
            found=repr(target),
            expected=f"{shown!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            fix=f"begin the target with {correct!r}, or correct verb_lemma, tense or person",
        )
    if slash and (not spanish.strip() or "/" in spanish):
        raise UserError(
            row.place,
            f"the target has {'two slashes' if spanish.strip() else 'a slash and no Spanish'}",
            found=repr(target),
            expected="'english / spanish', or the English alone",
            fix="write the Spanish form, or leave out the slash",
        )


def check_blank(prompt: str, place: str) -> None:
    """Refuse a prompt that has not one blank, or an underscore elsewhere.

    Raises:
        UserError: Naming ``place``.
    """
    blanks = UNDERSCORES.findall(prompt)
    if blanks != [BLANK]:
        raise UserError(
            place,
            "the prompt has no blank" if not blanks else "the prompt has not exactly one blank",
            found=repr(prompt),
            expected=f"one blank, written {BLANK}",
            fix=f"write {BLANK} where the verb form goes, and nowhere else",
        )


def _check_prompt(row: Row, written: str, prompt: str) -> None:
    """One blank, and the text is the prompt with the written form in it."""
    check_blank(prompt, row.place)
    expected = prompt.replace(BLANK, written)
    if row.text != expected:
        raise UserError(
            row.place,
            f"the text is not the prompt with {written!r} in the blank",
            found=where_they_part(row.text, expected),
            expected=where_they_part(expected, row.text),
            fix="make text and prompt the same sentence, and the label that of its form",
        )


def _check_plain(row: Row, written: str) -> None:
    """Neither prompt nor target, and the form its label says somewhere in the text."""
    if row.prompt is not None or row.target is not None:
        has, lacks = ("prompt", "target") if row.target is None else ("target", "prompt")
        raise UserError(
            row.place,
            f"a {has} without a {lacks}",
            found=f"{has} {getattr(row, has)!r}, {lacks} null",
            expected="both in a fill-in row, neither in a plain one",
            fix=f'write "{lacks}", or set "{has}" to null',
        )
    if not _as_word(written).search(row.text):
        raise UserError(
            row.place,
            f"the text has no {written!r} in it",
            found=repr(row.text),
            expected=f"a sentence with {written!r}: {row.label}, {row.tense}, {row.person} of "
            f"{row.verb_lemma!r}",
            fix="fix the text, or verb_lemma, tense, person or label",
        )


@cache
def _as_word(form: str) -> re.Pattern[str]:
    """Finds ``form`` as a whole word, whatever its case: it may begin the sentence."""
    return re.compile(rf"\b{re.escape(form)}\b", re.IGNORECASE)


# --- messages --------------------------------------------------------------------------------


def _bad_field(record: dict[str, Any], column: str, path: str, line: int) -> NoReturn:
    kind = "a non-empty string" + (" or null" if column in NULLABLE else "")
    if column in record:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} is not text",
            found=brief(record[column]),
            expected=kind,
            fix=f"write {column!r} as {kind}",
        )
    unknown = [key for key in record if key not in COLUMNS]
    near = difflib.get_close_matches(column, unknown, n=1)
    raise UserError(
        f"{path}:{line}",
        f"field {column!r} is missing",
        found=f"{near[0]!r} instead" if near else f"the fields {_listed(record)}",
        expected=f"{column!r}: {kind}",
        fix=f"rename {near[0]!r} to {column!r}" if near else f"add {column!r} to the row",
    )


def _bad_choice(place: str, field: str, value: str, allowed: Collection[str]) -> NoReturn:
    near = difflib.get_close_matches(value, allowed, n=1)
    raise UserError(
        place,
        f"unknown {field}",
        found=repr(value),
        expected=f"one of {_listed(allowed)}",
        fix=f"did you mean {near[0]!r}?" if near else "write one of those",
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
