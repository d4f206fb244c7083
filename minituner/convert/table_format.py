"""The file format of a user's table: its encoding, its delimiter and the names of its columns."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from minituner.data.spelling import comparable
from minituner.errors import UserError, number_of
from minituner.storage.text import decode, likely_encoding, not_utf8, unreadable

# The names that each column may have, in the spelling of minituner.data.spelling.comparable.
HEADINGS = {
    "en": ("en", "eng", "english", "inglés", "ingles"),
    "es": ("es", "spa", "spanish", "español", "espanol"),
    "lemma": ("lemma", "verb", "verbo"),
    "tense": ("tense", "tiempo"),
}
_COLUMN_OF = {heading: column for column, names in HEADINGS.items() for heading in names}
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # begin .xlsx and .ods files, and .xls files
EXPECTED = (
    "a .csv whose first line names en and, optionally, es, lemma and tense, or a .tsv of such "
    "columns or of English and Spanish without a line of names"
)


@dataclass(frozen=True)
class Layout:
    """The delimiter and the columns of a table."""

    delimiter: str
    columns: list[str | None]  # by position; None for a column that is not used
    headings: list[str]  # as written; empty without a line of names
    start: int  # the index of the first row's line

    @property
    def known(self) -> int:
        """The number of columns that are used."""
        return len(self.columns) - self.columns.count(None)

    def unused(self, filled: Collection[int]) -> list[str]:
        """The headings of the columns that are not used.

        Args:
            filled: The positions of columns with text in them; one without a heading is listed
                only if it is among these.
        """
        headings = enumerate(zip(self.headings, self.columns, strict=False))
        return [
            heading or f"column {place + 1}, which has no name"
            for place, (heading, column) in headings
            if column is None and (heading or place in filled)
        ]


# --- encoding -----------------------------------------------------------------------------------


def read_table_text(path: Path, encoding: str | None) -> str:
    """The text of a ``.csv`` or ``.tsv``.

    Args:
        encoding: As in ``read_table``.

    Raises:
        UserError: It is not such a file, cannot be read, or is in another encoding.
    """
    kind = path.suffix.lower()
    if kind not in (".tsv", ".csv"):
        raise not_a_table(path, "is neither TSV nor CSV", f"a name that ends in {path.suffix!r}")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if raw.startswith(SPREADSHEETS):
        raise not_a_table(path, f"is a spreadsheet named {kind}", "a workbook or archive")
    if encoding is not None:
        return _decoded_as(path, raw, encoding)
    try:
        text = decode(raw, path)
    except UserError as error:
        raise _in_another_encoding(error, raw) from error
    if "\0" in text:
        line = text.count("\n", 0, text.find("\0")) + 1
        place = f"{path}:{line}"
        if likely_encoding(raw):  # plain English in UTF-16 is UTF-8 too, with NULs in between
            raise _in_another_encoding(not_utf8(place, raw, raw.find(b"\0")), raw)
        raise UserError(
            place,
            "has a NUL in it, which is not a character of text",
            found=number_of(text.count("\0"), "NUL"),
            expected="text",
            fix="remove it",
        )
    return text


def _in_another_encoding(error: UserError, raw: bytes) -> UserError:
    likely = likely_encoding(raw)
    return UserError(
        error.where,
        error.what,
        found=f"bytes that look like {likely}" if likely else "bytes of another encoding",
        expected="text in UTF-8, or with a byte-order mark",
        fix="save the table as UTF-8 (in Excel: CSV UTF-8), or name its encoding: "
        f"--encoding {likely or 'NAME'}",
    )


def _decoded_as(path: Path, raw: bytes, encoding: str) -> str:
    """The text, decoded as the user says."""
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
        found = "NUL characters" if "\0" in text else ""
    except LookupError:
        found = "an encoding that Python does not know"
    except (UnicodeError, ValueError) as error:
        found = str(error)
    if not found and _is_utf8(raw) and text != raw.decode("utf-8-sig"):
        found = "text in UTF-8, which that encoding would garble"
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
    """Whether the bytes are certainly UTF-8: they have letters outside ASCII, and are valid."""
    try:
        return not raw.decode("utf-8").isascii()
    except UnicodeDecodeError:
        return False


# --- delimiter and columns ----------------------------------------------------------------------


def find_layout(path: Path, lines: Sequence[str]) -> Layout:
    """The delimiter and the columns, from the first line that is not blank.

    Raises:
        UserError: It names no column ``en``, or one column twice.
    """
    is_tsv = path.suffix.lower() == ".tsv"
    delimiters: tuple[str, ...] = ("\t", ",", ";") if is_tsv else (",", ";", "\t")
    start = 0
    if lines and (declared := _declared_delimiter(path, lines[0])):
        start, delimiters = 1, (declared,)
    while start < len(lines) and not lines[start].strip('\t,; "\r\n'):
        start += 1
    first = lines[start] if start < len(lines) else ""
    layouts = [_read_headings(first, delimiter, start + 1) for delimiter in delimiters]
    best = max(layouts, key=lambda layout: layout.known)
    # The first line of a TSV may be a sentence that begins "English, please".
    sentence = is_tsv and best.delimiter != delimiters[0] and best.known < 2
    if "en" in best.columns and not sentence:
        _check_headings(f"{path}:{start + 1}", best)
        return best
    if is_tsv and None in best.columns:
        return Layout(delimiters[0], ["en", "es"], [], start)
    if not first:
        return best
    if len(first) > csv.field_size_limit():
        raise not_a_table(f"{path}:{start + 1}", "is too long to name columns", repr(first.strip()))
    raise not_a_table(f"{path}:{start + 1}", "names no column en", repr(first.strip()))


def _declared_delimiter(path: Path, line: str) -> str | None:
    """The delimiter of a line ``sep=;``, which Excel writes before a table; None without one."""
    line = line.rstrip("\r\n").strip('"')
    if not line.lower().startswith("sep="):
        return None
    if line[4:5] not in tuple("\t,;|"):
        raise not_a_table(f"{path}:1", "names a delimiter that is not supported", repr(line))
    return line[4]


def _read_headings(line: str, delimiter: str, start: int) -> Layout:
    """The columns that a first line names if it is divided at ``delimiter``."""
    reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    try:
        headings = [cell.strip() for cell in next(reader, [])]
    except csv.Error:  # longer than a cell may be
        headings = [line.strip()]
    columns = [_COLUMN_OF.get(comparable(heading)) for heading in headings]
    return Layout(delimiter, columns, headings, start)


def _check_headings(place: str, layout: Layout) -> None:
    """Check that no column is named twice."""
    for column, headings in HEADINGS.items():
        if layout.columns.count(column) > 1:
            raise UserError(
                place,
                f"names the column {column} more than once",
                found=", ".join(layout.headings),
                expected=f"one column named {' or '.join(headings)}",
                fix="rename or delete one of them",
            )


def not_a_table(place: str | Path, what: str, found: str) -> UserError:
    """The refusal of a file that cannot be read as a table."""
    return UserError(
        place,
        what,
        found=found,
        expected=EXPECTED,
        fix="fix it, or save the table as CSV UTF-8 (comma delimited)",
    )
