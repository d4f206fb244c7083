"""Files in BLiMP's format: a JSON object per line, with a good and a bad sentence.

    {"sentence_good": "The cats annoy Tim.", "sentence_bad": "The cats annoys Tim.", "UID": ...}

A pair of sentences becomes a minimal pair: what both begin with is the prompt, what both end in is
the text after the answer. Scored as whole sentences, prompt + answer + after are the two sentences
again, character by character.

BLiMP: Warstadt et al. 2020, https://aclanthology.org/2020.tacl-1.25
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from minituner.convert.task_rows import TaskRows, why_not_text
from minituner.data.prompts import UNDERSCORES, sentence_text
from minituner.data.task_file import pair_of
from minituner.errors import Mistakes, UserError
from minituner.storage.files import numbered_jsonl
from minituner.storage.messages import brief

SENTENCES = ("sentence_good", "sentence_bad")
SENTENCE_ENDS = ".!?\u3002\uff01\uff1f"
# Characters that belong to the one before them, besides marks and format characters.
EXTENDING = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff\uff9e\uff9f"


# --- one pair of sentences ------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Two sentences that begin and end alike; the prompt may be empty, and so may the end."""

    prompt: str
    target: str
    wrong: str
    after: str

    def sentences(self) -> tuple[str, str]:
        """The good and the bad sentence, as the pipeline writes them for ``sentence`` scoring."""
        prompt, after = self.prompt, self.after
        return sentence_text(prompt, self.target, after), sentence_text(prompt, self.wrong, after)


def parted(good: str, bad: str) -> Parts:
    """The largest common beginning and end of two sentences, cut where words begin and end.

    What follows the answer begins with a space or is the mark that ends the sentence. Neither
    answer is empty, and neither begins with the other if that can be avoided. No character is cut
    off from an accent or joiner after it.

    Args:
        good, bad: Two different sentences, without spaces around them.
    """
    best: Parts | None = None
    for start, end in product([*_starts(good, bad)][::-1], [*_ends(good, bad)][::-1]):
        if start >= min(len(good), len(bad)) - end:
            continue
        parts = Parts(
            good[: max(start - 1, 0)],
            good[start : len(good) - end],
            bad[start : len(bad) - end],
            good[len(good) - end :],
        )
        if parts.sentences() != (good, bad):
            continue
        if not one_begins_other(parts.target, parts.wrong):
            return parts
        best = best or parts
    return best or Parts("", good, bad, "")


def one_begins_other(left: str, right: str) -> bool:
    """Whether one of two texts is the beginning of the other."""
    return left.startswith(right) or right.startswith(left)


def _starts(good: str, bad: str) -> Iterator[int]:
    """The positions where an answer may begin in both sentences, in ascending order."""
    yield 0
    for place, (left, right) in enumerate(zip(good, bad, strict=False)):
        if left != right:
            return
        if _between_words(good, place) and _between_words(bad, place):
            yield place + 1


def _ends(good: str, bad: str) -> Iterator[int]:
    """The lengths of what may follow the answer in both sentences, in ascending order."""
    yield 0
    for length, (left, right) in enumerate(zip(good[::-1], bad[::-1], strict=False), start=1):
        if left != right:
            return
        places = (good, len(good) - length), (bad, len(bad) - length)
        if all(_between_words(*place) or _is_last_mark(*place) for place in places):
            yield length


def _between_words(text: str, place: int) -> bool:
    """Whether there is a single space at ``place``, between two whole characters."""
    if text[place] != " " or not 0 < place < len(text) - 1:
        return False
    before, after = text[place - 1], text[place + 1]
    return not (
        before == " "
        or after == " "
        or after in EXTENDING
        or unicodedata.category(before) == "Cf"
        or unicodedata.category(after) in ("Cf", "Mn", "Mc", "Me")
    )


def _is_last_mark(text: str, place: int) -> bool:
    """Whether the mark that ends the sentence is at ``place``, after a letter or a digit."""
    before = text[place - 1 : place]
    after_word = before.isalnum() or unicodedata.category(before or " ").startswith("M")
    return place == len(text) - 1 and text[place] in SENTENCE_ENDS and after_word


# --- files ----------------------------------------------------------------------------------------


def read_blimp(path: Path, found: TaskRows) -> None:
    """Read a ``.jsonl`` of good and bad sentences; a pair that cannot be scored is skipped.

    A minimal pair has the paradigm (``UID``) as its group and the linguistic term as its form.
    Spaces around a sentence are left out.

    Args:
        found: Where the pairs, or the good sentences alone, are added.

    Raises:
        UserError: The file cannot be read, or a line has no such sentences; all lines are named.
    """
    mistakes = Mistakes()
    for number, row in numbered_jsonl(path):
        with mistakes.noted():
            _add(found, f"{path}:{number}", row)
    mistakes.raise_if_any()


def _add(found: TaskRows, place: str, row: Mapping[str, Any]) -> None:
    """Add one line's pair or text, or note why it is skipped.

    Raises:
        UserError: It lacks a sentence.
    """
    good, bad = (_sentence(place, row, name) for name in SENTENCES)
    why = why_not_text(good) if found.kind == "text" else _why_not_pair(good, bad)
    if why is not None:
        found.skip(place, why)
    elif found.kind == "text":
        found.add(place, {"text": good})
    else:
        paradigm, number = row.get("UID"), row.get("pairID")
        own = {
            "id": f"{paradigm}-{number}" if paradigm and number is not None else None,
            "group": paradigm,
            "form": row.get("linguistics_term") or row.get("field"),
        }
        columns = {name: str(value) for name, value in own.items() if value}
        columns |= asdict(parted(good, bad))
        try:
            pair_of(columns, place)
        except UserError as error:
            found.skip(place, f"that a task refuses: {error.what}")
        else:
            found.add(place, columns)


def _sentence(place: str, row: Mapping[str, Any], name: str) -> str:
    """One of a line's two sentences.

    Raises:
        UserError: There is none.
    """
    sentence = row.get(name)
    if isinstance(sentence, str) and sentence.strip():
        return sentence.strip()
    raise UserError(
        place,
        f"has no {name}",
        found=brief(row),
        expected=f"an object with {' and '.join(SENTENCES)}, as in BLiMP's files",
        fix="write it, or delete the line"
        if set(SENTENCES) & set(row)
        else "name another file; one with prompt, target and wrong is a task's file already, and "
        "one with text a control set",
    )


def _why_not_pair(good: str, bad: str) -> str | None:
    """Why two sentences cannot be a minimal pair; None if they can."""
    if good == bad:
        return "whose two sentences are the same"
    if one_begins_other(good, bad):
        return "of which one sentence begins with the other, which is then always likelier"
    if UNDERSCORES.search(good + bad):
        return "with an underscore, which marks the blank"
    return why_not_text(good) or why_not_text(bad)
