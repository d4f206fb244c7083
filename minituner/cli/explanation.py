"""What ``inspect`` prints about one file or folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minituner.errors import shortened

LONGEST = 2_000  # characters of one fact


@dataclass(frozen=True)
class Explanation:
    """What kind of file it is, and facts about it by name."""

    title: str
    facts: Mapping[str, object]

    def __str__(self) -> str:
        """The title, and one indented line per fact."""
        lines = (f"  {name}: {_one_line(fact)}" for name, fact in self.facts.items())
        return "\n".join([self.title, *lines])


def _one_line(fact: object) -> str:
    """A fact without line breaks and without the control characters that terminals interpret."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shortened(fact, LONGEST)
    )
