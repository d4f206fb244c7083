"""A user's file of plain texts, one per line: a control set."""

from __future__ import annotations

from pathlib import Path

from minituner.convert.encoding import decode_text, read_bytes
from minituner.convert.task_rows import TaskRows, why_not_text
from minituner.storage.text import lines_of


def read_texts(path: Path, encoding: str | None, found: TaskRows) -> None:
    """Read a ``.txt`` with one text per line; a line that cannot be text is skipped.

    Args:
        encoding: As in :func:`minituner.convert.table_rows.read_records`.
        found: Where the texts are added.

    Raises:
        UserError: The file cannot be read, or is in another encoding.
    """
    for number, line in enumerate(lines_of(decode_text(read_bytes(path), path, encoding)), 1):
        text, place = line.strip(), f"{path}:{number}"
        if why := why_not_text(text):
            found.skip(place, why)
        elif text:
            found.add(place, {"text": text})
