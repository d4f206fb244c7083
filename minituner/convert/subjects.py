"""Subjects: whether the words right before a verb form are its subject and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from minituner.convert import english
from minituner.convert.clauses import Clause, Word
from minituner.convert.english import Vocabulary


def has_subject(clause: Clause, at: int, vocabulary: Vocabulary) -> bool:
    """Whether a subject is right before the word at index ``at``: a pronoun, or a name or short
    noun phrase that begins the clause."""
    end = clause.before(at)
    if end is None:
        return False
    if clause.text(end) == "who":
        return True
    if clause.question:
        return False  # "She finished with it?"
    if clause.text(end) in english.SUBJECTS:
        return True
    start = _phrase_start(clause, end, vocabulary)
    if start is None or not opens_clause(clause, start):
        return False
    return clause.text(end) in ("you", "it") or _can_follow_verb(clause, at)


def person_of(clause: Clause, at: int, vocabulary: Vocabulary) -> str | None:
    """The person of the subject of the verb at index ``at``, from the words before it and its
    auxiliaries; None if there are none."""
    end: int | None = clause.before(at)
    while clause.text(end) in english.FINITE | english.BE | {"'s", "'d"}:
        end = clause.before(end)
    if end is None:
        return None
    start = _phrase_start(clause, end, vocabulary)
    subject = {word.text for word in clause.words[start : end + 1]}
    if "and" in subject and start is not None and opens_clause(clause, start):
        return "1pl" if subject & {"i", "we"} else "3pl"
    last = clause.words[end]
    plural = (last.looks_plural and not last.capital) or last.text in ("these", "those")
    return english.PERSON_OF.get(clause.text(end), "3pl" if plural else "3sg")


def ends_relative_clause(clause: Clause, have: int | None, vocabulary: Vocabulary) -> bool:
    """Whether a form of have may end a relative clause: "Everything I have started with a dream",
    "The friends Tom had worked hard"."""
    end = clause.before(have)
    start = None if end is None else _phrase_start(clause, end, vocabulary)
    if not start or clause.words[start].marked or clause.text(start - 1) in english.CONJUNCTIONS:
        return False
    relative = clause.text(start - 1) in english.RELATIVES | {"what"}
    return relative or not opens_clause(clause, start)


def begins(clause: Clause, start: int) -> bool:
    """Whether there is nothing before ``start`` except words that begin a clause, and times."""
    before = (word.text for word in clause.words[:start])
    return all(text in english.OPENERS | english.IN_TIMES or text.isdigit() for text in before)


def opens_clause(clause: Clause, start: int) -> bool:
    """Whether a clause begins at ``start``, perhaps after a time such as "last week"."""
    last = clause.text(start - 1) if start else ""
    if last in english.OPENERS | english.FINITE_AFTER:
        return True
    return last not in english.PREPOSITIONS and begins(clause, start)  # "With the work finished"


def _phrase_start(clause: Clause, end: int, vocabulary: Vocabulary) -> int | None:
    """Where the subject that ends at ``end`` begins ("Maria and my brother"); None if it is not a
    subject."""
    start = _simple_phrase_start(clause, end, vocabulary)
    while start is not None and start > 1 and clause.text(start - 1) in ("and", "or"):
        if clause.words[start].marked or clause.words[start - 1].marked:
            break
        start = _simple_phrase_start(clause, start - 2, vocabulary)
    return start


def _simple_phrase_start(clause: Clause, end: int, vocabulary: Vocabulary) -> int | None:
    """As ``_phrase_start``, without "and"."""
    words = clause.words
    if words[end].text in english.PRONOUNS:
        return end
    if words[end].text in english.FUNCTION_WORDS:
        return None
    for start in (end - 1, end - 2):
        if start < 0 or words[start + 1].marked:
            break
        if words[start].text in english.DETERMINERS:
            two = words[end - 1], words[end]
            if start == end - 1 or _adjective_and_noun(*two, vocabulary):
                return start
            break  # "the friends Tom had"
    if not _may_be_name(words[end], vocabulary):
        return None
    start = end
    while not words[start].marked and _may_be_name(words[start - 1], vocabulary):
        start -= 1
    return start


def _adjective_and_noun(adjective: Word, noun: Word, vocabulary: Vocabulary) -> bool:
    """Whether two words after "the" can be these, and not a noun and its verb ("shop stays")."""
    verbs = english.LINKING | english.IRREGULAR_PARTICIPLES | vocabulary.forms
    return (
        adjective.text not in english.FUNCTION_WORDS | english.LINKING
        and noun.text not in verbs
        and not noun.text.endswith("ed")
        and not adjective.looks_plural
        and not noun.looks_plural
    )


def _may_be_name(word: Word, vocabulary: Vocabulary) -> bool:
    """Whether a word is capitalized and nothing else that is known."""
    others = english.FUNCTION_WORDS | english.LINKING | vocabulary.forms
    return word.capital and word.text not in others


def _can_follow_verb(clause: Clause, at: int) -> bool:
    """Whether the words after index ``at`` can follow a verb but not an adjective ("the old used
    car"), and include no other verb of the subject ("The man wanted for murder lives here")."""
    rest = clause.words[at + 1 :]
    if not rest:
        return True
    return not rest[0].marked and rest[0].text in english.FOLLOWERS - {"for"} and has_no_verb(rest)


def has_no_verb(words: Sequence[Word]) -> bool:
    """Whether the words up to a mark or another clause are function words and short noun phrases,
    so that none of them can be another verb.

    An unknown word counts as a noun right after a determiner, and as a name after a preposition;
    an object right after the verb may have two unknown words.
    """
    unknown = 0
    for place, word in enumerate(words):
        if word.marked or word.text in english.JOINERS:
            return True
        if word.text in english.FOLLOWERS:
            unknown = 0
            continue
        unknown += 1
        before = words[place - unknown].text if place >= unknown else ""
        allowed = 2 if before in english.DETERMINERS and place == unknown else 1
        name = before in english.PREPOSITIONS and word.capital
        if not (name or before in english.DETERMINERS) or unknown > allowed:
            return False
        if word.text in english.SUPERLATIVES or english.may_be_participle(word.text):
            return False
        if unknown == 2 and word.looks_plural and words[place - 1].looks_plural:
            return False
    return True
