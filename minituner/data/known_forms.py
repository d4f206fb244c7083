"""The forms that a study knows, for ``predict``: right ones, wrong ones, and what ends one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from minituner.data.pairs import Pair
from minituner.data.prompts import SEPARATOR, Scoring
from minituner.data.spelling import single_spaced
from minituner.data.verbs import PERSONS, Verb

_FIRST_WORD = re.compile(r"\s*(\w+|[^\w\s])")


@dataclass(frozen=True)
class KnownForms:
    """A study's forms, and how an answer is divided into its form and what follows.

    Args:
        marks: By form: ``right`` or ``wrong``.
        of_prompt: The same for the prompt of a task's pairs: the forms that are compared there.
        ends: Texts that end a form, as the end of the whole text does.
        scoring: How the task's pairs are scored.
        is_task: Whether the forms are those of a task's pairs, and not of verbs.
    """

    marks: Mapping[str, str]
    of_prompt: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ends: tuple[str, ...] = (SEPARATOR.strip(),)
    scoring: Scoring = "fill_in"
    is_task: bool = False

    def in_prompt(self, prompt: str) -> Mapping[str, str]:
        """The marks in one prompt: of its own pairs, or of all if it is not one of the task's."""
        return self.of_prompt.get(prompt, self.marks)

    def is_ended(self, answer: str) -> bool:
        """Whether an answer goes beyond its form."""
        return self._end(answer) is not None

    def divide(self, answer: str) -> tuple[str, str]:
        """The form, and the text that follows it; of verbs, the Spanish without its slash."""
        end = self._end(answer)
        place = len(answer) if end is None else end
        form, after = answer[:place], answer[place:]
        if not self.is_task:
            return form.strip(), after.removeprefix(SEPARATOR.strip()).strip()
        return form.strip(), after.rstrip()

    def joined(self, form: str, after: str) -> str:
        """Both as one text to read."""
        return form + after if self.is_task else " / ".join(filter(None, (form, after)))

    def _end(self, answer: str) -> int | None:
        """The place where the form ends; None if it does not."""
        # A form such as "U.S." does not end at its first period.
        inside = [form for form in self._with_an_end if answer.startswith(form)]
        begun = any(form.startswith(answer) for form in self._with_an_end)
        start = len(answer) if begun else max(map(len, inside), default=0)
        places = (answer.find(end, start) for end in self.ends)
        return min((place for place in places if place >= 0), default=None)

    @cached_property
    def _with_an_end(self) -> list[str]:
        return [form for form in self.marks if any(end in form for end in self.ends)]


def forms_of_verbs(verbs: Mapping[str, Verb]) -> KnownForms:
    """Past forms of known verbs. A form that is right for one verb and wrong for another is
    right."""
    marks: dict[str, str] = {}
    for verb in verbs.values():
        marks |= dict.fromkeys((verb.wrong_past, verb.wrong_participle), "wrong")
    for verb in verbs.values():
        marks |= dict.fromkeys([verb.participle, *(verb.past[p] for p in PERSONS)], "right")
    return KnownForms(marks)


def forms_of_pairs(pairs: Iterable[Pair], scoring: Scoring) -> KnownForms:
    """The forms of a task's pairs. A form that is right in one pair and wrong in another is right,
    in the prompts of the task as well as in others."""
    marks: dict[str, str] = {}
    of_prompt: dict[str, dict[str, str]] = defaultdict(dict)
    ends: set[str] = set()
    for pair in pairs:
        for known in (marks, of_prompt[single_spaced(pair.prompt)]):
            for form in pair.wrong:
                known.setdefault(form, "wrong")
            known[pair.correct] = "right"
        if found := _FIRST_WORD.match(pair.after):
            ends.add(found[0])
    return KnownForms(marks, dict(of_prompt), tuple(sorted(ends)), scoring, is_task=True)
