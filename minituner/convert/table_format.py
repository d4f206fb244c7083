"""The file format of a user's table: its delimiter and the names of its columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minituner.data.spelling import comparable
from minituner.errors import UserError


@dataclass(frozen=True)
class Columns:
    """The columns of one kind of table.

    Args:
        names: The headings that each column may have, in the spelling of
            minituner.data.spelling.comparable.
        required: The columns that a table must have.
        row: What a row is, for messages.
        cell: What a cell is, for messages.
        expected: What a table is, for messages.
        expected_row: What a row holds, for messages.
        longest: The characters that a cell of text may have.
        bare: The columns of a .tsv without a line of headings; empty if it must have one.
        numbered: A column of which there may be several: wrong, wrong_2, wrong_3.
    """

    names: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    row: str
    cell: str
    expected: str
    expected_row: str
    longest: int
    bare: tuple[str, ...] = ()
    numbered: str = ""

    def column_of(self, heading: str) -> str | None:
        """The column with this heading; None if there is none."""
        heading = comparable(heading)
        if self.numbered and (found := re.fullmatch(rf"{self.numbered}[ _-]?(\d+)", heading)):
            number = int(found[1])
            return self.numbered if number == 1 else f"{self.numbered}_{number}"
        return next((name for name, known in self.names.items() if heading in known), None)


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


def find_layout(path: Path, lines: Sequence[str], columns: Columns) -> Layout:
    """The delimiter and the columns, from the first line that is not blank.

    Raises:
        UserError: It does not name a required column, or names one twice.
    """
    is_tsv = path.suffix.lower() == ".tsv"
    first, start, layouts = _possible_layouts(path, lines, columns)
    best = max(layouts, key=lambda layout: layout.known)
    missing = [column for column in columns.required if column not in best.columns]
    # The first line of a TSV without headings may be a sentence that begins "English, please".
    sentence = columns.bare and is_tsv and best is not layouts[0] and best.known < 2
    if not missing and not sentence:
        _check_headings(f"{path}:{start + 1}", best, columns)
        return best
    if columns.bare and is_tsv and None in best.columns:
        return Layout(layouts[0].delimiter, list(columns.bare), [], start)
    if not first:
        return best
    place = f"{path}:{start + 1}"
    if len(first) > csv.field_size_limit():
        raise not_a_table(
            place, "is too long to name columns", repr(first.strip()), columns.expected
        )
    what = f"names no column {' and no column '.join(missing)}"
    raise not_a_table(place, what, repr(first.strip()), columns.expected)


def named_columns(path: Path, lines: Sequence[str], columns: Columns) -> set[str]:
    """The columns that the first line that is not blank names; none if it is not a line of names.

    Raises:
        UserError: As :func:`find_layout`, of the delimiter that the file declares.
    """
    _, _, layouts = _possible_layouts(path, lines, columns)
    best = max(layouts, key=lambda layout: layout.known)
    return {column for column in best.columns if column is not None}


def _possible_layouts(
    path: Path, lines: Sequence[str], columns: Columns
) -> tuple[str, int, list[Layout]]:
    """The first line that is not blank, its index, and its layout for each delimiter that the file
    may have, the likeliest first."""
    is_tsv = path.suffix.lower() == ".tsv"
    delimiters: tuple[str, ...] = ("\t", ",", ";") if is_tsv else (",", ";", "\t")
    start = 0
    if lines and (declared := _declared_delimiter(path, lines[0], columns.expected)):
        start, delimiters = 1, (declared,)
    while start < len(lines) and not lines[start].strip('\t,; "\r\n'):
        start += 1
    first = lines[start] if start < len(lines) else ""
    return first, start, [_read_headings(first, d, start + 1, columns) for d in delimiters]


def _declared_delimiter(path: Path, line: str, expected: str) -> str | None:
    """The delimiter of a line ``sep=;``, which Excel writes before a table; None without one."""
    line = line.rstrip("\r\n").strip('"')
    if not line.lower().startswith("sep="):
        return None
    if line[4:5] not in tuple("\t,;|"):
        what = "names a delimiter that is not supported"
        raise not_a_table(f"{path}:1", what, repr(line), expected)
    return line[4]


def _read_headings(line: str, delimiter: str, start: int, columns: Columns) -> Layout:
    """The columns that a first line names if it is divided at ``delimiter``."""
    reader = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    try:
        headings = [cell.strip() for cell in next(reader, [])]
    except csv.Error:  # longer than a cell may be
        headings = [line.strip()]
    return Layout(delimiter, [columns.column_of(heading) for heading in headings], headings, start)


def _check_headings(place: str, layout: Layout, columns: Columns) -> None:
    """Check that no column is named twice."""
    for column in dict.fromkeys(filter(None, layout.columns)):
        if layout.columns.count(column) > 1:
            raise UserError(
                place,
                f"names the column {column} more than once",
                found=", ".join(layout.headings),
                expected=f"one column named {' or '.join(columns.names.get(column, (column,)))}",
                fix="rename or delete one of them",
            )


def not_a_table(place: str | Path, what: str, found: str, expected: str) -> UserError:
    """The refusal of a file that cannot be read as a table."""
    return UserError(
        place,
        what,
        found=found,
        expected=expected,
        fix="fix it, or save the table as CSV UTF-8 (comma delimited)",
    )
