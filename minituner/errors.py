"""A user's mistake, which says where, what, and how to fix it; and several of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 600  # characters of any part of a message; a user's text may have any length
# Of each of several mistakes: the first that keeps the message within its limit.
LONGEST_OF_SEVERAL = (LONGEST, 300, 200, 150, 100, 75, 60)
LONGEST_MESSAGE = 5000  # characters of several mistakes: Snakemake prints its log once more


class UserError(ValueError):
    """Something the user gave cannot be used.

    Each part is shortened to ``LONGEST`` characters in the message, ``fix`` to twice as many.

    Args:
        where: The place, as an editor would open it: a path, ``path:line`` or ``path: key``.
        what: What is wrong, in one short clause.
        found: What stands there.
        expected: What should stand there.
        fix: The one thing to do about it.
    """

    def __init__(
        self, where: str | Path, what: str, *, found: object, expected: str, fix: str
    ) -> None:
        self.where = str(where)
        self.what = what
        self._parts = (str(where), what, str(found), expected, fix)
        super().__init__(self.message())

    def message(self, longest: int = LONGEST) -> str:
        """All parts, each of at most ``longest`` characters, the last of twice as many: a command
        in it is of use only whole."""
        *parts, fix = self._parts
        where, what, found, expected = (shortened(part, longest) for part in parts)
        fix = shortened(fix, 2 * longest)
        return f"{where}: {what}\n  found:    {found}\n  expected: {expected}\n  fix:      {fix}"


class SeveralErrors(UserError):
    """Several mistakes at once; the message has the first of them, shortened, and their number.

    Args:
        first: The mistakes to show, at least one.
        count: How many there are in all.
    """

    def __init__(self, first: list[UserError], count: int) -> None:
        self.where, self.what = first[0].where, first[0].what
        self.first, self.count = first, count
        shown = "" if count == len(first) else f"; the first {len(first)}"
        for longest in LONGEST_OF_SEVERAL:
            parts = [f"{count:,} mistakes{shown}:", *(error.message(longest) for error in first)]
            text = "\n\n".join(parts)
            if len(text) <= LONGEST_MESSAGE:
                break
        ValueError.__init__(self, text)


class Mistakes:
    """Collects mistakes, so that a user is told of all in one run.

    It keeps the first ``SHOWN`` and counts the others, so its size does not grow with their number.
    """

    SHOWN = 10

    def __init__(self) -> None:
        self.first: list[UserError] = []
        self.count = 0

    def add(self, error: UserError) -> None:
        """Note one mistake, or all of several."""
        errors, count = (
            (error.first, error.count) if isinstance(error, SeveralErrors) else ([error], 1)
        )
        self.first += errors[: self.SHOWN - len(self.first)]
        self.count += count

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note a mistake that ends the block, and go on after it."""
        try:
            yield
        except UserError as error:
            self.add(error)

    def raise_if_any(self) -> None:
        """Raise what was noted.

        Raises:
            UserError: The one mistake there is, or a :class:`SeveralErrors`.
        """
        if self.count == 1:
            raise self.first[0]
        if self.count:
            raise SeveralErrors(self.first, self.count)


def report_of(error: object) -> str:
    """The text printed when a command, a stage or the whole pipeline ends with an error.

    Args:
        error: A :class:`UserError`, or the text of another error: place, colon, what is wrong.
    """
    return f"minituner: error\n\n{error}"


def shortened(value: object, longest: int = LONGEST) -> str:
    """``value`` as text of at most ``longest`` characters: its beginning, and how much was cut."""
    text = str(value)
    if len(text) <= longest:
        return text
    left_out = f"... ({len(text):,} characters)"
    return text[: longest - len(left_out)] + left_out


def number_of(count: int, noun: str, plural: str | None = None) -> str:
    """``1 verb``, ``2 verbs``, ``1,000 verbs``."""
    words = noun if count == 1 else plural or f"{noun}s"
    return f"{count:,} {words}"


def first_of(words: Collection[object], most: int = 20) -> str:
    """``a, b, c``; of more than ``most`` words the first, and how many others there are."""
    shown = [str(word) for word, _ in zip(words, range(most), strict=False)]
    others = len(words) - len(shown)
    return ", ".join(shown) + (f" and {others:,} more" if others else "")
