"""A task's files from a user's: which readers there are, and which one reads a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from minituner.convert.blimp import read_blimp
from minituner.convert.pair_table import PAIRS, read_pair_table
from minituner.convert.table import SENTENCES
from minituner.convert.table_format import named_columns
from minituner.convert.table_rows import table_lines
from minituner.convert.task_rows import TaskRows
from minituner.convert.texts import read_texts
from minituner.errors import UserError

Target = Literal["corpus", "pairs", "texts"]
TABLES = (".csv", ".tsv")


def target_of(path: str | Path, encoding: str | None = None) -> Target:
    """What a file is converted to unless the user says otherwise.

    A ``.txt`` becomes texts, a ``.jsonl`` pairs; a table becomes pairs if it names two of their
    columns and none of English. Everything else is for the reader of a verb corpus, which also says
    what it cannot read.

    Args:
        encoding: As in :func:`minituner.convert.table_rows.read_records`.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".txt":
        return "texts"
    if kind == ".jsonl":
        return "pairs"
    with suppress(UserError):
        lines = table_lines(path, encoding, PAIRS.expected)
        pairs, sentences = (named_columns(path, lines, c) for c in (PAIRS, SENTENCES))
        if len(pairs.intersection(PAIRS.required)) > 1 and "en" not in sentences:
            return "pairs"
    return "corpus"


def read_task_rows(
    paths: Sequence[str | Path], target: Target, encoding: str | None = None
) -> TaskRows:
    """The pairs or texts of one or several files, in their order.

    Args:
        target: ``pairs`` or ``texts``.
        encoding: As in :func:`minituner.convert.table_rows.read_records`.

    Raises:
        UserError: A file cannot be read, is not of a kind that becomes the target, or has lines
            that cannot be used.
    """
    found = TaskRows("pair" if target == "pairs" else "text")
    for path in map(Path, paths):
        kind = path.suffix.lower()
        if kind == ".jsonl" and encoding is None:
            read_blimp(path, found)
        elif kind in TABLES and target == "pairs":
            read_pair_table(path, encoding, found)
        elif kind == ".txt" and target == "texts":
            read_texts(path, encoding, found)
        else:
            raise _not_read(path, target, encoding)
    if any(Path(path).suffix.lower() == ".jsonl" for path in paths):
        found.drop_groups_unless_several()
    return found


def _not_read(path: Path, target: Target, encoding: str | None) -> UserError:
    if path.suffix.lower() == ".jsonl":
        return UserError(
            path,
            "is JSON, whose encoding is UTF-8",
            found=f"--encoding {encoding}",
            expected="JSON lines in UTF-8",
            fix="leave --encoding out; convert the file first if it is in another encoding",
        )
    own = "a .csv or .tsv of minimal pairs" if target == "pairs" else "a .txt with a text per line"
    return UserError(
        path,
        f"cannot be converted to {target}",
        found=f"a name that ends in {path.suffix!r}",
        expected=f"{own}, or a .jsonl of good and bad sentences, as BLiMP's",
        fix="name such a file, or leave --to out",
    )
