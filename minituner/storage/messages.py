"""Wording that messages about files share: suggestions for misspelled words, values in short."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from minituner.errors import UserError

CUTOFF = 0.5  # how similar a suggestion must be to the word that was written, 0 to 1


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most similar to ``word``, or ``None`` if none is similar."""
    close = get_close_matches(word, list(known), n=1, cutoff=CUTOFF)
    return close[0] if close else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A suggestion for a misspelled word, or ``None`` if no known word is similar."""
    close = closest(word, known)
    return None if close is None else f"did you mean {close!r}?"


def unknown_word(where: str, what: str, word: str, known: Collection[str]) -> UserError:
    """The error for a word that is not among the known ones, with a suggestion."""
    return UserError(
        where,
        f"unknown {what}",
        found=repr(word),
        expected=f"one of {', '.join(known)}",
        fix=nearest(word, known) or "write one of those",
    )


def brief(value: Any) -> str:
    """The value as JSON, cut to one line."""
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."
