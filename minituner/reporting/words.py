"""The words for a study's task, in the forms that the sentences of its reports need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# With one of these, a phrase needs no article: "another capital".
DETERMINERS = frozenset(
    [
        *("a", "an", "another", "any", "each", "either", "every", "its", "my", "no", "one"),
        *("other", "some", "that", "the", "their", "this", "your"),
    ]
)
IRREGULAR_PLURALS = {
    "child": "children",
    "criterion": "criteria",
    "man": "men",
    "person": "people",
    "phenomenon": "phenomena",
    "series": "series",
    "species": "species",
    "woman": "women",
}


@dataclass(frozen=True)
class Words:
    """What a report calls the things of its study.

    Args:
        name: What is taught, in the plural: "irregular verbs", "country capitals".
        group: What each pair belongs to: "verb", "country".
        groups: Its plural.
        wrong: What the right answer is compared with, with an article where it needs one: "the
            over-regularized form", "another capital".
        control: What must not be forgotten, in the plural: "regular verbs", "rivers".
        answer: What a pair's right side is: "form" or "answer".
        item: What the test split is counted in: "sentence" or "pair".
        scored: What each log-probability is of: the ``answer``, or the whole "sentence".
        of_verbs: Whether the pairs come from the verb corpus, so that a report may speak of them.
    """

    name: str
    group: str
    groups: str
    wrong: str
    control: str
    answer: str
    item: str
    scored: str
    of_verbs: bool

    @property
    def answers(self) -> str:
        """The plural of ``answer``."""
        return plural(self.answer)

    @property
    def items(self) -> str:
        """The plural of ``item``."""
        return plural(self.item)

    @property
    def whole_sentences(self) -> bool:
        """Whether whole sentences are scored, and not only answers."""
        return self.scored == "sentence"


def words_of(task: Mapping[str, Any]) -> Words:
    """The words of the config's section ``task``."""
    of_verbs = is_verb_study(task)
    answer = "form" if of_verbs else "answer"
    return Words(
        name=task["name"],
        group=task["group_name"],
        groups=plural(task["group_name"]),
        wrong=with_article(task["wrong_name"]),
        control=task["control_name"],
        answer=answer,
        item="sentence" if of_verbs else "pair",
        scored="sentence" if task["scoring"] == "sentence" else answer,
        of_verbs=of_verbs,
    )


def is_verb_study(task: Mapping[str, Any]) -> bool:
    """Whether the pairs are made from the verb corpus, and not read from a file of the user's."""
    return task.get("pairs") is None


def with_article(phrase: str) -> str:
    """``the over-regularized form``, but ``another capital``."""
    return phrase if phrase.split()[0].lower() in DETERMINERS else f"the {phrase}"


def plural(noun: str) -> str:
    """The plural of an English noun, or of a phrase that ends with one: country -> countries.

    In "part of speech" it is the word before the "of" that gets the ending. Irregular plurals are
    only those of ``IRREGULAR_PLURALS``.
    """
    head, of, rest = noun.partition(" of ")
    if of:
        return f"{plural(head)}{of}{rest}"
    before, space, last = noun.rpartition(" ")
    return f"{before}{space}{_plural_word(last)}"


def _plural_word(word: str) -> str:
    lower = word.lower()
    if lower in IRREGULAR_PLURALS:
        return word[0] + IRREGULAR_PLURALS[lower][1:]
    if lower.endswith("sis"):  # analysis, hypothesis
        return f"{word[:-2]}es"
    if lower.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if lower.endswith("y") and lower[-2:-1] not in (*"aeiou", ""):
        return f"{word[:-1]}ies"
    return f"{word}s"
