"""Checks that the lines of a task's files agree with one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from minituner.data.pairs import Pair
from minituner.data.spelling import single_spaced
from minituner.errors import Mistakes, UserError, number_of


def check_agreement(pairs: Sequence[Pair], mistakes: Mistakes) -> None:
    """Note repeated ids, lines without a group or split that others have, and contradictions.

    Args:
        pairs: Pairs that differ in their :func:`content`.
    """
    _check_ids(pairs, mistakes)
    _check_all_or_none(pairs, mistakes)
    _check_contradictions(pairs, mistakes)


def content(pair: Pair) -> tuple[object, ...]:
    """What a pair says, for sorting and for finding equal ones: without its id and its place."""
    return pair.group, pair.form, pair.prompt, pair.correct, pair.after, pair.wrong, pair.split


def _check_ids(pairs: Iterable[Pair], mistakes: Mistakes) -> None:
    places: dict[str, str] = {}
    for pair in (pair for pair in pairs if pair.id):
        other = places.setdefault(pair.id, pair.source)
        if other != pair.source:
            mistakes.add(
                UserError(
                    pair.source,
                    "duplicate id",
                    found=f"{pair.id!r}, also at {other}",
                    expected="a different id for every line",
                    fix="give one of the two another id, or leave ids out",
                )
            )


def _check_all_or_none(pairs: Sequence[Pair], mistakes: Mistakes) -> None:
    """Check that ``group``, and ``split``, is in all lines or in none."""
    for key in ("group", "split"):
        lacking = [pair for pair in pairs if not getattr(pair, key)]
        if 0 < len(lacking) < len(pairs):
            mistakes.add(
                UserError(
                    lacking[0].source,
                    f"has no {key!r}, as {number_of(len(lacking), 'line')} of {len(pairs):,}",
                    found=f"{key!r} in the other {len(pairs) - len(lacking):,}",
                    expected=f"{key!r} in every line, or in none",
                    fix=f"add {key!r} to the lines without it, or remove it from the others",
                )
            )


def _check_contradictions(pairs: Iterable[Pair], mistakes: Mistakes) -> None:
    """Check that no form is right after a prompt in one line, and wrong in another."""
    right: dict[tuple[str, str], Pair] = {}
    prompts: Counter[str] = Counter()
    for pair in pairs:
        prompt = single_spaced(pair.prompt)
        prompts[prompt] += 1
        right.setdefault((prompt, single_spaced(pair.correct)), pair)
    for pair in pairs:
        prompt = single_spaced(pair.prompt)
        if prompts[prompt] == 1:
            continue
        for form in pair.wrong:
            other = right.get((prompt, single_spaced(form)))
            if other is not None and single_spaced(other.after) == single_spaced(pair.after):
                mistakes.add(
                    UserError(
                        pair.source,
                        "contradicts another line",
                        found=f"{form!r} is wrong here and right at {other.source}: "
                        f"{pair.prompt!r}",
                        expected="a form that is either right or wrong after a prompt",
                        fix="correct or remove one of the two",
                    )
                )
