"""Fill-in pairs: what they are, how corpus rows become them, and their files."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minituner.commands import in_config
from minituner.data.corpus import BLANK, Row
from minituner.data.spelling import comparable, plainness
from minituner.data.verbs import Verb
from minituner.errors import Mistakes, UserError
from minituner.storage.files import iter_jsonl
from minituner.storage.messages import nearest

FORMS = ("past_simple", "past_participle")
SPLITS = ("train", "val", "test", "control", "probe")


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with one blank, the form that fills it and the wrong form it is weighed against."""

    id: str
    verb: str
    form: str  # one of FORMS
    frame: str
    complement: str
    prompt: str
    english: str
    spanish: str  # "" where the corpus gives none
    wrong: str
    source: str  # file:line, for messages

    def __post_init__(self) -> None:
        # Few words in many pairs: kept once each, a million pairs take a third less memory.
        for name in ("verb", "form", "frame", "english", "spanish", "wrong"):
            object.__setattr__(self, name, sys.intern(getattr(self, name)))

    @property
    def sentence(self) -> str:
        """The prompt with its blank filled in."""
        return self.prompt.replace(BLANK, self.english)


def filter_rows(
    rows: Iterable[Row],
    verbs: Mapping[str, Verb],
    irregular_verbs: Sequence[str],
    regular_verbs: Sequence[str],
) -> tuple[list[Pair], list[Pair], dict[str, Any]]:
    """Keep the past simple and participle rows of the study's verbs.

    Returns:
        The irregular pairs, the regular pairs, and how many rows were kept and dropped, by reason.
        Pairs come sorted by content: the order of the rows means nothing.

    Raises:
        UserError: A verb is not among ``verbs``.
    """
    check_known(verbs, irregular_verbs=irregular_verbs, regular_verbs=regular_verbs)
    group = dict.fromkeys(irregular_verbs, "irregular") | dict.fromkeys(regular_verbs, "regular")
    kept: dict[str, list[Pair]] = {"irregular": [], "regular": []}
    dropped: Counter[str] = Counter()
    for row in rows:
        if row.tense not in FORMS:
            dropped[f"tense {row.tense}"] += 1
        elif row.verb_lemma not in group:
            dropped["verb outside the study"] += 1
        elif row.prompt is None:
            dropped["no prompt to fill in"] += 1
        else:
            kept[group[row.verb_lemma]].append(pair_of_row(row, verbs))
    for name, pairs in kept.items():
        kept[name] = sorted(without_duplicates(pairs), key=content)
        dropped[f"duplicate {name}"] = len(pairs) - len(kept[name])
    summary = {
        "kept": {name: len(pairs) for name, pairs in kept.items()},
        "dropped": dict(sorted(dropped.items())),
    }
    return kept["irregular"], kept["regular"], summary


def check_known(verbs: Mapping[str, Verb], **lemmas: Sequence[str]) -> None:
    """Every verb that the config names has its forms in data.verbs.

    Args:
        lemmas: The names, by their key under ``data``.

    Raises:
        UserError: Naming each that has not.
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
    """The fill-in pair of one row: the target is the correct form, whichever side was written.

    A mis-conjugated row (the wrong half of a correction pair) thus gives the same pair as its
    correct half.
    """
    assert row.prompt is not None
    return Pair(
        id=row.id,
        verb=row.verb_lemma,
        form=row.tense,
        frame=row.frame or "unspecified",
        complement=row.complement or "",
        prompt=row.prompt,
        english=row.correct_english,
        spanish=row.target_spanish or "",
        wrong=verbs[row.verb_lemma].wrong(row.tense),
        source=f"{row.path}:{row.line}",
    )


def without_duplicates(pairs: Iterable[Pair]) -> list[Pair]:
    """One of all pairs with the same form in :func:`comparable` prompts, whatever their order: one
    with Spanish rather than one without, and of those the one with the plainest spelling."""
    kept: dict[tuple[str, str], Pair] = {}

    def rank(pair: Pair) -> tuple[object, ...]:
        spanish = plainness(pair.spanish, begins=False)
        return not pair.spanish, plainness(pair.prompt), spanish, content(pair)

    for pair in pairs:
        key = comparable(pair.prompt), pair.english
        if key not in kept or rank(pair) < rank(kept[key]):
            kept[key] = pair
    return list(kept.values())


def content(pair: Pair) -> tuple[str, ...]:
    """What pairs are sorted by."""
    return pair.verb, pair.form, pair.prompt, pair.english, pair.id


def iter_pair_rows(path: str | Path) -> Iterator[Pair]:
    """The pairs of a file that ``filter`` or ``split`` wrote, one at a time."""
    return (Pair(**row) for row in iter_jsonl(path))


def pair_rows(pairs: Iterable[Pair]) -> Iterator[dict[str, str]]:
    """Pairs as JSON objects."""
    names = [field.name for field in fields(Pair)]
    return ({name: getattr(pair, name) for name in names} for pair in pairs)
