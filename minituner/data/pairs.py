"""Fill-in pairs, before and after tokenization: their types, their files, and the splits' names.

Row -> Pair -> TokenizedPair -> Example: ``filter`` makes pairs of corpus rows, ``split`` divides
them, ``tokenize`` encodes them, and ``batches`` turns the ids into inputs and shifted labels.

    <bos> He __ to school yesterday. => went / fue <eos>
    |---------- prompt_ids ----------| |- target_ids --|
                                        went /            correct_ids: the form and its end
                                        goed /            wrong_ids, one list per wrong form

The token that ends the form is scored with it: otherwise ``come``, a prefix of ``comed``, would
always win. The Spanish after the slash never enters a comparison of forms.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minituner.data.prompts import BLANK
from minituner.storage.files import iter_jsonl, write_jsonl

IRREGULAR_SPLITS = ("train", "val", "test")
SPLITS = (*IRREGULAR_SPLITS, "control", "probe")
EVALUATED_SPLITS = ("val", "test", "control", "probe")


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with one blank, the correct form, and the wrong forms that it is compared with."""

    id: str
    group: str  # e.g. its verb: the unit that the bootstrap resamples
    form: str  # its tense, one of verbs.PAST_TENSES
    frame: str
    complement: str
    prompt: str
    correct: str
    after: str  # the text that follows the form, e.g. " / fue"; may be empty
    wrong: tuple[str, ...]
    source: str  # file:line, for messages

    def __post_init__(self) -> None:
        # A few words occur in many pairs: interned, a million pairs take a third less memory.
        for name in ("group", "form", "frame", "correct", "after"):
            object.__setattr__(self, name, sys.intern(getattr(self, name)))
        object.__setattr__(self, "wrong", tuple(map(sys.intern, self.wrong)))  # a list in JSON

    @property
    def sentence(self) -> str:
        """The prompt with the correct form in its blank."""
        return self.prompt.replace(BLANK, self.correct)


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """A pair and its token ids; ``prompt_ids + target_ids`` is the whole text that is trained on.

    Evaluation compares ``prompt_ids + correct_ids`` with ``prompt_ids`` and each of ``wrong_ids``.
    """

    id: str
    group: str  # e.g. its verb: the unit that the bootstrap resamples
    form: str
    frame: str
    complement: str
    prompt: str
    correct: str
    after: str
    wrong: list[str]
    prompt_ids: list[int]
    target_ids: list[int]
    correct_ids: list[int]
    wrong_ids: list[list[int]]  # one list per wrong form

    @property
    def tokens(self) -> int:
        """The length of the longest of its texts, with the right and with each wrong form."""
        return len(self.prompt_ids) + max(map(len, (self.target_ids, *self.wrong_ids)))


def iter_pairs(path: str | Path) -> Iterator[Pair]:
    """The pairs of a file that ``filter`` or ``split`` wrote, one at a time."""
    return (Pair(**row) for row in iter_jsonl(path))


def read_tokenized_pairs(path: str | Path) -> list[TokenizedPair]:
    """The pairs of one split's file, as ``tokenize`` wrote it."""
    return [TokenizedPair(**row) for row in iter_jsonl(path)]


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSON lines, all of them or nothing."""
    write_jsonl(path, pair_rows(pairs))


def write_splits(paths: Mapping[str, str], splits: Mapping[str, Iterable[Pair]]) -> None:
    """Write the pairs of every split to the file of its name."""
    for name, pairs in splits.items():
        write_pairs(paths[name], pairs)


def pair_rows(pairs: Iterable[Pair] | Iterable[TokenizedPair]) -> Iterator[dict[str, Any]]:
    """Pairs as JSON objects, one at a time; all are of one type."""
    names: list[str] = []
    for pair in pairs:
        names = names or [field.name for field in fields(pair)]
        yield {name: getattr(pair, name) for name in names}
