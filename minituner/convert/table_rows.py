"""A user's table row by row: its cells by column, and a message for every bad row."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from minituner.convert.encoding import decode_text, read_bytes
from minituner.convert.table_format import Columns, Layout, find_layout, not_a_table
from minituner.errors import Mistakes, UserError

SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # begin .xlsx and .ods files, and .xls files
_UNWANTED = {
    "\n": "a line break",
    "\r": "a line break",
    "\u2028": "a line break",
    "\u2029": "a line break",
    "\t": "a tab",
    "\ufffd": "the mark of a lost character (U+FFFD)",
}
Record = TypeVar("Record")


def read_records(
    path: Path,
    columns: Columns,
    encoding: str | None,
    record_of: Callable[[str, Mapping[str, str]], Record],
) -> tuple[list[Record], list[str]]:
    """Read a ``.csv`` or ``.tsv``.

    Args:
        columns: The columns that it may have.
        encoding: The file's encoding, by any name that Python knows; None for UTF-8 or that of a
            byte-order mark.
        record_of: Makes one row's record of its place, ``file:line``, and of its cells by column,
            without spaces around them; it may raise a :class:`UserError`.

    Returns:
        The records, and the headings of the columns that are not used.

    Raises:
        UserError: The file cannot be read as a table, or it names every line that cannot be used.
    """
    lines = table_lines(path, encoding, columns.expected)
    layout = find_layout(path, lines, columns)
    mistakes = Mistakes()
    records: list[Record] = []
    filled: set[int] = set()  # positions of columns with text in them
    for number, row in _rows(path, lines, layout, columns):
        try:
            if isinstance(row, UserError):
                raise row
            filled |= {place for place, cell in enumerate(row) if cell}
            cells = _cells(f"{path}:{number}", row, layout, columns)
            records.append(record_of(f"{path}:{number}", cells))
        except UserError as error:
            mistakes.add(error)
    mistakes.raise_if_any()
    if not records:
        found = "no row" if any(line.strip() for line in lines) else "an empty file"
        raise not_a_table(path, f"holds no {columns.row}", found, columns.expected)
    return records, layout.unused(filled)


def table_lines(path: Path, encoding: str | None, expected: str) -> list[str]:
    """The lines of a ``.csv`` or ``.tsv``, ended as csv ends them: by LF, CR or both.

    Args:
        encoding: As in :func:`read_records`.
        expected: What the table should be, for messages.

    Raises:
        UserError: It is not such a file, cannot be read, or is in another encoding.
    """
    kind = path.suffix.lower()
    if kind not in (".tsv", ".csv"):
        found = f"a name that ends in {path.suffix!r}"
        raise not_a_table(path, "is neither TSV nor CSV", found, expected)
    raw = read_bytes(path)
    if raw.startswith(SPREADSHEETS):
        raise not_a_table(path, f"is a spreadsheet named {kind}", "a workbook or archive", expected)
    return list(io.StringIO(decode_text(raw, path, encoding), newline=""))


def _rows(
    path: Path, lines: Sequence[str], layout: Layout, columns: Columns
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
                row = bad_row(
                    f"{path}:{number}",
                    "is not CSV",
                    f"{lines[at]!r}: {error}",
                    "double a quotation mark within a cell that is in quotes",
                    columns,
                )
        at += taken
        if isinstance(row, UserError):
            yield number, row
        elif any(cell.strip() for cell in row):
            yield number, [cell.strip() for cell in row]


def _cells(place: str, row: Sequence[str], layout: Layout, columns: Columns) -> dict[str, str]:
    """A row's cells by column.

    Raises:
        UserError: It has too many cells.
    """
    width = max(len(layout.headings), len(layout.columns))
    if any(row[width:]):
        raise bad_row(
            place,
            f"has {len(row)} columns instead of {width}",
            " | ".join(row),
            f"put quotes around a {columns.cell} that has the delimiter in it",
            columns,
        )
    return {column: cell for column, cell in zip(layout.columns, row, strict=False) if column}


def check_cell(place: str, cell: str, columns: Columns) -> None:
    """Check that a cell can be text.

    Raises:
        UserError: It is too long, or has a character that no sentence has.
    """
    if len(cell) > columns.longest:
        raise bad_row(
            place,
            f"has more than {columns.longest:,} characters in a cell",
            repr(cell),
            f"write one {columns.row} on each line; look for a quotation mark without its partner",
            columns,
        )
    for letter in cell:
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter == "\ufffd":
            name = _UNWANTED.get(letter, f"the control character U+{ord(letter):04X}")
            raise bad_row(place, f"has {name} in a cell", repr(cell), "remove it", columns)


def bad_row(place: str, what: str, found: str, fix: str, columns: Columns) -> UserError:
    """The refusal of one row."""
    return UserError(place, what, found=found, expected=columns.expected_row, fix=fix)
