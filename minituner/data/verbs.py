"""The verbs: their forms in both languages, right and wrong, as verbs.yaml says them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minituner.data.spelling import comparable
from minituner.errors import Mistakes, UserError
from minituner.storage.sections import Section, brief
from minituner.storage.strict_yaml import read_yaml

PERSONS = ("1sg", "2sg", "3sg", "1pl", "3pl")
PAST_TENSES = ("past_simple", "past_participle")  # the two a learner over-regularizes
TENSES = (*PAST_TENSES, "present", "future")
REGULARITIES = ("irregular", "regular")

# What verbs.yaml may say of a verb.
ENGLISH_KEYS = (
    "regularity",
    "present",
    "third_person",
    "past",
    "participle",
    "wrong_past",
    "wrong_participle",
    "ambiguous",
)
SPANISH_KEYS = (
    "lemma",
    "regularity",
    "present",
    "preterite",
    "participle",
    "future_stem",
    "clitics",
)

EXAMPLE = "data/raw/verbs.yaml"  # of the repository
LONGEST_FORM = 60  # characters; a name of a file or the cell of a table may be made of it
_LETTER = r"[^\W\d_][\u0300-\u036f]*"  # with the accents that stand apart from it
_FORM = re.compile(rf"{_LETTER}(?:[ '\u2019-]?{_LETTER})*['\u2019]?")

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
        UserError: The file cannot be read, or a form is missing or of the wrong kind; it names the
            file and the key, of every mistake at once.
    """
    entries = read_yaml(path)
    if not isinstance(entries, dict) or not entries:
        raise UserError(
            path,
            "holds no verbs",
            found=brief(entries),
            expected="a mapping from each English lemma to its forms",
            fix=f"write the verbs as in {EXAMPLE}",
        )
    mistakes = Mistakes()
    verbs = {
        lemma: _verb(lemma, Section(path, lemma, entry, mistakes, EXAMPLE))
        for lemma, entry in entries.items()
    }
    mistakes.raise_if_any()
    return verbs


def _verb(lemma: str, entry: Section) -> Verb:
    """The verb, with empty forms where a mistake was noted."""
    noted = entry.mistakes.count
    if not _is_form(lemma):
        entry.note("", "the lemma is not a word", found=repr(lemma), **_A_FORM)
    entry.only(("english", "spanish"))
    english, spanish = entry.section("english"), entry.section("spanish")
    english.only(ENGLISH_KEYS)
    spanish.only(SPANISH_KEYS)
    clitics = _by_person(spanish, "clitics") if "clitics" in spanish else None
    # What is liked is singular, so the future of gustar, too, is the third person's for everybody.
    endings = dict.fromkeys(PERSONS, _FUTURE_ENDINGS["3sg"]) if clitics else _FUTURE_ENDINGS
    stem = _form(spanish, "future_stem")
    verb = Verb(
        lemma=lemma,
        english_regularity=english.choice("regularity", "regularity", REGULARITIES),
        present=_present(english),
        past=_by_person(english, "past"),
        participle=_form(english, "participle"),
        wrong_past=_form(english, "wrong_past"),
        wrong_participle=_form(english, "wrong_participle"),
        spanish_lemma=_form(spanish, "lemma"),
        spanish_regularity=spanish.choice("regularity", "regularity", REGULARITIES),
        spanish_present=_by_person(spanish, "present"),
        spanish_preterite=_by_person(spanish, "preterite"),
        spanish_participle=_form(spanish, "participle"),
        spanish_future={person: stem + ending for person, ending in endings.items()},
        spanish_clitics=clitics,
        ambiguous=english.section("ambiguous").values if "ambiguous" in english else {},
    )
    if entry.mistakes.count == noted:
        _check_verb(verb, english)
    return verb


def _check_verb(verb: Verb, english: Section) -> None:
    """What is said of ambiguous forms is said of forms it has, and its wrong forms are wrong."""
    forms = {*verb.past.values(), verb.participle, verb.wrong_past, verb.wrong_participle}
    for word, meaning in verb.ambiguous.items():
        if word not in forms or not isinstance(meaning, str):
            english.note(
                "ambiguous",
                f"says nothing of a form of {verb.lemma!r}",
                found=f"{word}: {brief(meaning)}",
                expected=f"one of {', '.join(sorted(forms))}, and what else it means",
                fix="fix the word, or remove the line",
            )
    for key, tense in (("wrong_past", "past_simple"), ("wrong_participle", "past_participle")):
        right = {comparable(verb.english(tense, person)) for person in PERSONS}
        if comparable(verb.wrong(tense)) in right:
            english.note(
                key,
                "is the correct form",
                found=verb.wrong(tense),
                expected="a form that is wrong in this tense, not only in its capitals or "
                "apostrophes: the other half of the minimal pair",
                fix=f"write the wrong form of {verb.lemma!r} there",
            )


def _present(english: Section) -> dict[str, str]:
    present = _by_person(english, "present")
    if not isinstance(english.values.get("present"), dict):
        present["3sg"] = _form(english, "third_person")
    return present


def _by_person(entry: Section, key: str) -> dict[str, str]:
    """A form for each person; a single string stands for all of them."""
    if not isinstance(entry.values.get(key), dict):
        return dict.fromkeys(PERSONS, _form(entry, key))
    forms = entry.section(key)
    forms.only(PERSONS)
    return {person: _form(forms, person) for person in PERSONS}


_A_FORM = {
    "expected": "letters, with apostrophes, hyphens and single spaces between them, at most "
    f"{LONGEST_FORM} characters",
    "fix": "write one form and nothing else there",
}


def _form(entry: Section, key: str) -> str:
    """The word or words at ``key``; empty if it is refused."""
    form = entry.text(key)
    if form and not _is_form(form):
        entry.note(key, "is not a verb form", found=repr(form), **_A_FORM)
        return ""
    return form


def _is_form(text: str) -> bool:
    return len(text) <= LONGEST_FORM and _FORM.fullmatch(text) is not None
