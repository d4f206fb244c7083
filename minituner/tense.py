"""Which words of a sentence are past forms, and of which tense: only where the words around say so.

A form that can be a past participle is one right after a form of *have*, with nothing but adverbs
between, or a pronoun or a name in a question ("Has she ever gone?"). A form that is nothing else
("went") is the past simple. One that is a participle too ("worked", "had") is the past simple right
after its subject: a pronoun, or a name or noun phrase with which the clause begins. Whatever these
do not settle is a doubt with its reason, and so are participles after *be* (passives), which the
corpus has none of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from minituner import words as english
from minituner.corpus import PAST_TENSES, PERSONS, Verb
from minituner.text import comparable
from minituner.words import Clause, Word, clauses_of

PAST, PARTICIPLE = PAST_TENSES
PERSON_OF = {"i": "1sg", "you": "2sg", "he": "3sg", "she": "3sg", "it": "3sg", "we": "1pl"} | {
    "they": "3pl"
}


@dataclass(frozen=True)
class Finding:
    """A word that is, or may be, a past form.

    ``tense`` is None in doubt; ``why`` then has the reason, and ``possible`` the tenses it may be.
    """

    word: Word
    tense: str | None
    possible: tuple[str, ...]
    why: str = ""


class Vocabulary:
    """The forms of the known verbs."""

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = tuple(verbs.values())

    @cached_property
    def past(self) -> frozenset[str]:
        """Forms of the past simple."""
        return frozenset(comparable(form) for verb in self._verbs for form in verb.past.values())

    @cached_property
    def participles(self) -> frozenset[str]:
        """Past participles."""
        return frozenset(comparable(verb.participle) for verb in self._verbs)

    @cached_property
    def bases(self) -> frozenset[str]:
        """Infinitives and forms of the present."""
        return frozenset(
            comparable(form)
            for verb in self._verbs
            for form in (verb.lemma, *verb.present.values())
        )

    @cached_property
    def other_words(self) -> dict[str, str]:
        """Forms that are other words too, and what those mean."""
        return {
            comparable(form): meaning
            for verb in self._verbs
            for form, meaning in verb.ambiguous.items()
        }

    @cached_property
    def persons(self) -> dict[str, frozenset[str]]:
        """The persons of each form of the past simple."""
        persons: dict[str, set[str]] = {}
        for verb in self._verbs:
            for person in PERSONS:
                persons.setdefault(comparable(verb.past[person]), set()).add(person)
        return {form: frozenset(of) for form, of in persons.items()}


def past_forms(sentence: str, vocabulary: Vocabulary) -> Iterator[Finding]:
    """The past forms of the known verbs in a sentence, in their order.

    A *had* or *did* that only helps another verb, and an infinitive, are none.
    """
    for clause in clauses_of(sentence):
        for at, word in enumerate(clause.words):
            if word.text not in vocabulary.past and word.text not in vocabulary.participles:
                continue
            finding = _Place(clause, at, vocabulary).judged()
            if finding is not None and word.capital:
                yield Finding(word, None, (), "has a capital letter, which the answer would lose")
            elif finding is not None:
                yield finding


@dataclass(frozen=True)
class _Place:
    """A word that may be a past form, among the words of its clause."""

    clause: Clause
    at: int
    vocabulary: Vocabulary

    @property
    def words(self) -> tuple[Word, ...]:
        return self.clause.words

    @property
    def word(self) -> Word:
        return self.words[self.at]

    @cached_property
    def possible(self) -> tuple[str, ...]:
        """The tenses that the form can have."""
        forms = (self.vocabulary.past, self.vocabulary.participles)
        return tuple(
            tense for tense, of in zip(PAST_TENSES, forms, strict=True) if self.word.text in of
        )

    def judged(self) -> Finding | None:
        """The form's tense or the doubt; None if it is no past form here."""
        is_base = self.word.text in self.vocabulary.bases
        perfect = self.in_perfect(is_base)
        if PARTICIPLE in self.possible and perfect and not self.helps():
            if self.may_describe():
                return self.doubt(f"may describe `{self.words[self.at + 1].written}`")
            return self.sure(PARTICIPLE)
        if is_base:
            return self.judged_base(perfect)
        if self.word.text in ("had", "did") and self.helps():
            return None
        if perfect is not False:
            return self.doubt(self.why_not_perfect(perfect))
        if self.possible == (PARTICIPLE,):
            return self.doubt("is a participle, and no form of have goes with it for sure")
        return self.judged_past()

    def judged_base(self, perfect: bool | None) -> Finding | None:
        """Of a form that is an infinitive and present too: "come", "put"."""
        if perfect is False and self.after_helper():
            return None
        if PAST in self.possible:
            return self.doubt("may be the present or the past")
        earlier = {word.text for word in self.words[: self.at]}
        if perfect is None or earlier & (english.HAVE | {"'s", "'d"}):
            return self.doubt("may be the present or a past participle")
        return None

    def judged_past(self) -> Finding:
        """Of a form that no form of have stands before."""
        text, before = self.word.text, self.text_of(self.before(self.at))
        if before in english.ARTICLES | english.BE | {"to", "'s"} or self.after_helper():
            return self.doubt("is not the past simple for sure" + self.context)
        if not self.agrees():
            return self.doubt("does not agree" + self.context)
        other = self.vocabulary.other_words.get(text)
        if PARTICIPLE not in self.possible and other is None and text != "did":
            return self.sure(PAST)
        if not self.has_subject():
            return self.doubt(self.unsettled)
        if text in ("had", "did") and self.helps() is None:
            return self.doubt("may only help another verb")
        return self.sure(PAST)

    def sure(self, tense: str) -> Finding:
        return Finding(self.word, tense, self.possible)

    def doubt(self, why: str) -> Finding:
        return Finding(self.word, None, self.possible, why)

    def why_not_perfect(self, perfect: bool | None) -> str:
        if perfect:
            return "is not a past participle" + self.context
        return self.unsettled

    @property
    def unsettled(self) -> str:
        """Why the form's tense is not settled."""
        other = self.vocabulary.other_words.get(self.word.text)
        if self.possible == (PARTICIPLE,):
            what = "may be a past participle after has or had, or something else"
        elif PARTICIPLE in self.possible:
            what = "may be the past simple or a past participle"
        else:
            what = f"may be another word ({other})" if other else "may only help another verb"
        return what + self.context

    @property
    def context(self) -> str:
        """The few words before, up to a mark, as they are written."""
        first = self.at
        while first > 0 and not self.words[first].marked and self.at - first < 4:
            first -= 1
        if first == self.at:
            return " at the beginning or after a mark"
        written = self.clause.sentence[self.words[first].start : self.words[self.at - 1].end]
        return f" after `{written}`"

    # --- the words around ---------------------------------------------------------------------

    def before(self, at: int | None) -> int | None:
        """The place of the nearest word before that is no adverb; None if a mark is between."""
        while at is not None and at > 0 and not self.words[at].marked:
            at -= 1
            if self.words[at].text not in english.ADVERBS:
                return at
        return None

    def after(self, at: int) -> int | None:
        """The place of the nearest word after that is no adverb; None if a mark is between."""
        while at + 1 < len(self.words) and not self.words[at + 1].marked:
            at += 1
            if self.words[at].text not in english.ADVERBS:
                return at
        return None

    def text_of(self, at: int | None) -> str:
        return "" if at is None else self.words[at].text

    def in_perfect(self, is_base: bool) -> bool | None:
        """Whether a form of have takes the word as its participle; None if it may."""
        near = self.before(self.at)
        text = self.text_of(near)
        if near is None or text in english.HAVE:
            return near is not None
        if text == "'d":
            return None if is_base else True  # "he'd come" is "he would come" too
        if text == "'s":
            pronouns = english.SUBJECTS | english.EITHER | {"who", "that"}
            pronoun = near > 0 and self.text_of(near - 1) in pronouns
            return True if pronoun and self.word.text in ("been", "had") else None
        far = self.before(near)
        if self.text_of(far) in ("'s", "'d"):
            return None  # "What's he eaten?"
        if far is None or self.text_of(far) not in english.HAVE:
            return False
        if text in english.SUBJECTS:
            return True
        may_be_subject = text in english.EITHER or self.words[near].capital
        asks = self.clause.question and self.opens_clause(far)
        return True if may_be_subject and asks else None

    def may_describe(self) -> bool:
        """Whether it can be an adjective of a plural right after it: "has broken ribs"."""
        near, following = self.before(self.at), self.at + 1
        if near != self.at - 1 or self.text_of(near) == "'ve" or following == len(self.words):
            return False
        noun = self.words[following]
        return (
            self.word.text not in english.NO_ADJECTIVES
            and not noun.marked
            and noun.looks_plural
            and noun.text not in english.FOLLOWERS | english.FUNCTION_WORDS
        )

    def after_helper(self) -> bool:
        """Whether "to" or a modal verb stands before, perhaps with a pronoun between."""
        near = self.before(self.at)
        if self.text_of(near) in english.MODALS | {"to"}:
            return True
        between = self.text_of(near) in english.SUBJECTS | english.EITHER
        return between and self.text_of(self.before(near)) in english.MODALS

    def agrees(self) -> bool:
        """Whether a pronoun right before has this form: not in "If I were rich"."""
        near = self.before(self.at)
        person = PERSON_OF.get(self.text_of(near))
        if near is None or person is None or PAST not in self.possible:
            return True
        joined = near > 0 and self.words[near - 1].text in english.CONJUNCTIONS
        return joined or person in self.vocabulary.persons[self.word.text]

    def helps(self) -> bool | None:
        """Whether a had or did only helps another verb; None if it may."""
        text = self.word.text
        if text not in ("had", "did"):
            return False
        following = self.after(self.at)
        negated = self.at + 1 < len(self.words) and self.words[self.at + 1].text in ("not", "n't")
        if text == "did" and negated:
            return True
        if following is not None and self.turned(following):
            if text == "did":
                return True
            following = self.after(following)
            return True if self.text_of(following) in self.vocabulary.participles else None
        if following is None:
            return None
        return self.helps_with(self.text_of(following))

    def helps_with(self, following: str) -> bool | None:
        if self.word.text == "did":
            if following in self.vocabulary.bases:
                return True
            return False if following in english.FOLLOWERS else None
        if following in self.vocabulary.participles:
            return True
        looks = following in english.IRREGULAR_PARTICIPLES | english.AFTER_HAD
        return None if looks or following.endswith(("ed", "ly")) else False

    def turned(self, following: int) -> bool:
        """Whether the subject follows, as in "What had she" and "When did it"."""
        text = self.text_of(following)
        if text in english.SUBJECTS:
            return True
        subject_before = self.text_of(self.before(self.at)) in english.SUBJECTS
        return self.clause.question and text in english.EITHER and not subject_before

    # --- the subject --------------------------------------------------------------------------

    def has_subject(self) -> bool:
        """Whether what stands right before is a subject and nothing else."""
        near = self.before(self.at)
        if near is None:
            return False
        if self.text_of(near) in english.SUBJECTS | {"who"}:
            return True
        start = self.phrase_start(near)
        if start is None or not self.opens_clause(start):
            return False
        return self.text_of(near) in ("you", "it") or self.verb_goes_on()

    def phrase_start(self, end: int) -> int | None:
        """Where the name, pronoun or short noun phrase that ends at ``end`` begins."""
        start = self._simple_phrase(end)
        if start is None or start < 2 or self.text_of(start - 1) not in ("and", "or"):
            return start
        if self.words[start].marked or self.words[start - 1].marked:
            return start
        return self.phrase_start(start - 2)

    def _simple_phrase(self, end: int) -> int | None:
        words, word = self.words, self.words[end]
        pronouns = english.EITHER | english.DEMONSTRATIVES | english.INDEFINITES | english.SUBJECTS
        if word.text in pronouns:
            return end
        if word.text in english.FUNCTION_WORDS:
            return None
        for start in (end - 1, end - 2):
            if start < 0 or words[start + 1].marked:
                break
            if words[start].text in english.DETERMINERS:
                return start if start == end - 1 or self._adjective_and_noun(end) else None
        start = end
        while self._may_be_name(start) and not words[start].marked:
            if not self._may_be_name(start - 1):
                break
            start -= 1
        return start if self._may_be_name(start) else None

    def _adjective_and_noun(self, end: int) -> bool:
        """Whether the two words to ``end`` can be such, rather than a noun and its verb."""
        adjective, noun = self.words[end - 1], self.words[end]
        verbs = english.LINKING | english.IRREGULAR_PARTICIPLES | self._known
        return (
            adjective.text not in english.FUNCTION_WORDS | english.LINKING
            and noun.text not in verbs
            and not noun.text.endswith("ed")
            and not adjective.looks_plural
            and not noun.looks_plural
        )

    def _may_be_name(self, at: int) -> bool:
        word = self.words[at]
        no_names = english.FUNCTION_WORDS | english.LINKING | self._known
        return word.capital and word.text not in no_names

    @property
    def _known(self) -> frozenset[str]:
        return self.vocabulary.past | self.vocabulary.participles | self.vocabulary.bases

    def opens_clause(self, start: int) -> bool:
        """Whether a clause begins at ``start``, perhaps after a time such as "last week"."""
        before = [word.text for word in self.words[:start]]
        if not before or before[-1] in english.OPENERS | english.FINITE_AFTER:
            return True
        if before[-1] in english.PREPOSITIONS:
            return False  # "With the work finished on time"
        times = english.TIMES | english.PREPOSITIONS | english.NUMBERS | english.ADVERBS
        times |= english.CONJUNCTIONS | {"the", "by", "every", "many"}
        return all(text in times or text.isdigit() for text in before)

    def verb_goes_on(self) -> bool:
        """Whether what follows can follow a verb, and no other verb needs the subject."""
        rest = self.words[self.at + 1 :]
        if not rest:
            return True
        if rest[0].marked or rest[0].text not in english.FOLLOWERS:
            return False
        joiners = english.CONJUNCTIONS | english.OPENERS | english.RELATIVES | english.SUBJECTS
        for word in rest:
            if word.marked or word.text in joiners:
                return True
            ed = len(word.text) > 4 and word.text.endswith("ed")
            other = english.FINITE | english.IRREGULAR_PARTICIPLES | self.vocabulary.past
            if ed or word.text in other:
                return False
        return True
