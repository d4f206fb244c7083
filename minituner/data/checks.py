"""What must hold of the splits: no leak of one into another, nor of the study into the base."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain

from minituner.data.corpus import BLANK, Row
from minituner.data.filter import Pair
from minituner.data.spelling import comparable, comparable_word, words_of
from minituner.errors import Mistakes, UserError

NO_DIFFERENCE = "kinds of spaces, apostrophes and quotation marks, and capitals, make no difference"


def check_splits(
    splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]
) -> list[str] | None:
    """Fail loudly if the splits leak into each other or the base.

    Returns:
        The words of the pairs' sentences that the base has not read, sorted; None where its corpus
        is not known.

    Raises:
        UserError: A prompt stands in two splits, train and control share a verb, or the base corpus
            holds a prompt or sentence of the study.
    """
    check_prompts_apart(splits)
    check_verbs_apart(splits["train"], splits["control"])
    read: set[str] = set()
    check_base_apart(splits, _noting_words(base_rows, read))
    if not read:
        return None
    return sorted(unseen_words(chain.from_iterable(splits.values()), read))


def _noting_words(rows: Iterable[Row], words: set[str]) -> Iterator[Row]:
    """The rows as they are; the words of each are added to ``words`` as it passes."""
    for row in rows:
        words.update(words_of(row.text))
        yield row


def unseen_words(pairs: Iterable[Pair], read: Set[str]) -> set[str]:
    """The words of the pairs' sentences that are none of those that the base has read."""
    return {word for pair in pairs for word in words_of(pair.sentence)} - read


def check_prompts_apart(splits: Mapping[str, Sequence[Pair]]) -> None:
    """No prompt stands in two splits, however it is spelled."""
    mistakes = Mistakes()
    seen: dict[str, tuple[str, Pair]] = {}
    for name, pairs in splits.items():
        for pair in pairs:
            other_name, other = seen.setdefault(comparable(pair.prompt), (name, pair))
            if other_name != name:
                error = UserError(
                    pair.source,
                    f"its prompt stands in the splits {other_name} and {name}",
                    found=f"{pair.prompt!r}, also at {other.source}",
                    expected=f"every prompt in one split only; {NO_DIFFERENCE}",
                    fix="change or remove one of the two rows",
                )
                mistakes.add(error)
    mistakes.raise_if_any()


def check_verbs_apart(train: Sequence[Pair], control: Sequence[Pair]) -> None:
    """No verb is both taught and used to measure forgetting."""
    shared = {pair.verb for pair in train} & {pair.verb for pair in control}
    if shared:
        pair = next(pair for pair in control if pair.verb in shared)
        raise UserError(
            pair.source,
            "a verb is both trained on and in the control split",
            found=", ".join(sorted(shared)),
            expected="control verbs that the training split does not hold",
            fix="keep data.irregular_verbs and data.regular_verbs apart",
        )


def check_base_apart(splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]) -> None:
    """No prompt of the study, and no sentence with either of its forms, is in the base corpus,
    however spelled."""
    mistakes = Mistakes()
    study: dict[str, Pair] = {}
    for pair in chain.from_iterable(splits.values()):
        prompt = comparable(pair.prompt)
        study[prompt] = pair
        for form in (pair.english, pair.wrong):
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
                break  # a row is told of once
    mistakes.raise_if_any()
