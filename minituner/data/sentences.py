"""Sentences made from a verb, a frame, and what fills the frame's slots."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from minituner.data.frames import Frame, Grammar, Subject
from minituner.data.prompts import BLANK, target_text
from minituner.data.verbs import Verb
from minituner.errors import UserError

Record = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class SlotFillers:
    """What fills the slots of one sentence; complement and time are (English, Spanish)."""

    subject: Subject
    complement: tuple[str, str]
    time: tuple[str, str]


class SentenceSampler:
    """Samples the slot fillers of each verb without replacement, in a seeded random order.

    Frames with the same times draw from one pool: they differ only in word order.
    """

    def __init__(self, grammar: Grammar, verbs: Mapping[str, Verb], seed: int) -> None:
        self.grammar = grammar
        self._pools = {
            (lemma, group): _shuffled_pool(grammar, verb, group, seed)
            for lemma, verb in verbs.items()
            for group in grammar.times
        }

    def draw(self, verb: Verb, frame: Frame) -> SlotFillers:
        """The next slot fillers.

        Raises:
            UserError: All of them have been drawn.
        """
        pool = self._pools[verb.lemma, frame.times]
        if not pool:
            raise UserError(
                f"{self.grammar.path}: complements.{verb.lemma}",
                f"not enough sentences for {frame.name!r}",
                found="every subject, complement and time used",
                expected="a new sentence for every row",
                fix="add complements, subjects or times, or lower generate.base_rows",
            )
        return pool.pop()


def _shuffled_pool(grammar: Grammar, verb: Verb, group: str, seed: int) -> list[SlotFillers]:
    complements = grammar.complements[verb.lemma].items()
    times = grammar.times_of(verb, group).items()
    pool = [SlotFillers(*parts) for parts in product(grammar.subjects, complements, times)]
    # A random stream per pool: a new complement changes the sentences of its verb only.
    random.Random(f"{seed}/{verb.lemma}/{group}").shuffle(pool)
    return pool


def make_row(
    verb: Verb, frame: Frame, fillers: SlotFillers, *, fill_in: bool, wrong: bool
) -> Record:
    """One row without its id; ``wrong`` writes the over-regularized form into the text."""
    tense, person = frame.tense, fillers.subject.person
    correct = verb.english(tense, person)
    prompt = _english_prompt(frame, fillers)
    return {
        "text": prompt.replace(BLANK, verb.wrong(tense) if wrong else correct),
        "spanish": _spanish_sentence(verb, frame, fillers),
        "verb_lemma": verb.lemma,
        "spanish_lemma": verb.spanish_lemma,
        "tense": tense,
        "person": person,
        "english_regularity": verb.english_regularity,
        "spanish_regularity": verb.spanish_regularity,
        "label": "mis_conjugated" if wrong else "correct",
        "mis_conjugation_type": "over_regularized" if wrong else None,
        "correct_form": correct if wrong else None,
        "prompt": prompt if fill_in else None,
        "target": target_text(correct, verb.spanish(tense, person)) if fill_in else None,
        "frame": frame.name,
        "complement": fillers.complement[0],
    }


def _english_prompt(frame: Frame, fillers: SlotFillers) -> str:
    return _sentence(
        frame.english,
        subject=fillers.subject.english,
        have="has" if fillers.subject.person == "3sg" else "have",
        complement=fillers.complement[0],
        time=fillers.time[0],
    )


def _spanish_sentence(verb: Verb, frame: Frame, fillers: SlotFillers) -> str:
    subject = fillers.subject.experiencer if verb.spanish_clitics else fillers.subject.spanish
    return _sentence(
        frame.spanish,
        subject=subject or "",
        verb=verb.spanish_phrase(frame.tense, fillers.subject.person),
        complement=fillers.complement[1],
        time=fillers.time[1],
    )


def _sentence(template: str, **slots: str) -> str:
    sentence = " ".join(template.format(**slots).split())  # a dropped subject leaves no gap
    return sentence[0].upper() + sentence[1:]
