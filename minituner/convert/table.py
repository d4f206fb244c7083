"""A user's table of sentences: its encoding, delimiter and columns, and every bad line of it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minituner.data.spelling import comparable
from minituner.data.verbs import PAST_TENSES
from minituner.errors import Mistakes, UserError, number_of
from minituner.storage.text import decode, likely_encoding, not_utf8, unreadable

# What each column may be headed, as minituner.storage.text.comparable makes it.
HEADINGS = {
    "en": ("en", "eng", "english", "inglés", "ingles"),
    "es": ("es", "spa", "spanish", "español", "espanol"),
    "lemma": ("lemma", "verb", "verbo"),
    "tense": ("tense", "tiempo"),
}
_COLUMN_OF = {heading: column for column, all_ in HEADINGS.items() for heading in all_}
LONGEST = 1_000  # characters of a sentence
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # what .xlsx, .ods and .xls begin with
_UNWANTED = {
    "\n": "a line break",
    "\r": "a line break",
    "\u2028": "a line break",
    "\u2029": "a line break",
    "\t": "a tab",
    "\ufffd": "the mark of a lost character (U+FFFD)",
}
EXPECTED = (
    "a .csv whose first line names en and, if you like, es, lemma and tense, or a .tsv of such "
    "columns or of English and Spanish without a first line of names"
)


@dataclass(frozen=True)
class Sentence:
    """One row of a user's table."""

    english: str
    spanish: str | None = None
    lemma: str | None = None  # the verb to ask for; None takes any known one
    tense: str | None = None  # settles what the words around leave in doubt
    place: str = ""  # file:line


@dataclass(frozen=True)
class Table:
    """A table's sentences, and its columns that say nothing to us."""

    sentences: list[Sentence]
    unused: list[str]


@dataclass(frozen=True)
class _Layout:
    """How a table is written: ``columns`` by position, None for those not used; its rows from the
    line ``start`` on, counted from 0."""

    delimiter: str
    columns: list[str | None]
    headings: list[str]
    start: int

    @property
    def known(self) -> int:
        """The number of columns that are used."""
        return len(self.columns) - self.columns.count(None)


def read_table(path: str | Path, lemmas: Collection[str], encoding: str | None = None) -> Table:
    """Read a ``.csv`` or ``.tsv``.

    Args:
        lemmas: What the column ``lemma`` may hold.
        encoding: The file's encoding by any name that Python knows; None for UTF-8 or what a
            byte-order mark says.

    Raises:
        UserError: The file cannot be read as a table, or lines of it cannot be used: all of them
            are told at once.
    """
    path = Path(path)
    text = _text(path, encoding)
    lines = list(io.StringIO(text, newline=""))  # as csv ends them: LF, CR or both
    layout = _layout(path, lines)
    mistakes = Mistakes()
    sentences: list[Sentence] = []
    used: set[int] = set()
    for number, row in _rows(path, lines, layout):
        try:
            if isinstance(row, UserError):
                raise row
            used |= {place for place, cell in enumerate(row) if cell}
            sentences.append(_sentence(f"{path}:{number}", row, layout, lemmas))
        except UserError as error:
            mistakes.add(error)
    mistakes.raise_if_any()
    if not sentences:
        raise _refusal(path, "holds no sentence", "no row" if text.strip() else "an empty file")
    return Table(sentences, _unused(layout, used))


# --- the file ------------------------------------------------------------------------------------


def _text(path: Path, encoding: str | None) -> str:
    kind = path.suffix.lower()
    if kind not in (".tsv", ".csv"):
        raise _refusal(path, "is neither TSV nor CSV", f"a name that ends in {path.suffix!r}")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if raw.startswith(SPREADSHEETS):
        raise _refusal(path, f"is no text but a spreadsheet named {kind}", "a workbook or archive")
    if encoding is not None:
        return _decoded_as(path, raw, encoding)
    try:
        text = decode(raw, path)
    except UserError as error:
        raise _in_another_encoding(error, raw) from error
    if "\0" in text:
        line = text.count("\n", 0, text.find("\0")) + 1
        place = f"{path}:{line}"
        if likely_encoding(raw):  # UTF-16 of plain English is UTF-8 too: a NUL beside each letter
            raise _in_another_encoding(not_utf8(place, raw, raw.find(b"\0")), raw)
        what = "has a NUL in it, which is no character of a text"
        raise _bad_row(place, what, number_of(text.count("\0"), "NUL"), "take it out")
    return text


def _in_another_encoding(error: UserError, raw: bytes) -> UserError:
    likely = likely_encoding(raw)
    return UserError(
        error.where,
        error.what,
        found=f"what looks like {likely}" if likely else "bytes of another encoding",
        expected="text in UTF-8, or with a byte-order mark",
        fix="save the table as UTF-8 (in Excel: CSV UTF-8), or name its encoding: "
        f"--encoding {likely or 'NAME'}",
    )


def _decoded_as(path: Path, raw: bytes, encoding: str) -> str:
    """The text, in the encoding that the user names."""
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
        found = "NUL characters" if "\0" in text else ""
    except LookupError:
        found = "no encoding that Python knows"
    except (UnicodeError, ValueError) as error:
        found = str(error)
    if not found and _is_utf8(raw) and text != raw.decode("utf-8-sig"):
        found = "text in UTF-8, which would be garbled"
    if found:
        likely = likely_encoding(raw)
        raise UserError(
            path,
            f"cannot be read as {encoding!r}",
            found=found,
            expected="the encoding that the file was saved in, such as utf-8, cp1252 or utf-16",
            fix=f"try --encoding {likely}" if likely else "leave --encoding out, or name another",
        )
    return text


