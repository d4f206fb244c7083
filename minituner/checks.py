"""What must hold of the splits: no leak into another or the base, and a control like the rest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from minituner.commands import in_config
from minituner.corpus import BLANK, Row
from minituner.data import Pair
from minituner.errors import Mistakes, UserError
from minituner.splits import SplitSettings
from minituner.text import comparable, comparable_word

UNSEEN_SHOWN = 10
NO_DIFFERENCE = "spaces, apostrophes, quotation marks and capitals make no difference"


def check_splits(
    splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row], settings: SplitSettings
) -> dict[str, Any]:
    """Fail loudly if the splits leak into each other or the base, or are not alike.

    Returns:
        The distributions that were compared (:func:`compare_distributions`), and for each split the
        words that the base has not read (``unseen_words``; None where its corpus is not known).

    Raises:
        UserError: A prompt stands in two splits, train and control share a verb, the base corpus
            holds a prompt or sentence of the study, or control and irregular pairs are not alike.
    """
    check_prompts_apart(splits)
    check_verbs_apart(splits["train"], splits["control"])
    read: set[str] = set()
    check_base_apart(splits, _noting_words(base_rows, read))
    distributions = compare_distributions(
        [*splits["train"], *splits["val"], *splits["test"]], splits["control"]
    )
    check_alike(distributions, settings)
    unseen = {name: unseen_words(pairs, read) for name, pairs in splits.items()} if read else None
    return distributions | {"unseen_words": unseen}


def _noting_words(rows: Iterable[Row], words: set[str]) -> Iterator[Row]:
    """The rows as they are; the words of each are added to ``words`` as it passes."""
    for row in rows:
        words.update(words_of(row.text))
        yield row


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared (:func:`comparable`), apostrophes and hyphens inside
    them included."""
    return re.findall(r"\w+(?:['-]\w+)*", comparable(text))


def unseen_words(pairs: Iterable[Pair], read: Collection[str]) -> dict[str, Any]:
    """How many of the words in the pairs' sentences are none of those that the base has read, and
    the first few that occur most."""
    counts = Counter(word for pair in pairs for word in words_of(pair.sentence))
    unseen = Counter({word: n for word, n in counts.items() if word not in read})
    shown = sorted(unseen, key=lambda word: (-unseen[word], word))[:UNSEEN_SHOWN]
    return {"words": counts.total(), "unseen": unseen.total(), "most": shown}


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
                    mend="change or remove one of the two rows",
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
            mend="keep data.irregular_verbs and data.regular_verbs apart",
        )


def check_base_apart(splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]) -> None:
    """No prompt and no filled-in sentence of the study is in the base corpus, however spelled."""
    mistakes = Mistakes()
    study: dict[str, Pair] = {}
    for pair in chain.from_iterable(splits.values()):
        prompt = comparable(pair.prompt)
        sentence = prompt.replace(BLANK, comparable_word(pair.english))
        study[prompt] = study[sentence] = pair
    for row in base_rows:
        for text in (row.prompt, row.text):
            found = None if text is None else study.get(comparable(text))
            if found is not None:
                error = UserError(
                    row.place,
                    "the base corpus holds a sentence of the study",
                    found=f"{text!r}, also at {found.source}",
                    expected=f"no prompt and no sentence in both corpora; {NO_DIFFERENCE}",
                    mend="remove one of the two rows",
                )
                mistakes.add(error)
                break  # a row is told of once
    mistakes.raise_if_any()


def compare_distributions(irregular: Sequence[Pair], control: Sequence[Pair]) -> dict[str, Any]:
    """Frame types and prompt lengths (in words) of both sets, and how far apart they are."""

    def describe(pairs: Sequence[Pair]) -> dict[str, Any]:
        return {
            "pairs": len(pairs),
            "frames": _counts(pairs, lambda pair: pair.frame),
            "prompt_words": _counts(pairs, lambda pair: f"{len(pair.prompt.split()):02d}"),
            "mean_prompt_words": sum(len(p.prompt.split()) for p in pairs) / len(pairs),
        }

    left, right = describe(irregular), describe(control)
    frames = left["frames"].keys() | right["frames"].keys()
    distance = 0.5 * sum(
        abs(left["frames"].get(f, 0) / left["pairs"] - right["frames"].get(f, 0) / right["pairs"])
        for f in sorted(frames)
    )
    return {
        "irregular": left,
        "control": right,
        "frame_distance": round(distance, 6),
        "length_difference_words": round(right["mean_prompt_words"] - left["mean_prompt_words"], 6),
    }


def _counts(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> dict[str, int]:
    return dict(sorted(Counter(key(pair) for pair in pairs).items()))


def check_alike(distributions: Mapping[str, Any], settings: SplitSettings) -> None:
    """The control pairs must resemble the irregular ones, or drift would measure the frames."""
    for key, limit in (
        ("frame_distance", settings.max_frame_distance),
        ("length_difference_words", settings.max_length_difference_words),
    ):
        if abs(distributions[key]) > limit:
            raise UserError(
                in_config("data.corpus"),
                "the regular control pairs do not resemble the irregular ones",
                found=f"{key} {distributions[key]} (irregular: {distributions['irregular']}; "
                f"control: {distributions['control']})",
                expected=f"at most {limit}",
                mend=f"even out the corpus, or raise {in_config(f'data.split.max_{key}')}",
            )
