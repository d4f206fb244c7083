"""Finds the past forms in a sentence, and decides their tense where the context makes it certain.

A form that can be a past participle is one right after a form of *have*, with only adverbs in
between, or a pronoun or a name in a question ("Has she ever gone?"). A form that can only be the
past simple ("went") is that. One that can be both ("worked", "had") is the past simple right after
its subject: a pronoun, or a name or noun phrase that begins the clause. If an auxiliary precedes
the form in its clause, or another verb that may belong to its subject follows, it is uncertain.
Everything else is reported as doubtful with the reason, and so are participles after *be*
(passives), since the corpus has no passives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

from minituner.convert import english
from minituner.convert.clauses import Clause, Word, clauses_of
from minituner.convert.english import Vocabulary
from minituner.convert.subjects import (
    begins,
    ends_relative_clause,
    has_no_verb,
    has_subject,
    person_of,
)
from minituner.data.verbs import PAST_TENSES

PAST, PARTICIPLE = PAST_TENSES


@dataclass(frozen=True)
class Finding:
    """A word that is, or may be, a past form."""

    word: Word
    tense: str | None  # None if it is in doubt
    possible: tuple[str, ...]  # the tenses that the form can have
    why: str = ""  # the reason for the doubt
    person: str | None = None  # of its subject, if known


def past_forms(sentence: str, vocabulary: Vocabulary) -> Iterator[Finding]:
    """The past forms of the known verbs in a sentence, in order.

    An infinitive is not one, nor is a *had* or *did* that is only an auxiliary.
    """
    for clause in clauses_of(sentence):
        for at, word in enumerate(clause.words):
            if word.text not in vocabulary.past and word.text not in vocabulary.participles:
                continue
            finding = _Candidate(clause, at, vocabulary).classify()
            if finding is not None and word.capital:
                yield Finding(word, None, (), "has a capital letter, which the answer would lose")
            elif finding is not None:
                yield finding


@dataclass(frozen=True)
class _Candidate:
    """A word that may be a past form, in the context of its clause."""

    clause: Clause
    at: int
    vocabulary: Vocabulary

    @property
    def word(self) -> Word:
        return self.clause.words[self.at]

    @cached_property
    def possible(self) -> tuple[str, ...]:
        """The tenses that the form can have."""
        forms = (self.vocabulary.past, self.vocabulary.participles)
        return tuple(
            tense for tense, of in zip(PAST_TENSES, forms, strict=True) if self.word.text in of
        )

    def classify(self) -> Finding | None:
        """The form's tense or the doubt about it; None if it is not a past form here."""
        is_base = self.word.text in self.vocabulary.bases
        perfect = self.in_perfect(is_base)
        auxiliary = self.is_auxiliary()
        if PARTICIPLE in self.possible and perfect and not auxiliary:
            if self.may_describe():
                return self.doubt(f"may describe `{self.clause.words[self.at + 1].written}`")
            have = self.clause.before(self.at)
            if PAST in self.possible and ends_relative_clause(self.clause, have, self.vocabulary):
                return self.doubt("may be the past simple after a relative clause")
            return self.certain(PARTICIPLE)
        if is_base:
            return self.classify_base(perfect)
        if auxiliary:
            return None
        if perfect:
            return self.doubt("is not a past participle" + self.context)
        if perfect is None and PARTICIPLE in self.possible:
            return self.doubt(self.uncertainty)
        if self.possible == (PARTICIPLE,):
            return self.doubt(
                "is a participle, and it is not certain that a form of have goes with it"
            )
        return self.classify_past(auxiliary)

    def classify_base(self, perfect: bool | None) -> Finding | None:
        """``classify`` for a form that can also be an infinitive or present: "come", "put"."""
        if perfect is False and self.after_modal():
            return None
        if PAST in self.possible:
            return self.doubt("may be the present or the past")
        earlier = {word.text for word in self.clause.words[: self.at]}
        if perfect is None or earlier & (english.HAVE | {"'s", "'d"}):
            return self.doubt("may be the present or a past participle")
        return None

    def classify_past(self, auxiliary: bool | None) -> Finding:
        """``classify`` for a form without a form of have before it."""
        before = self.clause.text(self.clause.before(self.at))
        if before in english.ARTICLES | english.BE | {"to", "'s", "'d"} or self.after_modal():
            return self.doubt("may not be the past simple" + self.context)
        if not self.agrees():
            return self.doubt("does not agree" + self.context)
        if self.clause.quotes(self.at):
            return self.doubt("begins a quotation")
        unambiguous = PARTICIPLE not in self.possible and self.word.text != "did"
        unambiguous = unambiguous and self.word.text not in self.vocabulary.other_words
        if other := self.other_verb(unambiguous):
            return self.doubt(f"is in one clause with another verb, `{other.written}`")
        if unambiguous:
            return self.certain(PAST)
        if not has_subject(self.clause, self.at, self.vocabulary):
            return self.doubt(self.uncertainty)
        if auxiliary is None:
            return self.doubt("may only be an auxiliary")
        return self.certain(PAST)

    def other_verb(self, unambiguous: bool) -> Word | None:
        """An auxiliary before the form that may belong to it ("Why are they liked?"), or a finite
        verb after it that may belong to its subject ("The word went is past"); None if neither."""
        auxiliaries = english.FINITE | (frozenset() if unambiguous else {"'s", "'d"})
        words = self.clause.words
        if before := [word for word in words[: self.at] if word.text in auxiliaries]:
            return before[-1]
        for last, word in pairwise(words[self.at :]):
            if word.marked or word.text in english.JOINERS:
                return None
            if word.text in english.FINITE and last.text != "to":
                return word
        return None

    def certain(self, tense: str) -> Finding:
        """The finding that the form has this tense."""
        person = person_of(self.clause, self.at, self.vocabulary)
        return Finding(self.word, tense, self.possible, person=person)

    def doubt(self, why: str) -> Finding:
        """The finding that the form's tense is not certain."""
        return replace(self.certain(PAST), tense=None, why=why)

    @property
    def uncertainty(self) -> str:
        """The reason why the form's tense is not certain."""
        other = self.vocabulary.other_words.get(self.word.text)
        if self.possible == (PARTICIPLE,):
            what = "may be a past participle after has or had, or something else"
        elif PARTICIPLE in self.possible:
            what = "may be the past simple or a past participle"
        else:
            what = f"may be another word ({other})" if other else "may only be an auxiliary"
        return what + self.context

    @property
    def context(self) -> str:
        """Up to four words before the form, back to a mark, as written."""
        words, first = self.clause.words, self.at
        while first > 0 and not words[first].marked and self.at - first < 4:
            first -= 1
        if first == self.at:
            return " at the beginning or after a mark"
        written = self.clause.sentence[
            self.clause.words[first].start : self.clause.words[self.at - 1].end
        ]
        return f" after `{written}`"

    def in_perfect(self, is_base: bool) -> bool | None:
        """Whether the word is the participle of a form of have; None if that is uncertain."""
        near = self.clause.before(self.at)
        text = self.clause.text(near)
        if near is None or text in english.HAVE:
            return near is not None
        if text == "'d":
            return None if is_base else True  # "he'd come" is "he would come" too
        if text == "'s":
            pronouns = english.SUBJECTS | english.EITHER | {"who", "that"}
            pronoun = near > 0 and self.clause.text(near - 1) in pronouns
            return True if pronoun and self.word.text in ("been", "had") else None
        far = self.clause.before(near)
        if self.clause.text(far) in ("'s", "'d"):
            return None  # "What's he eaten?"
        if far is None or self.clause.text(far) not in english.HAVE:
            return False
        may_be_subject = (
            text in english.SUBJECTS | english.EITHER or self.clause.words[near].capital
        )
        if not may_be_subject and text in english.FUNCTION_WORDS:
            return False  # "They have to come"
        asks = text in english.SUBJECTS or (may_be_subject and self.clause.question)
        return True if asks and begins(self.clause, far) else None  # "What we have we started"

    def may_describe(self) -> bool:
        """Whether it can be an adjective of a plural noun right after it: "has broken ribs"."""
        near, following = self.clause.before(self.at), self.at + 1
        if (
            near != self.at - 1
            or self.clause.text(near) == "'ve"
            or following == len(self.clause.words)
        ):
            return False
        noun = self.clause.words[following]
        return (
            self.word.text not in english.NO_ADJECTIVES
            and not noun.marked
            and noun.looks_plural
            and noun.text not in english.FOLLOWERS | english.FUNCTION_WORDS
        )

    def after_modal(self) -> bool:
        """Whether "to" or a modal verb precedes it, perhaps with a pronoun in between."""
        near = self.clause.before(self.at)
        if self.clause.text(near) in english.MODALS | {"to"}:
            return True
        between = self.clause.text(near) in english.SUBJECTS | english.EITHER
        return between and self.clause.text(self.clause.before(near)) in english.MODALS

    def agrees(self) -> bool:
        """Whether it agrees with a pronoun right before it, as it does not in "If I were rich"."""
        near = self.clause.before(self.at)
        person = english.PERSON_OF.get(self.clause.text(near))
        if near is None or person is None or PAST not in self.possible:
            return True
        joined = near > 0 and self.clause.words[near - 1].text in english.CONJUNCTIONS
        return joined or person in self.vocabulary.persons[self.word.text]

    def is_auxiliary(self) -> bool | None:
        """Whether it is only an auxiliary, as had, did and used can be; None if uncertain."""
        if self.word.text not in english.AUXILIARIES:
            return False
        if self.word.text == "used":
            return None if "to" in self.later else False
        following = self.clause.after(self.at)
        inverted = following is not None and self.inverted(following)
        if self.word.text == "did" and (inverted or self.later[:1] in (["not"], ["n't"])):
            return True
        if inverted and following is not None:
            following = self.clause.after(following)
        helped = self.vocabulary.bases if self.word.text == "did" else self.vocabulary.participles
        if self.clause.text(following) in helped:
            return True
        if inverted or following != self.at + 1:
            return None
        return False if self.has_object() else None

    @property
    def later(self) -> list[str]:
        """The texts of the words after it in its clause."""
        return [word.text for word in self.clause.words[self.at + 1 :]]

    def has_object(self) -> bool:
        """Whether the word right after a had or did can only begin its object, and no verb follows
        of which it may be the auxiliary, unlike in "They had at last gone"."""
        following, rest = self.later[0], self.clause.words[self.at + 1 :]
        # "had to come" is an obligation and not a perfect.
        verbs = [text for last, text in pairwise(["", *self.later]) if last != "to"]
        if self.word.text == "did":
            objects = following in english.OBJECTS and not following.endswith(("self", "selves"))
            determined = following in english.ARTICLES or self.later[:2] == ["all", "the"]
            helped = not self.vocabulary.bases.isdisjoint(verbs)
            timed = bool(english.TIMES & set(self.later[1:3]))
            return (objects or (determined and not timed)) and not helped and has_no_verb(rest)
        if following in english.AFTER_HAD or following.endswith("ly"):
            return False
        return not any(map(english.may_be_participle, verbs))

    def inverted(self, following: int) -> bool:
        """Whether the subject follows it, as in "What had she" and "When did it"."""
        text = self.clause.text(following)
        if text in english.SUBJECTS:
            return True
        subject_before = self.clause.text(self.clause.before(self.at)) in english.SUBJECTS
        return self.clause.question and text in english.EITHER and not subject_before
