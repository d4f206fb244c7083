"""The verbs: their forms in both languages, right and wrong, as verbs.yaml gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minituner.data.spelling import comparable
from minituner.storage.schema import Problem, are_sound, load_schema, refuse, schema_problems
from minituner.storage.strict_yaml import read_yaml

PERSONS = ("1sg", "2sg", "3sg", "1pl", "3pl")
PAST_TENSES = ("past_simple", "past_participle")  # the two a learner over-regularizes
TENSES = (*PAST_TENSES, "present", "future")
REGULARITIES = ("irregular", "regular")

# An edit of the schema reruns nothing: it decides which files are refused, not what is read.
SCHEMA = Path(__file__).with_name("verbs.schema.yaml")
EXAMPLE = "data/raw/verbs.yaml"  # of the repository

_FUTURE_ENDINGS = {"1sg": "é", "2sg": "ás", "3sg": "á", "1pl": "emos", "3pl": "án"}
_HABER = {"1sg": "he", "2sg": "has", "3sg": "ha", "1pl": "hemos", "3pl": "han"}


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb's forms in both languages. The mappings are by person and hold every person."""

    lemma: str
    english_regularity: str
    present: Mapping[str, str]
    past: Mapping[str, str]
    participle: str
    wrong_past: str
    wrong_participle: str
    spanish_lemma: str
    spanish_regularity: str
    spanish_present: Mapping[str, str]
    spanish_preterite: Mapping[str, str]
    spanish_participle: str
    spanish_future: Mapping[str, str]
    spanish_clitics: Mapping[str, str] | None = None
    ambiguous: Mapping[str, str] = field(default_factory=dict)  # forms that are other words too

    @property
    def irregular(self) -> bool:
        """Whether its English past is irregular."""
        return self.english_regularity == "irregular"

    def english(self, tense: str, person: str) -> str:
        """The correct form at the blank; in the future that is the lemma, which follows "will"."""
        match tense:
            case "past_simple":
                return self.past[person]
            case "past_participle":
                return self.participle
            case "present":
                return self.present[person]
            case "future":
                return self.lemma
        raise ValueError(f"no such tense: {tense}")

    def wrong(self, tense: str) -> str:
        """The other half of the minimal pair: "goed", or "walken" for a regular verb.

        Raises:
            ValueError: ``tense`` is not one of ``PAST_TENSES``; only those have a wrong form.
        """
        match tense:
            case "past_simple":
                return self.wrong_past
            case "past_participle":
                return self.wrong_participle
        raise ValueError(f"{tense} has no wrong form")

    def spanish(self, tense: str, person: str) -> str:
        """The Spanish side of a target: "fue", "ido", "me gustó"; a participle without haber."""
        if tense == "past_participle":
            return self.spanish_participle
        return self._with_clitic(self._spanish_finite(tense, person), person)

    def spanish_phrase(self, tense: str, person: str) -> str:
        """The whole verb as a sentence has it: as ``spanish``, but "ha ido", "me ha gustado"."""
        if tense != "past_participle":
            return self.spanish(tense, person)
        # What is liked is the subject of gustar, and always in the third person here.
        haber = _HABER["3sg" if self.spanish_clitics else person]
        return self._with_clitic(f"{haber} {self.spanish_participle}", person)

    def _spanish_finite(self, tense: str, person: str) -> str:
        match tense:
            case "past_simple":
                return self.spanish_preterite[person]
            case "present":
                return self.spanish_present[person]
            case "future":
                return self.spanish_future[person]
        raise ValueError(f"no such tense: {tense}")

    def _with_clitic(self, form: str, person: str) -> str:
        return f"{self.spanish_clitics[person]} {form}" if self.spanish_clitics else form


def load_verbs(path: str | Path) -> dict[str, Verb]:
    """Read the verbs, by lemma, in the file's order.

    Raises:
        UserError: The file cannot be read, a form is missing or not a form, or forms contradict
            each other; the message names the file and the key of every such mistake.
    """
    entries = read_yaml(path)
    problems = schema_problems(entries, load_schema(SCHEMA), EXAMPLE)
    verbs = {
        lemma: _verb(lemma, entry["english"], entry["spanish"])
        for lemma, entry in (entries.items() if isinstance(entries, Mapping) else ())
        if are_sound(problems, (lemma,))
    }
    for verb in verbs.values():
        problems += _contradictions(verb)
    refuse(path, problems)
    return verbs


def _verb(lemma: str, english: Mapping[str, Any], spanish: Mapping[str, Any]) -> Verb:
    present = _by_person(english["present"])
    if not isinstance(english["present"], Mapping):
        present["3sg"] = english["third_person"]
    clitics = _by_person(spanish["clitics"]) if "clitics" in spanish else None
    # The subject of gustar is what is liked, so its future too is always in the third person.
    endings = dict.fromkeys(PERSONS, _FUTURE_ENDINGS["3sg"]) if clitics else _FUTURE_ENDINGS
    return Verb(
        lemma=lemma,
        english_regularity=english["regularity"],
        present=present,
        past=_by_person(english["past"]),
        participle=english["participle"],
        wrong_past=english["wrong_past"],
        wrong_participle=english["wrong_participle"],
        spanish_lemma=spanish["lemma"],
        spanish_regularity=spanish["regularity"],
        spanish_present=_by_person(spanish["present"]),
        spanish_preterite=_by_person(spanish["preterite"]),
        spanish_participle=spanish["participle"],
        spanish_future={p: spanish["future_stem"] + ending for p, ending in endings.items()},
        spanish_clitics=clitics,
        ambiguous=english.get("ambiguous", {}),
    )


def _by_person(forms: str | Mapping[str, str]) -> dict[str, str]:
    """The form of each person; a single form is every person's."""
    return {p: forms if isinstance(forms, str) else forms[p] for p in PERSONS}


def _contradictions(verb: Verb) -> Iterator[Problem]:
    """Ambiguous forms that the verb does not have, and wrong forms that are right."""
    forms = {*verb.past.values(), verb.participle, verb.wrong_past, verb.wrong_participle}
    for word, meaning in verb.ambiguous.items():
        if word not in forms:
            yield Problem(
                (verb.lemma, "english", "ambiguous", word),
                f"is not a form of {verb.lemma!r}",
                found=f"{word}: {meaning}",
                expected=f"one of {', '.join(sorted(forms))}, and what else it means",
                fix="correct the word, or remove the line",
            )
    for key, tense in (("wrong_past", "past_simple"), ("wrong_participle", "past_participle")):
        right = {comparable(verb.english(tense, person)) for person in PERSONS}
        if comparable(verb.wrong(tense)) in right:
            yield Problem(
                (verb.lemma, "english", key),
                "is the correct form",
                found=verb.wrong(tense),
                expected="the other half of the minimal pair: a form that is wrong in this tense, "
                "in more than its capitals or apostrophes",
                fix=f"write the wrong form of {verb.lemma!r}",
            )
