"""Leakage checks: no question or group leaks from split to split, no sentence of the study into the
base corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from pathlib import Path
from typing import Any

from minituner.data.corpus import iter_rows
from minituner.data.pairs import Pair
from minituner.data.prompts import BLANK, Scoring, sentence_text
from minituner.data.rows import Row
from minituner.data.spelling import comparable, comparable_word, words_of
from minituner.data.verbs import load_verbs
from minituner.errors import Mistakes, UserError

FEWEST_WORDS = 3
NO_DIFFERENCE = "kinds of spaces, apostrophes and quotation marks, and capitals, make no difference"


def check_leakage(
    splits: Mapping[str, Sequence[Pair]],
    base_corpus: Sequence[str | Path],
    verbs: str | Path,
    task: Mapping[str, Any],
) -> list[str] | None:
    """``check_splits`` with the rows of the base corpus.

    Args:
        base_corpus: Its files; none if the base was trained elsewhere.
        verbs: The file of the verbs' forms, which the base corpus is read with.
        task: ``pairs``, which is None in the study of verbs, and ``scoring``.

    Raises:
        UserError: As ``check_splits``, or a file cannot be used.
    """
    rows = iter_rows(base_corpus, load_verbs(verbs)) if base_corpus else ()
    # Splits of a verb corpus do not depend on the scoring.
    return check_splits(splits, rows, "fill_in" if task["pairs"] is None else task["scoring"])


def question(pair: Pair, scoring: Scoring = "fill_in") -> str:
    """What a pair asks, in a form for comparisons: pairs that ask the same belong into one split.

    In ``fill_in`` scoring it is the prompt, whatever its answer; but a prompt without a blank and
    with fewer than ``FEWEST_WORDS`` words asks nothing by itself. There, and in ``sentence``
    scoring, where many pairs may have one frame, it is the whole right sentence.
    """
    asks = BLANK in pair.prompt or len(pair.prompt.split()) >= FEWEST_WORDS
    return comparable(pair.prompt if scoring == "fill_in" and asks else pair.sentence)


def check_splits(
    splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row], scoring: Scoring = "fill_in"
) -> list[str] | None:
    """Check that the splits leak neither into each other nor into the base corpus.

    Returns:
        The words of the pairs' sentences that are not in the base corpus, sorted; None if that
        corpus is not known.

    Raises:
        UserError: A question occurs in two splits, train and control share a group, or the base
            corpus has a prompt or sentence of the study.
    """
    check_prompts_apart(splits, scoring)
    check_groups_apart(splits["train"], splits["control"])
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


def check_prompts_apart(splits: Mapping[str, Sequence[Pair]], scoring: Scoring = "fill_in") -> None:
    """Check that no :func:`question` occurs in two splits, in whatever spelling; only two control
    sets may share one."""
    mistakes = Mistakes()
    first_use: dict[str, tuple[str, Pair]] = {}
    for name, pairs in splits.items():
        for pair in pairs:
            other_name, other = first_use.setdefault(question(pair, scoring), (name, pair))
            if other_name != name and not _are_controls(name, other_name):
                error = UserError(
                    pair.source,
                    f"its prompt is in the splits {other_name} and {name}",
                    found=f"{pair.prompt or pair.sentence!r}, also at {other.source}",
                    expected=f"every prompt in one split only; {NO_DIFFERENCE}",
                    fix="change or remove one of the two rows",
                )
                mistakes.add(error)
    mistakes.raise_if_any()


def _are_controls(*splits: str) -> bool:
    return all(name == "control" or name.startswith("controls/") for name in splits)


def check_groups_apart(train: Sequence[Pair], control: Sequence[Pair]) -> None:
    """Check that no group is both trained on and used to measure forgetting."""
    shared = ({pair.group for pair in train} & {pair.group for pair in control}) - {""}
    if shared:
        pair = next(pair for pair in control if pair.group in shared)
        raise UserError(
            pair.source,
            "a group is both trained on and in the control split",
            found=", ".join(sorted(shared)),
            expected="control pairs whose groups (such as verbs) are not in the training split",
            fix="take these groups out of the control set, or give its pairs others",
        )


def check_base_apart(splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]) -> None:
    """Check that no prompt of the study, and no sentence with either of its forms, is in the base
    corpus, in whatever spelling."""
    mistakes = Mistakes()
    study: dict[str, Pair] = {}
    for pair in chain.from_iterable(splits.values()):
        prompt = comparable(pair.prompt)
        if BLANK in prompt:
            study[prompt] = pair
        for form in (pair.correct, *pair.wrong):
            study[
                prompt.replace(BLANK, comparable_word(form))
                if BLANK in prompt
                else comparable(sentence_text(pair.prompt, form, pair.after))
            ] = pair
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
