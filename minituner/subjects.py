"""Subjects: whether what stands right before a verb form is one, and nothing else."""

from __future__ import annotations

from minituner import english
from minituner.clauses import Clause, Word
from minituner.english import Vocabulary


def has_subject(clause: Clause, at: int, vocabulary: Vocabulary) -> bool:
    """Whether a subject stands right before the word at ``at``: a pronoun, or a name or short noun
    phrase with which the clause begins."""
    end = clause.before(at)
    if end is None:
        return False
    if clause.text(end) in english.SUBJECTS | {"who"}:
        return True
    start = _phrase_start(clause, end, vocabulary)
    if start is None or not opens_clause(clause, start):
        return False
    return clause.text(end) in ("you", "it") or _verb_goes_on(clause, at, vocabulary)


def opens_clause(clause: Clause, start: int) -> bool:
    """Whether a clause begins at ``start``, perhaps after a time such as "last week"."""
    before = [word.text for word in clause.words[:start]]
    if not before or before[-1] in english.OPENERS | english.FINITE_AFTER:
        return True
    if before[-1] in english.PREPOSITIONS:
        return False  # "With the work finished on time"
    return all(text in english.IN_TIMES or text.isdigit() for text in before)


def _phrase_start(clause: Clause, end: int, vocabulary: Vocabulary) -> int | None:
    """Where the subject that ends at ``end`` begins: "Maria and my brother"; None if it is none."""
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
            return start if start == end - 1 or _adjective_and_noun(*two, vocabulary) else None
    if not _may_be_name(words[end], vocabulary):
        return None
    start = end
    while not words[start].marked and _may_be_name(words[start - 1], vocabulary):
        start -= 1
    return start


def _adjective_and_noun(adjective: Word, noun: Word, vocabulary: Vocabulary) -> bool:
    """Whether two words after "the" can be such, and not a noun and its verb ("shop stays")."""
    verbs = english.LINKING | english.IRREGULAR_PARTICIPLES | vocabulary.forms
    return (
        adjective.text not in english.FUNCTION_WORDS | english.LINKING
        and noun.text not in verbs
        and not noun.text.endswith("ed")
        and not adjective.looks_plural
        and not noun.looks_plural
    )


def _may_be_name(word: Word, vocabulary: Vocabulary) -> bool:
    others = english.FUNCTION_WORDS | english.LINKING | vocabulary.forms
    return word.capital and word.text not in others


def _verb_goes_on(clause: Clause, at: int, vocabulary: Vocabulary) -> bool:
    """Whether what follows the word at ``at`` can follow a verb but no adjective ("the old used
    car"), and no other verb needs the subject ("The film watched on Monday was good")."""
    rest = clause.words[at + 1 :]
    if rest and (rest[0].marked or rest[0].text not in english.FOLLOWERS):
        return False
    verbs = english.FINITE | english.IRREGULAR_PARTICIPLES | vocabulary.past
    for word in rest:
        if word.marked or word.text in english.JOINERS:
            return True
        if word.text in verbs or (len(word.text) > 4 and word.text.endswith("ed")):
            return False
    return True
