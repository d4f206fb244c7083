"""Leakage checks: no prompt or verb leaks from split to split, no sentence of the study into the
base corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from pathlib import Path

from minituner.data.corpus import iter_rows
from minituner.data.pairs import Pair
from minituner.data.prompts import BLANK
from minituner.data.rows import Row
from minituner.data.spelling import comparable, comparable_word, words_of
from minituner.data.verbs import load_verbs
from minituner.errors import Mistakes, UserError

NO_DIFFERENCE = "kinds of spaces, apostrophes and quotation marks, and capitals, make no difference"


def check_leakage(
    splits: Mapping[str, Sequence[Pair]], base_corpus: Iterable[str | Path], verbs: str | Path
) -> list[str] | None:
    """``check_splits`` with the rows of the base corpus.

    Args:
        base_corpus: Its files; none if the base was trained elsewhere.
        verbs: The file of the verbs' forms.

    Raises:
        UserError: As ``check_splits``, or a file cannot be used.
    """
    return check_splits(splits, iter_rows(base_corpus, load_verbs(verbs)))


def check_splits(
    splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]
) -> list[str] | None:
    """Check that the splits leak neither into each other nor into the base corpus.

    Returns:
        The words of the pairs' sentences that are not in the base corpus, sorted; None if that
        corpus is not known.

    Raises:
        UserError: A prompt occurs in two splits, train and control share a verb, or the base corpus
            has a prompt or sentence of the study.
    """
    check_prompts_apart(splits)
    check_verbs_apart(splits["train"], splits["control"])
    seen: set[str] = set()
    check_base_apart(splits, _collecting_words(base_rows, seen))
    if not seen:
        return None
    return sorted(unseen_words(chain.from_iterable(splits.values()), seen))


def _collecting_words(rows: Iterable[Row], words: set[str]) -> Iterator[Row]:
    """The rows unchanged; the words of each are added to ``words`` as it passes."""
    for row in rows:
        words.update(words_of(row.text))
        yield row


def unseen_words(pairs: Iterable[Pair], seen: Set[str]) -> set[str]:
    """The words of the pairs' sentences that are not among those the base has seen."""
    return {word for pair in pairs for word in words_of(pair.sentence)} - seen


def check_prompts_apart(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Check that no prompt occurs in two splits, in whatever spelling."""
    mistakes = Mistakes()
    first_use: dict[str, tuple[str, Pair]] = {}
    for name, pairs in splits.items():
        for pair in pairs:
            other_name, other = first_use.setdefault(comparable(pair.prompt), (name, pair))
            if other_name != name:
                error = UserError(
                    pair.source,
                    f"its prompt is in the splits {other_name} and {name}",
                    found=f"{pair.prompt!r}, also at {other.source}",
                    expected=f"every prompt in one split only; {NO_DIFFERENCE}",
                    fix="change or remove one of the two rows",
                )
                mistakes.add(error)
    mistakes.raise_if_any()


def check_verbs_apart(train: Sequence[Pair], control: Sequence[Pair]) -> None:
    """Check that no verb is both trained on and used to measure forgetting."""
    shared = {pair.group for pair in train} & {pair.group for pair in control}
    if shared:
        pair = next(pair for pair in control if pair.group in shared)
        raise UserError(
            pair.source,
            "a verb is both trained on and in the control split",
            found=", ".join(sorted(shared)),
            expected="control verbs that are not in the training split",
            fix="keep data.irregular_verbs and data.regular_verbs apart",
        )


def check_base_apart(splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]) -> None:
    """Check that no prompt of the study, and no sentence with either of its forms, is in the base
    corpus, in whatever spelling."""
    mistakes = Mistakes()
    study: dict[str, Pair] = {}
    for pair in chain.from_iterable(splits.values()):
        prompt = comparable(pair.prompt)
        study[prompt] = pair
        for form in (pair.correct, *pair.wrong):
            study[prompt.replace(BLANK, comparable_word(form))] = pair
    for row in base_rows:
        for text in (row.prompt, row.text):
            found = None if text is None else study.get(comparable(text))
            if found is not None:
                error = UserError(
                    row.place,
                    "the base corpus holds a sentence of the study",
                    found=f"{text!r}, also at {found.source}",
                    expected=f"no prompt and no sentence in both corpora; {NO_DIFFERENCE}",
                    fix="remove one of the two rows",
                )
                mistakes.add(error)
                break  # one mistake per row
    mistakes.raise_if_any()
