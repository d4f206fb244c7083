"""A user's table of sentences: its rows, and a message for every bad one."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minituner.convert.table_format import Layout, find_layout, not_a_table, read_table_text
from minituner.data.spelling import comparable
from minituner.data.verbs import PAST_TENSES
from minituner.errors import Mistakes, UserError

LONGEST = 1_000  # characters per sentence
_UNWANTED = {
    "\n": "a line break",
    "\r": "a line break",
    "\u2028": "a line break",
    "\u2029": "a line break",
    "\t": "a tab",
    "\ufffd": "the mark of a lost character (U+FFFD)",
}


@dataclass(frozen=True)
class Sentence:
    """One row of a user's table."""

    english: str
    spanish: str | None = None
    lemma: str | None = None  # the verb to ask for; None for any known one
    tense: str | None = None  # settles what the context leaves in doubt
    place: str = ""  # file:line


@dataclass(frozen=True)
class Table:
    """The sentences of a table, and the headings of the columns that are not used."""

    sentences: list[Sentence]
    unused: list[str]


def read_table(path: str | Path, lemmas: Collection[str], encoding: str | None = None) -> Table:
    """Read a ``.csv`` or ``.tsv``.

    Args:
        lemmas: The allowed values of the column ``lemma``.
        encoding: The file's encoding, by any name that Python knows; None for UTF-8 or that of a
            byte-order mark.

    Raises:
        UserError: The file cannot be read as a table, or it names every line that cannot be used.
    """
    path = Path(path)
    text = read_table_text(path, encoding)
    lines = list(io.StringIO(text, newline=""))  # ended as csv ends them: LF, CR or both
    layout = find_layout(path, lines)
    mistakes = Mistakes()
    sentences: list[Sentence] = []
    filled: set[int] = set()  # positions of columns with text in them
    for number, row in _rows(path, lines, layout):
        try:
            if isinstance(row, UserError):
                raise row
            filled |= {place for place, cell in enumerate(row) if cell}
            sentences.append(_sentence(f"{path}:{number}", row, layout, lemmas))
        except UserError as error:
            mistakes.add(error)
    mistakes.raise_if_any()
    if not sentences:
        raise not_a_table(path, "holds no sentence", "no row" if text.strip() else "an empty file")
    return Table(sentences, layout.unused(filled))


def _rows(
    path: Path, lines: Sequence[str], layout: Layout
) -> Iterator[tuple[int, list[str] | UserError]]:
    """Each row that is not blank, with the number of its first line.

    A quotation mark that begins a cell must end it. If it does not, a CSV row is refused, since
    such a cell may contain commas; in a TSV the mark belongs to the sentence.
    """
    at = layout.start
    while at < len(lines):
        rest = (lines[line] for line in range(at, len(lines)))
        reader = csv.reader(rest, delimiter=layout.delimiter, strict=True, skipinitialspace=True)
        number, taken = at + 1, 1
        row: list[str] | UserError
        try:
            row, taken = next(reader), reader.line_num
        except csv.Error as error:
            row = lines[at].rstrip("\r\n").split("\t")
            if layout.delimiter != "\t":
                row = _bad_row(
                    f"{path}:{number}",
                    "is not CSV",
                    f"{lines[at]!r}: {error}",
                    "double a quotation mark within a cell that is in quotes",
                )
        at += taken
        if isinstance(row, UserError):
            yield number, row
        elif any(cell.strip() for cell in row):
            yield number, [cell.strip() for cell in row]


def _sentence(place: str, row: Sequence[str], layout: Layout, lemmas: Collection[str]) -> Sentence:
    """One row's sentence.

    Raises:
        UserError: It has too many cells or no English, or a cell cannot be used.
    """
    width = max(len(layout.headings), len(layout.columns))
    if any(row[width:]):
        raise _bad_row(
            place,
            f"has {len(row)} columns instead of {width}",
            _shown(row),
            "put quotes around a sentence that has the delimiter in it",
        )
    cells = {column: cell for column, cell in zip(layout.columns, row, strict=False) if column}
    english = cells.get("en", "")
    if not english:
        raise _bad_row(place, "has no English", _shown(row), "write the sentence, or delete it")
    for cell in (english, cells.get("es", "")):
        _check_cell(place, cell)
    if "_" in english:
        raise _bad_row(
            place,
            "has an underscore in it, which marks the blank",
            repr(english),
            "write the whole sentence",
        )
    return Sentence(
        english,
        cells.get("es") or None,
        _chosen(place, "lemma", cells.get("lemma", ""), lemmas),
        _chosen(place, "tense", cells.get("tense", ""), PAST_TENSES),
        place,
    )


def _chosen(place: str, column: str, cell: str, allowed: Collection[str]) -> str | None:
    """The one of ``allowed`` that a cell names, in any case; None for an empty cell."""
    names = {comparable(name): name for name in allowed}
    name = names.get(comparable(cell)) or names.get("_".join(re.split(r"[\s-]+", comparable(cell))))
    if cell and name is None:
        raise UserError(
            place,
            f"names an unknown {column}",
            found=repr(cell),
            expected=f"one of {', '.join(allowed)}",
            fix="fix the cell or leave it empty"
            + (", or add the verb to the file of verbs (--verbs)" if column == "lemma" else ""),
        )
    return name


def _check_cell(place: str, cell: str) -> None:
    """Check that a cell can be a sentence.

    Raises:
        UserError: It is too long, or has a character that no sentence has.
    """
    if len(cell) > LONGEST:
        raise _bad_row(
            place,
            f"has more than {LONGEST:,} characters in a cell",
            repr(cell),
            "write one sentence on each line; look for a quotation mark without its partner",
        )
    for letter in cell:
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter == "\ufffd":
            name = _UNWANTED.get(letter, f"the control character U+{ord(letter):04X}")
            raise _bad_row(place, f"has {name} in a cell", repr(cell), "remove it")


def _shown(row: Sequence[str]) -> str:
    """A row for a message."""
    return " | ".join(row)


def _bad_row(place: str, what: str, found: str, fix: str) -> UserError:
    expected = "one whole sentence, in one cell of its row"
    return UserError(place, what, found=found, expected=expected, fix=fix)
