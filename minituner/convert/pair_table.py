"""A user's table of minimal pairs: prompt, target, wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from minituner.convert.table_format import Columns
from minituner.convert.table_rows import bad_row, check_cell, read_records
from minituner.convert.task_rows import TaskRows
from minituner.data.task_file import pair_of

OPTIONAL = ("group", "form", "split")  # copied as they are
PAIRS = Columns(
    names={name: (name,) for name in ("prompt", "target", "wrong", "after", *OPTIONAL)},
    required=("prompt", "target", "wrong"),
    numbered="wrong",
    row="minimal pair",
    cell="text",
    longest=20_000,
    expected="a .csv or .tsv whose first line names prompt, target and wrong and, optionally, "
    "wrong_2, wrong_3, after, group, form and split",
    expected_row="a prompt, a target and at least one wrong form, each in its cell",
)
# What is written without a space before it.
ATTACHED = ".,;:!?%)]}\u2026\u2019\u201d\u00bb\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"


def read_pair_table(path: Path, encoding: str | None, found: TaskRows) -> None:
    """Read a ``.csv`` or ``.tsv`` of minimal pairs.

    Several wrong forms are separated by ``|``, or are in the columns wrong, wrong_2, and so on. A
    space is put before the text ``after`` unless it begins with punctuation.

    Args:
        encoding: As in :func:`minituner.convert.table_rows.read_records`.
        found: Where the pairs are added.

    Raises:
        UserError: The file cannot be read as a table, or it names every line that cannot be used.
    """
    records, unused = read_records(path, PAIRS, encoding, _pair)
    found.unused += unused
    for place, row in records:
        found.add(place, row)


def _pair(place: str, cells: Mapping[str, str]) -> tuple[str, dict[str, str | list[str]]]:
    """One row's place and minimal pair.

    Raises:
        UserError: It lacks a part, a cell cannot be used, or a task would refuse the pair.
    """
    for column, cell in cells.items():
        check_cell(place, cell, PAIRS)
        if not cell and column in PAIRS.required:
            shown, fix = " | ".join(cells.values()), "write it, or delete the row"
            raise bad_row(place, f"has no {column}", shown, fix, PAIRS)
    wrong = list(_wrong_forms(cells))
    if len(cells) < len(PAIRS.required) or not all(wrong):
        shown = " | ".join(cells.values())
        fix = "write all wrong forms, with one | between two of them"
        raise bad_row(place, "lacks a wrong form", shown, fix, PAIRS)
    after = cells.get("after", "")
    if after and after[0] not in ATTACHED:
        after = f" {after}"
    row: dict[str, str | list[str]] = {
        "prompt": cells["prompt"],
        "target": cells["target"],
        "wrong": wrong if len(wrong) > 1 else wrong[0],
        "after": after,
        **{column: cells.get(column, "") for column in OPTIONAL},
    }
    row = {column: value for column, value in row.items() if value}
    pair_of(row, place)  # refuses what the pipeline would refuse
    return place, row


def _wrong_forms(cells: Mapping[str, str]) -> Iterator[str]:
    """The wrong forms; an empty one if two bars or an end of the cell have none between them."""
    for column, cell in cells.items():
        if cell and column.startswith("wrong"):
            yield from (form.strip() for form in cell.split("|"))
