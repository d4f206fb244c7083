"""Fill-in pairs, before and after tokenization: their types, their files, and the splits' names.

Row -> Pair -> TokenizedPair -> Example: ``filter`` makes pairs of corpus rows (``read_task``, of a
task file's lines), ``split`` divides them, ``tokenize`` encodes them, and ``batches`` turns the ids
into inputs and shifted labels.

    <bos> He __ to school yesterday. => went / fue <eos>
    |---------- prompt_ids ----------| |- target_ids --|
                                        went /            correct_ids: the form and its end
                                        goed /            wrong_ids, one list per wrong form

The token that ends the form is scored with it: otherwise ``come``, a prefix of ``comed``, would
always win. The Spanish after the slash never enters a comparison of forms.

A text of a control set is a pair with an empty prompt and no wrong form: ``correct`` is the text.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from minituner.data.prompts import sentence_text
from minituner.storage.files import iter_jsonl, write_jsonl

TASK_SPLITS = ("train", "val", "test")
SPLITS = (*TASK_SPLITS, "control", "probe")
EVALUATED_SPLITS = ("val", "test", "control", "probe")
FURTHER_CONTROLS = "controls/"  # begins the split of each further control set: controls/french


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt, the correct form, and the wrong forms that it is compared with. Without a blank in
    the prompt the form follows it."""

    id: str
    group: str  # e.g. its verb: what the bootstrap resamples; pairs, if it is empty in all of them
    form: str  # e.g. its tense; may be empty
    frame: str
    complement: str
    prompt: str
    correct: str
    after: str  # the text that follows the form, e.g. " / fue"; may be empty
    wrong: tuple[str, ...]
    source: str  # file:line, for messages
    split: str = ""  # of TASK_SPLITS, if the pair's file says; otherwise it is drawn

    def __post_init__(self) -> None:
        # A few words occur in many pairs: interned, a million pairs take a third less memory.
        for name in ("group", "form", "frame", "correct", "after"):
            object.__setattr__(self, name, sys.intern(getattr(self, name)))
        object.__setattr__(self, "wrong", tuple(map(sys.intern, self.wrong)))  # a list in JSON

    @property
    def sentence(self) -> str:
        """The sentence with the correct form."""
        return sentence_text(self.prompt, self.correct, self.after)


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
    def sentence(self) -> str:
        """The sentence with the correct form."""
        return sentence_text(self.prompt, self.correct, self.after)

    @property
    def tokens(self) -> int:
        """The length of the longest of its texts, with the right and with each wrong form."""
        return len(self.prompt_ids) + max(map(len, (self.target_ids, *self.wrong_ids)))


def further_controls(splits: Iterable[str]) -> dict[str, str]:
    """By the name of each further control set: its split, ``controls/<name>``."""
    return {
        split.removeprefix(FURTHER_CONTROLS): split
        for split in splits
        if split.startswith(FURTHER_CONTROLS)
    }


def iter_pairs(path: str | Path) -> Iterator[Pair]:
    """The pairs of a file that ``filter`` or ``split`` wrote, one at a time."""
    return (Pair(**row) for row in iter_jsonl(path))


def read_tokenized_pairs(path: str | Path) -> list[TokenizedPair]:
    """The pairs of one split's file, as ``tokenize`` wrote it."""
    return [TokenizedPair(**row) for row in iter_jsonl(path)]


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as JSON lines, all of them or nothing."""
    write_jsonl(path, pair_rows(pairs))


def split_files_of(files: Mapping[str, Any]) -> dict[str, str]:
    """The file of every split among a rule's inputs or outputs, by the split's name.

    A further control set is a split as well, named ``controls/<name>``; their files are under
    ``controls``, if there are any.
    """
    return {name: files[name] for name in SPLITS} | further_control_files(files)


def further_control_files(files: Mapping[str, Any]) -> dict[str, str]:
    """The files of further control sets among a rule's inputs or outputs, by the split's name."""
    further = files.get("controls") or ()
    return {f"{FURTHER_CONTROLS}{Path(file).stem}": file for file in further}


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
