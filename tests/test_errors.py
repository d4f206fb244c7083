"""Errors: messages of one mistake and of many, and counts in words."""

from __future__ import annotations

import re

import pytest

from minituner.errors import (
    LONGEST,
    Mistakes,
    SeveralErrors,
    UserError,
    first_of,
    number_of,
    shortened,
)


def mistake(where: str) -> UserError:
    return UserError(where, "is wrong", found="x", expected="y", fix="write y")


def test_parts_of_a_message_are_shortened() -> None:
    text = "word " * 5_000
    error = UserError(text, text, found=text, expected=text, fix=text)
    assert len(str(error)) < 6 * LONGEST + 100
    assert str(error).count("(25,000 characters)") == 5
    assert shortened("a" * LONGEST) == "a" * LONGEST


def test_mistakes_are_raised_together() -> None:
    mistakes = Mistakes()
    mistakes.raise_if_any()
    mistakes.add(mistake("file:1"))
    with pytest.raises(UserError, match=r"^file:1: is wrong"):
        mistakes.raise_if_any()
    for line in range(2, 41):
        mistakes.add(mistake(f"file:{line}"))
    with pytest.raises(SeveralErrors) as several:
        mistakes.raise_if_any()
    assert str(several.value).startswith("40 mistakes; the first 10:\n\nfile:1: is wrong\n")
    assert re.findall(r"^file:(\d+)", str(several.value), re.MULTILINE) == [
        str(line) for line in range(1, 11)
    ]
    both = Mistakes()
    both.add(mistake("other:7"))
    both.add(several.value)
    assert (both.count, len(both.first)) == (41, 10)


@pytest.mark.parametrize("parts", [1, 5])
def test_several_long_mistakes_fit_a_page(parts: int) -> None:
    """Snakemake prints a job's message, and then its log with the message in it."""
    mistakes = Mistakes()
    for i in range(30):
        long = [f"{i}" + "x" * 50_000] * parts + ["short"] * 5
        mistakes.add(UserError(long[0], long[1], found=long[2], expected=long[3], fix=long[4]))
    with pytest.raises(SeveralErrors) as several:
        mistakes.raise_if_any()
    message = str(several.value)
    assert message.startswith("30 mistakes; the first 10:\n\n0xxx")
    assert len(message) < 5000
    assert all(f"\n\n{i}xxx" in message for i in range(10))
    with pytest.raises(UserError) as single:  # one alone has more room
        raise mistakes.first[0]
    assert len(str(single.value)) >= 600


def test_first_of() -> None:
    assert first_of([]) == ""
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(range(1_503), 3) == "0, 1, 2 and 1,500 more"


def test_number_of() -> None:
    assert number_of(1, "verb") == "1 verb"
    assert number_of(0, "verb") == "0 verbs"
    assert number_of(1_000, "try", "tries") == "1,000 tries"