def _is_utf8(raw: bytes) -> bool:
    """Whether the bytes are UTF-8 beyond doubt: with letters that no other encoding makes of it."""
    try:
        return not raw.decode("utf-8").isascii()
    except UnicodeDecodeError:
        return False


# --- its first line ------------------------------------------------------------------------------


def _layout(path: Path, lines: Sequence[str]) -> _Layout:
    """The delimiter and the columns, from the first line that is not blank."""
    is_tsv = path.suffix.lower() == ".tsv"
    delimiters: tuple[str, ...] = ("\t", ",", ";") if is_tsv else (",", ";", "\t")
    start = 0
    if lines and (told := _told_delimiter(path, lines[0])):
        start, delimiters = 1, (told,)
    while start < len(lines) and not lines[start].strip('\t,; "\r\n'):
        start += 1
    first = lines[start] if start < len(lines) else ""
    layouts = [_named(first, delimiter, start + 1) for delimiter in delimiters]
    best = max(layouts, key=lambda layout: layout.known)
    # The first line of a TSV may be a sentence that begins "English, please".
    sentence = is_tsv and best.delimiter != delimiters[0] and best.known < 2
    if "en" in best.columns and not sentence:
        _check_headings(f"{path}:{start + 1}", best)
        return best
    if is_tsv and None in best.columns:
        return _Layout(delimiters[0], ["en", "es"], [], start)
    if not first:
        return best
    if len(first) > csv.field_size_limit():
        raise _refusal(f"{path}:{start + 1}", "is too long to name columns", repr(first.strip()))
    raise _refusal(f"{path}:{start + 1}", "names no column en", repr(first.strip()))


def _told_delimiter(path: Path, line: str) -> str | None:
    """The delimiter that Excel's line before a table tells, "sep=;"; None if it is no such line."""
    line = line.rstrip("\r\n").strip('"')
    if not line.lower().startswith("sep="):
        return None
    if line[4:5] not in tuple("\t,;|"):
        raise _refusal(f"{path}:1", "names a delimiter that no table has", repr(line))
    return line[4]


def _named(line: str, delimiter: str, start: int) -> _Layout:
    """The columns that a first line names, if ``delimiter`` is what divides it."""
    reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    try:
        headings = [cell.strip() for cell in next(reader, [])]
    except csv.Error:  # longer than any cell may be
        headings = [line.strip()]
    columns = [_COLUMN_OF.get(comparable(heading)) for heading in headings]
    return _Layout(delimiter, columns, headings, start)


def _check_headings(place: str, layout: _Layout) -> None:
    for column, headings in HEADINGS.items():
        if layout.columns.count(column) > 1:
            raise UserError(
                place,
                f"names the column {column} more than once",
                found=", ".join(layout.headings),
                expected=f"one column that is called {' or '.join(headings)}",
                fix="rename or delete one of them",
            )


def _unused(layout: _Layout, used: Collection[int]) -> list[str]:
    """The headings of columns that are not used; a column without one counts if it holds text."""
    headings = enumerate(zip(layout.headings, layout.columns, strict=False))
    return [
        heading or f"column {place + 1}, which has no name"
        for place, (heading, column) in headings
        if column is None and (heading or place in used)
    ]


# --- its rows ------------------------------------------------------------------------------------


def _rows(
    path: Path, lines: Sequence[str], layout: _Layout
) -> Iterator[tuple[int, list[str] | UserError]]:
    """Each row that is not blank, with the number of its first line.

    A quote that begins a cell must end it. Where it does not, a CSV is refused, for a comma may
    stand in such a cell; in a TSV the quote belongs to the sentence.
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


def _sentence(place: str, row: Sequence[str], layout: _Layout, lemmas: Collection[str]) -> Sentence:
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
            "put quotes round a sentence that has the delimiter in it",
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
            "has an underscore in it, which stands for the blank",
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
    """The one of ``allowed`` that a cell names, whatever its capitals; None for an empty cell."""
    names = {comparable(name): name for name in allowed}
    name = names.get(comparable(cell)) or names.get("_".join(re.split(r"[\s-]+", comparable(cell))))
    if cell and name is None:
        raise UserError(
            place,
            f"names a {column} that is not known",
            found=repr(cell),
            expected=f"one of {', '.join(allowed)}",
            fix="fix the cell or leave it empty"
            + (", or add the verb to the file of verbs (--verbs)" if column == "lemma" else ""),
        )
    return name


def _check_cell(place: str, cell: str) -> None:
    """Whether a cell can be a sentence.

    Raises:
        UserError: It is too long, or a character of it is none that a sentence has.
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
            raise _bad_row(place, f"has {name} in a cell", repr(cell), "take it out")


def _shown(row: Sequence[str]) -> str:
    """A row for a message."""
    return " | ".join(row)


def _bad_row(place: str, what: str, found: str, fix: str) -> UserError:
    expected = "one whole sentence, in one cell of its row"
    return UserError(place, what, found=found, expected=expected, fix=fix)


def _refusal(place: str | Path, what: str, found: str) -> UserError:
    return UserError(
        place,
        what,
        found=found,
        expected=EXPECTED,
        fix="fix it, or save the table as CSV UTF-8 (comma delimited)",
    )
