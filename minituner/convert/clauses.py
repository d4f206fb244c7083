"""The clauses of a sentence and their words, each with its position in the sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from minituner.convert.english import ADVERBS
from minituner.data.spelling import APOSTROPHES, INVISIBLE, comparable

_APOSTROPHE = f"[{re.escape(APOSTROPHES)}]"
# Some apostrophes are letters to Unicode, and combining accents (of decomposed text) are not.
_LETTER = rf"(?:(?!{_APOSTROPHE})[^\W_]|[\u0300-\u036f{INVISIBLE}])"
_WORD = re.compile(rf"{_APOSTROPHE}?{_LETTER}+(?:(?:{_APOSTROPHE}|[-\u2010\u2011]){_LETTER}+)*")
_CONTRACTION = re.compile(
    rf"(.*?)(n{_APOSTROPHE}t|{_APOSTROPHE}(?:ve|s|d|ll|re|m))", re.IGNORECASE | re.DOTALL
)
# Neither a time (9:30) nor an abbreviation ends a clause: a "." does before a capital letter only,
# and so does "...".
_ENDS_CLAUSE = re.compile(r"[!?]|[;:]\W*\s|[.\u2026]\W*\s")
_TITLES = frozenset(["mr", "mrs", "ms", "dr", "st", "prof"])


@dataclass(frozen=True)
class Word:
    """A word, or one half of a contraction: "hasn't" is "has" and "n't"."""

    text: str  # in the spelling of minituner.data.spelling.comparable
    written: str
    start: int  # in the sentence
    end: int
    marked: bool  # first in its clause, or not separated from the word before by spaces alone

    @property
    def capital(self) -> bool:
        """Whether it has a capital letter."""
        return any(letter.isupper() for letter in self.written)

    @property
    def looks_plural(self) -> bool:
        """Whether it ends like a plural noun (or a verb after *she*)."""
        return self.text.endswith("s") and not self.text.endswith(("ss", "us", "is", "'s"))


@dataclass(frozen=True)
class Clause:
    """The words between two of ``. ! ? ; :``."""

    sentence: str  # the whole sentence, to which the words' positions refer
    words: tuple[Word, ...]
    question: bool

    def text(self, at: int | None) -> str:
        """The text of the word at an index; empty for None."""
        return "" if at is None else self.words[at].text

    def quotes(self, at: int) -> bool:
        """Whether a mark other than a comma or a dash is right before a word."""
        if at == 0 or not self.words[at].marked:
            return False
        between = self.sentence[self.words[at - 1].end : self.words[at].start]
        return between.strip() not in (",", "-", "\u2013", "\u2014")

    def before(self, at: int | None) -> int | None:
        """The index of the nearest word before that is not an adverb; None if a mark is between."""
        while at is not None and at > 0 and not self.words[at].marked:
            at -= 1
            if self.words[at].text not in ADVERBS:
                return at
        return None

    def after(self, at: int) -> int | None:
        """The index of the nearest word after that is not an adverb; None if a mark is between."""
        while at + 1 < len(self.words) and not self.words[at + 1].marked:
            at += 1
            if self.words[at].text not in ADVERBS:
                return at
        return None


def clauses_of(sentence: str) -> list[Clause]:
    """The clauses of a sentence, in order."""
    clauses: list[Clause] = []
    words: list[Word] = []
    end = 0
    for found in _WORD.finditer(sentence):
        between = sentence[end : found.start()]
        if words and _ends_clause(words[-1], between, found.group()):
            clauses.append(Clause(sentence, tuple(words), "?" in between))
            words = []
        words += _parts(found.group(), found.start(), not words or not between.isspace())
        end = found.end()
    if words:
        clauses.append(Clause(sentence, tuple(words), "?" in sentence[end:]))
    return clauses


def _ends_clause(last: Word, between: str, following: str) -> bool:
    """Whether the text between two words ends a clause."""
    if not _ENDS_CLAUSE.search(between):
        return False
    if re.search("[!?;:]", between):
        return True
    return last.text not in _TITLES and not following.strip(APOSTROPHES)[:1].islower()


def _parts(written: str, start: int, marked: bool) -> list[Word]:
    """A word with its contractions split off; the latter are never marked."""
    # A quotation mark before a word is not part of it, but a contraction may be by itself: "I 've".
    if written[0] in APOSTROPHES and not _CONTRACTION.fullmatch(written):
        written, start, marked = written[1:], start + 1, True
    cuts = [0, len(written)]
    while found := _CONTRACTION.fullmatch(written[: cuts[1]]):
        if found.end(1) == 0:
            break
        cuts.insert(1, found.end(1))
    return [
        Word(
            text=comparable(written[left:right]),
            written=written[left:right],
            start=start + left,
            end=start + right,
            marked=marked and left == 0,
        )
        for left, right in pairwise(cuts)
    ]
