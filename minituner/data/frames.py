"""The parts of the generated sentences, as frames.yaml gives them: subjects, sentence frames, times
and complements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.data.spelling import comparable
from minituner.data.verbs import TENSES, Verb
from minituner.storage.messages import closest, nearest
from minituner.storage.schema import (
    Keys,
    Problem,
    are_sound,
    load_schema,
    refuse,
    schema_problems,
)
from minituner.storage.strict_yaml import read_yaml

SCHEMA = Path(__file__).with_name("frames.schema.yaml")
EXAMPLE = "data/raw/frames.yaml"  # of the repository


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject; the Spanish is null where Spanish drops it."""

    english: str
    person: str
    spanish: str | None
    experiencer: str | None  # the Spanish with a verb such as gustar: "a María"


@dataclass(frozen=True, slots=True)
class Frame:
    """A sentence with slots, in both languages; ``times`` names the group that fills {time}."""

    name: str
    tense: str
    times: str
    english: str
    spanish: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """All of frames.yaml, at ``path``. Times and complements map English texts to Spanish ones."""

    path: Path
    subjects: Sequence[Subject]
    frames: Sequence[Frame]
    times: Mapping[str, Mapping[str, str]]
    state_verbs: frozenset[str]
    state_times: Mapping[str, Mapping[str, str]]
    complements: Mapping[str, Mapping[str, str]]

    def frames_of(self, tense: str) -> list[Frame]:
        """The frames of one tense, in the file's order."""
        return [frame for frame in self.frames if frame.tense == tense]

    def times_of(self, verb: Verb, group: str) -> Mapping[str, str]:
        """A group of times as this verb takes it: a state does not happen "twice"."""
        if verb.lemma in self.state_verbs and group in self.state_times:
            return self.state_times[group]
        return self.times[group]


def load_grammar(path: Path, verbs: Mapping[str, Verb]) -> Grammar:
    """Read frames.yaml.

    Raises:
        UserError: The file cannot be read, a key is missing, unknown or mistyped, or parts do not
            fit together; the message names the file and the key of every such mistake.
    """
    content = read_yaml(path)
    problems = schema_problems(content, load_schema(SCHEMA), EXAMPLE)
    if isinstance(content, Mapping):
        problems += [
            *(_tenses_without_frames(content) if are_sound(problems, ("frames",)) else ()),
            *_unknown_names(content, verbs),
            *_texts_given_twice(content),
            *_bad_complements(_mapping(content.get("complements")), verbs),
        ]
    refuse(path, problems)
    return Grammar(
        path=path,
        subjects=[Subject(**entry) for entry in content["subjects"]],
        frames=[Frame(name=name, **entry) for name, entry in content["frames"].items()],
        times=content["times"],
        state_verbs=frozenset(content["states"].get("verbs", ())),
        state_times=content["states"]["times"],
        complements={lemma: content["complements"][lemma] for lemma in verbs},
    )


# The functions below look at a file that may not fit the schema, and skip what does not.


def _tenses_without_frames(content: Mapping[str, Any]) -> Iterator[Problem]:
    tenses = {frame["tense"] for frame in content["frames"].values()}
    for tense in TENSES:
        if tense not in tenses:
            yield Problem(
                ("frames",),
                f"no frame has the tense {tense!r}",
                found=", ".join(content["frames"]),
                expected="at least one frame for every tense",
                fix="add one",
            )


def _unknown_names(content: Mapping[str, Any], verbs: Mapping[str, Verb]) -> Iterator[Problem]:
    """Groups of times and verbs that other parts name and that do not exist."""
    times, states = _mapping(content.get("times")), _mapping(content.get("states"))
    lemmas = states.get("verbs")
    named: list[tuple[Keys, str, object, Mapping[str, object]]] = [
        *(
            (("frames", name, "times"), "group of times", _mapping(frame).get("times"), times)
            for name, frame in _mapping(content.get("frames")).items()
        ),
        *(
            (("states", "times", name), "group of times", name, times)
            for name in _mapping(states.get("times"))
        ),
        *(
            (("states", "verbs"), "verb", lemma, verbs)
            for lemma in (lemmas if isinstance(lemmas, list) else ())
        ),
    ]
    for keys, what, name, known in named:
        if known and isinstance(name, str) and name not in known:
            yield Problem(
                keys,
                f"unknown {what}",
                found=repr(name),
                expected=f"one of {', '.join(known)}",
                fix=nearest(name, known) or "write one of those",
            )


def _texts_given_twice(content: Mapping[str, Any]) -> Iterator[Problem]:
    """Two spellings of one text: they would make two samples, and the same sentence twice."""
    subjects = content.get("subjects")
    places: list[tuple[Keys, Iterable[object]]] = [
        (
            ("subjects",),
            [_mapping(s).get("english") for s in subjects] if isinstance(subjects, list) else (),
        )
    ]
    sections: tuple[Keys, ...] = (("times",), ("states", "times"), ("complements",))
    for keys in sections:
        section = content
        for key in keys:
            section = _mapping(section.get(key))
        places += [((*keys, name), _mapping(group)) for name, group in section.items()]
    for keys, texts in places:
        first: dict[str, str] = {}
        for text in (text for text in texts if isinstance(text, str)):
            if comparable(text) not in first:
                first[comparable(text)] = text
            else:
                yield Problem(
                    keys,
                    "has one text twice",
                    found=f"{first[comparable(text)]!r} and {text!r}",
                    expected="texts that differ in more than spaces, apostrophes or capitals",
                    fix="remove one of the two",
                )


def _bad_complements(
    complements: Mapping[str, Any], verbs: Mapping[str, Verb]
) -> Iterator[Problem]:
    """Verbs without complements, and a complement of two verbs: its prompt would have two right
    answers."""
    others = [name for name in complements if name not in verbs]
    for lemma in verbs:
        if complements and lemma not in complements:
            misspelled = closest(lemma, others)
            yield Problem(
                ("complements", lemma),
                "a verb without complements",
                found=f"only {', '.join(complements)}",
                expected="complements for every verb of verbs.yaml",
                fix=f"rename {misspelled!r} to {lemma!r}"
                if misspelled
                else f"add them, as in {EXAMPLE} of the repository",
            )
    owner: dict[str, str] = {}
    for lemma in filter(verbs.__contains__, complements):
        for english in _mapping(complements[lemma]):
            other = owner.setdefault(comparable(english), lemma)
            if other != lemma:
                yield Problem(
                    ("complements", lemma),
                    "a complement that another verb has too",
                    found=f"{english!r}, also under {other!r}",
                    expected="each complement under one verb",
                    fix="change one of the two",
                )


def _mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is a mapping; an empty one otherwise: the schema has refused that."""
    return value if isinstance(value, Mapping) else {}
