"""What a YAML file must hold: mappings whose every mistake is noted by its key."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError

CUTOFF = 0.5  # how like a known word a mistyped one is, 0 to 1


class Section:
    """A mapping of a YAML file. Whatever is wrong with it is noted and reads as empty, so that the
    caller can go on and find the rest.

    Args:
        path: The file.
        key: Where the mapping stands in it, dotted; empty at the top.
        value: What stands there.
        mistakes: Where mistakes are noted.
        example: The file of the repository that shows how it is written.
    """

    def __init__(
        self, path: str | Path, key: str, value: Any, mistakes: Mistakes, example: str
    ) -> None:
        self.path, self.key, self.mistakes = path, key, mistakes
        self._example = example
        self.values: Mapping[str, Any] = value if isinstance(value, dict) else {}
        self._misspelled: set[str] = set()  # keys that are missing, as a misspelled one tells
        if not self.values:
            name = key.rpartition(".")[2]
            self.note(
                "",
                "is not a mapping with something in it",
                found=brief(value),
                expected=f"a mapping under {name!r}" if key else "a mapping",
                fix=f"write {name or 'it'!r} as {example} of the repository has it",
            )
            self.mistakes = Mistakes()  # that its keys are missing goes without saying

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def place(self, key: str = "") -> str:
        """``path: key`` of one of its keys, or its own."""
        return f"{self.path}: {'.'.join(part for part in (self.key, key) if part)}".rstrip(": ")

    def note(self, key: str, what: str, *, found: str, expected: str, fix: str) -> None:
        """Note a mistake at one of its keys; at its own, if that is empty."""
        if key in self._misspelled:
            return
        where = self.place(key)
        self.mistakes.add(UserError(where, what, found=found, expected=expected, fix=fix))

    def section(self, key: str) -> Section:
        """The mapping at ``key``, which may not be empty."""
        where = f"{self.key}.{key}".removeprefix(".")
        mistakes = Mistakes() if key in self._misspelled else self.mistakes
        return Section(self.path, where, self.values.get(key), mistakes, self._example)

    def text(self, key: str) -> str:
        """The text at ``key``, which may not be blank; empty if it is refused."""
        value = self.values.get(key)
        if isinstance(value, str) and value.strip() == value != "" and value.isprintable():
            return value
        where = f"{self.key}.{key}".removeprefix(".")
        as_read = " (as YAML reads yes, no, on and off)" if isinstance(value, bool) else ""
        self.note(
            key,
            "has no text" if not isinstance(value, str) else "is not plain text",
            found=brief(value) + as_read if key in self.values else "no such key",
            expected="a non-empty string (quoted, if YAML would read it as something else) on one "
            "line, without spaces around it",
            fix=f"write {where}" + ("" if value is None else ", in quotes"),
        )
        return ""

    def text_or_null(self, key: str) -> str | None:
        """As ``text``, but the value may be null; the key may not be absent."""
        return None if self.values.get(key, "") is None else self.text(key)

    def number(self, key: str, lowest: float, highest: float, *, whole: bool = False) -> Any:
        """A number in a range; ``lowest`` if it is refused."""
        value = self.values.get(key)
        kinds = int if whole else (int, float)
        if isinstance(value, kinds) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        self.note(
            key,
            "cannot be used",
            found=brief(value) if key in self.values else "no such key",
            expected=f"a{' whole' if whole else ''} number from {lowest:g} "
            + ("on" if highest == math.inf else f"to {highest:g}"),
            fix="write such a number",
        )
        return lowest

    def choice(self, key: str, what: str, allowed: Collection[str]) -> str:
        """One of ``allowed`` at ``key``; empty if it is refused."""
        value = self.text(key)
        if value and value not in allowed:
            self.mistakes.add(unknown_word(self.place(key), what, value, allowed))
            return ""
        return value

    def only(self, known: Collection[str]) -> None:
        """Note every key that is not among ``known``: misspelled, it would have no effect."""
        for key in self.values:
            if key not in known:
                missing = [name for name in known if name not in self.values]
                near = get_close_matches(key, missing, n=1, cutoff=CUTOFF)
                self._misspelled |= set(near)
                error = unknown_word(self.place(key), "key", key, known, near or known)
                self.mistakes.add(error)


def unknown_word(
    where: str, what: str, word: str, known: Collection[str], likely: Iterable[str] | None = None
) -> UserError:
    """The refusal of a word that is not among the known ones, with the nearest of them, or of the
    ``likely`` ones among them."""
    return UserError(
        where,
        f"unknown {what}",
        found=repr(word),
        expected=f"one of {', '.join(known)}",
        fix=nearest(word, known if likely is None else likely) or "write one of those",
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A suggestion for a mistyped word, or ``None`` if nothing is near it."""
    close = get_close_matches(word, list(known), n=1, cutoff=CUTOFF)
    return f"did you mean {close[0]!r}?" if close else None


def brief(value: Any) -> str:
    """The value as JSON would write it, cut to a line."""
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."
