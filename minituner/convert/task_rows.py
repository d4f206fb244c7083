"""The rows of a task's files, minimal pairs or plain texts, and what was skipped on the way."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from minituner.data.spelling import first_control
from minituner.errors import first_of, number_of, shortened

Kind = Literal["pair", "text"]
SHOWN = 10  # skipped rows that a report names, for each reason


@dataclass
class TaskRows:
    """Rows for a file of minimal pairs or of texts."""

    kind: Kind
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # by the reason: places
    unused: list[str] = field(default_factory=list)  # columns of a table
    _known: set[str] = field(default_factory=set)

    def add(self, place: str, row: dict[str, Any]) -> None:
        """Add a row, unless there is one with the same texts."""
        key = repr([row.get(name) for name in ("text", "prompt", "target", "wrong", "after")])
        if key in self._known:
            self.skip(place, "that is there already")
            return
        self._known.add(key)
        self.rows.append(row)

    def skip(self, place: str, why: str) -> None:
        """Leave out what is at ``place``.

        Args:
            why: The end of the sentence "2 pairs were left out ...".
        """
        self.skipped.setdefault(why, []).append(place)

    def numbered(self, prefix: str) -> list[dict[str, Any]]:
        """The rows, each with an id: their own if all have one and all differ, else a number.

        Args:
            prefix: The beginning of the ids; anything in it but letters and digits becomes hyphens.
        """
        prefix = re.sub(r"[\W_]+", "-", prefix).strip("-") or "own"
        own = {row.get("id") for row in self.rows}
        if len(own) == len(self.rows) and None not in own:
            return self.rows
        return [
            {**row, "id": f"{prefix}-{number:06d}"} for number, row in enumerate(self.rows, start=1)
        ]

    def drop_groups_unless_several(self) -> None:
        """Leave out the groups if they are all one, or some row has none: nothing could be
        resampled then, and each row is a group by itself."""
        groups = {row.get("group") for row in self.rows}
        if len(groups) == 1 or None in groups:
            self.rows = [
                {key: value for key, value in row.items() if key != "group"} for row in self.rows
            ]

    def report(self, path: str | Path) -> str:
        """A summary for the user: every count, and the first places of each reason."""
        there = f" in {path}" if self.rows else "; no file"
        lines = [number_of(len(self.rows), self.kind) + there]
        if self.unused:
            lines.append(f"columns not used: {shortened(first_of(self.unused))}")
        for why, places in self.skipped.items():
            lines.append(f"left out: {number_of(len(places), self.kind)} {why}:")
            lines += [f"  {place}" for place in places[:SHOWN]]
            if len(places) > SHOWN:
                lines.append(f"  and {len(places) - SHOWN:,} more")
        return "\n".join(lines)


def why_not_text(text: str) -> str | None:
    """Why a line cannot be a text, as :meth:`TaskRows.skip` takes it; None if it can."""
    if control := first_control(text):
        return f"with {control} in it"
    return "with the mark of a lost character (U+FFFD) in it" if "\ufffd" in text else None
