"""Stage ``filter``: corpus rows of the study's verbs become fill-in pairs, without duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from minituner.commands import in_config
from minituner.data.corpus import iter_rows
from minituner.data.pairs import Pair
from minituner.data.prompts import after_text
from minituner.data.rows import Row
from minituner.data.spelling import comparable, plainness
from minituner.data.verbs import PAST_TENSES, Verb, load_verbs
from minituner.errors import Mistakes, UserError
from minituner.storage.messages import nearest


class Filtered(NamedTuple):
    """The pairs that were kept, each list sorted by content: the order of rows does not matter."""

    irregular: list[Pair]
    regular: list[Pair]
    summary: dict[str, dict[str, int]]  # rows kept by list, and dropped by reason


def filter_corpus(
    corpus: Iterable[str | Path],
    verbs: str | Path,
    irregular_verbs: Sequence[str],
    regular_verbs: Sequence[str],
) -> Filtered:
    """``filter_rows`` of a corpus's files.

    Args:
        corpus: The corpus's files.
        verbs: The file of the verbs' forms.

    Raises:
        UserError: A file cannot be used, or a verb is unknown.
    """
    known = load_verbs(verbs)
    return filter_rows(iter_rows(corpus, known), known, irregular_verbs, regular_verbs)


def filter_rows(
    rows: Iterable[Row],
    verbs: Mapping[str, Verb],
    irregular_verbs: Sequence[str],
    regular_verbs: Sequence[str],
) -> Filtered:
    """Keep the past simple and participle rows of the study's verbs, as pairs.

    Raises:
        UserError: A verb is not among ``verbs``.
    """
    check_known(verbs, irregular_verbs=irregular_verbs, regular_verbs=regular_verbs)
    irregular: list[Pair] = []
    regular: list[Pair] = []
    pairs_of = dict.fromkeys(irregular_verbs, irregular) | dict.fromkeys(regular_verbs, regular)
    dropped: Counter[str] = Counter()
    for row in rows:
        if row.tense not in PAST_TENSES:
            dropped[f"tense {row.tense}"] += 1
        elif row.verb_lemma not in pairs_of:
            dropped["verb outside the study"] += 1
        elif row.prompt is None:
            dropped["no prompt to fill in"] += 1
        else:
            pairs_of[row.verb_lemma].append(pair_of_row(row, verbs))
    kept = {
        name: sorted(without_duplicates(pairs), key=content)
        for name, pairs in (("irregular", irregular), ("regular", regular))
    }
    dropped["duplicate irregular"] = len(irregular) - len(kept["irregular"])
    dropped["duplicate regular"] = len(regular) - len(kept["regular"])
    summary = {
        "kept": {name: len(pairs) for name, pairs in kept.items()},
        "dropped": dict(sorted(dropped.items())),
    }
    return Filtered(kept["irregular"], kept["regular"], summary)


def check_known(verbs: Mapping[str, Verb], **lemmas: Sequence[str]) -> None:
    """Check that the forms of every verb that the config names are known.

    Args:
        lemmas: The verbs, by their key under ``data`` in the config.

    Raises:
        UserError: It names every verb that is not among ``verbs``.
    """
    mistakes = Mistakes()
    for key, names in lemmas.items():
        for unknown in (name for name in names if name not in verbs):
            near = nearest(unknown, verbs)
            mistakes.add(
                UserError(
                    in_config(f"data.{key}"),
                    "names a verb whose forms are not known",
                    found=unknown,
                    expected=f"verbs of data.verbs: {', '.join(verbs)}",
                    fix=(f"{near} If not, " if near else "fix the name, or ")
                    + "write the verb's forms into that file",
                )
            )
    mistakes.raise_if_any()


def pair_of_row(row: Row, verbs: Mapping[str, Verb]) -> Pair:
    """The pair of a fill-in row. Its target is the correct form, whichever one the text has, so
    the two rows of a correction give the same pair.

    Raises:
        ValueError: It is a plain row.
    """
    if row.prompt is None:
        raise ValueError(f"{row.place}: a plain row makes no pair")
    return Pair(
        id=row.id,
        group=row.verb_lemma,
        form=row.tense,
        frame=row.frame or "unspecified",
        complement=row.complement or "",
        prompt=row.prompt,
        correct=row.correct_english,
        after=after_text(row.target_spanish),
        wrong=(verbs[row.verb_lemma].wrong(row.tense),),
        source=row.place,
    )


def without_duplicates(pairs: Iterable[Pair]) -> list[Pair]:
    """One of all pairs with the same form in the same prompt, up to :func:`comparable` spelling.

    Which one is kept does not depend on their order: one with Spanish before one without, then the
    one with the plainest spelling.
    """
    kept: dict[tuple[str, str], Pair] = {}

    def rank(pair: Pair) -> tuple[object, ...]:
        after = plainness(pair.after, begins=False)
        return not pair.after, plainness(pair.prompt), after, content(pair)

    for pair in pairs:
        key = comparable(pair.prompt), pair.correct
        if key not in kept or rank(pair) < rank(kept[key]):
            kept[key] = pair
    return list(kept.values())


def content(pair: Pair) -> tuple[str, ...]:
    """The key that pairs are sorted by."""
    return pair.group, pair.form, pair.prompt, pair.correct, pair.id
