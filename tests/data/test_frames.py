"""The message for every mistake in frames.yaml, and what its texts must not contain."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import ROOT

from minituner.data.frames import SCHEMA, load_grammar
from minituner.data.verbs import PAST_TENSES, PERSONS, TENSES, Verb, load_verbs
from minituner.errors import UserError
from minituner.storage.schema import load_schema

RAW = ROOT / "data" / "raw"


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(RAW / "verbs.yaml")


def refusal_of(folder: Path, verbs: dict[str, Verb], changes: dict[str, str]) -> str:
    """The message about the project's frames.yaml with some texts in it replaced."""
    text = (RAW / "frames.yaml").read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "frames.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        load_grammar(path, verbs)
    return str(refusal.value).replace(f"{path}: ", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("to school: a la escuela", "by train: en tren", "complements.come: a complement that"),
        ("to school: a la escuela", "to school:", "complements.go.to school: the value cannot"),
        ("to school: a la escuela", "'': a la escuela", "complements.go.: the name cannot be"),
        ("times: perfect_end", "times: sometimes", "frames.perfect_end.times: unknown group"),
        ("tense: present", "tense: aorist", "frames.present_last.tense: the value cannot"),
        ("will __ {complement}", "will {complement}", "frames.future_last.english: the value"),
        ("will __ {complement}", "will __ __ {complement}", "frames.future_last.english: the"),
        ("{have} {time}", "{has} {time}", "frames.perfect_already.english: the value cannot"),
        ("{verb} {complement}", "{verb} {complement", "frames.time_last.spanish: the value"),
        ("person: 1sg", "person: 7sg", "subjects.0.person: the value cannot be used"),
        ("english: you, ", "", "subjects.1.english: the key is missing"),
        ("english: you, ", "english: 'you ', ", "subjects.1.english: the value cannot be used"),
        ("english: you, ", "english: y\u200bou, ", "subjects.1.english: the value cannot"),
        ("english: you, ", "english: I, ", "subjects: has one text twice"),
        ("english: you, ", "english: He, ", "subjects: has one text twice"),
        ("yesterday: ayer", "yesterday: ayer\n    Yesterday: ayer", "times.past: has one text"),
        ("always: siempre", "now: a\n      Now: a", "states.times.perfect_already: has one text"),
        (
            "to school: a la escuela",
            "to  school: a la escuela\n    to school: a la escuela",
            "complements.go: has one text twice",
        ),
        ("to school: a la escuela", "TO THE PARTY: a la fiesta", "complements.come: a complement"),
        ("verbs: [like, want]", "verbs: [like, wont]", "states.verbs: unknown verb"),
        ("verbs: [like, want]", "verbs: like", "states.verbs: the value cannot be used"),
        (
            "\n    perfect_already:\n      a",
            "\n    perfect:\n      a",
            "states.times.perfect: unkn",
        ),
        ("\n  go:\n", "\n  goo:\n", "complements.go: a verb without complements"),
        ("\ncomplements:", "\ncomplement:", "complement: unknown key"),
        ("\ncomplements:", "\ncomplements: {}\nothers:", "complements: has no keys"),
        ("subjects:\n", "subjects: []\nsubject:\n", "subjects: the value cannot be used"),
    ],
)
def test_bad_frames_are_refused(
    tmp_path: Path, verbs: dict[str, Verb], old: str, new: str, message: str
) -> None:
    text = refusal_of(tmp_path, verbs, {old: new})
    assert message in text
    assert all(part in text for part in ("found:", "expected:", "fix:"))


def test_tense_without_a_frame_is_refused(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    text = (RAW / "frames.yaml").read_text(encoding="utf-8")
    path = tmp_path / "frames.yaml"
    path.write_text(text.replace("tense: future", "tense: present"), encoding="utf-8")
    with pytest.raises(UserError, match="frames: no frame has the tense 'future'"):
        load_grammar(path, verbs)


@pytest.mark.parametrize("content", ["", "- one", "one"])
def test_frames_file_without_keys_is_refused(
    tmp_path: Path, verbs: dict[str, Verb], content: str
) -> None:
    path = tmp_path / "frames.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"frames\.yaml: has no keys"):
        load_grammar(path, verbs)


def test_all_mistakes_in_frames_are_reported(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    message = refusal_of(
        tmp_path,
        verbs,
        {
            "{english: he, person: 3sg, spanish: null": "{english: no, person: 3, spanish: 7",
            "tense: present": "tense: aorist",
            "{subject} will __": "{subject will __",
            "twice: dos veces": "twice:",
            "\nstates:\n": "\nstates:\n  verb: [be]\n",
            "times: perfect_end": "times: perfect_ent",
            "to school: a la escuela": "by train: en tren",
            "\n  finish:\n": "\n  finnish:\n",
        },
    )
    assert message.startswith("10 mistakes:\n")
    for words in (
        "subjects.2.english: the value cannot be used\n  found:    false (true or false)",
        "subjects.2.person: the value cannot be used\n  found:    3 (a number)",
        "subjects.2.spanish: the value cannot be used",
        "frames.present_last.tense: the value cannot be used\n  found:    'aorist'",
        "frames.future_last.english: the value cannot be used",
        "frames.perfect_end.times: unknown group of times\n  found:    'perfect_ent'",
        "times.perfect_end.twice: the value cannot be used\n  found:    nothing (null)",
        "states.verb: unknown key",
        "complements.come: a complement that another verb has too",
        "complements.finish: a verb without complements",
        "did you mean 'perfect_end'?",
        "rename 'finnish' to 'finish'",
    ):
        assert words in message


def test_texts_hold_no_form_of_a_verb(verbs: dict[str, Verb]) -> None:
    grammar = load_grammar(RAW / "frames.yaml", verbs)
    forms = {v.english(tense, p) for v in verbs.values() for tense in TENSES for p in PERSONS}
    forms |= {verb.wrong(tense) for verb in verbs.values() for tense in PAST_TENSES}
    texts = [text for of_verb in grammar.complements.values() for text in of_verb]
    texts += [time for group in grammar.times.values() for time in group]
    texts += [subject.english for subject in grammar.subjects]
    assert not forms & {word for text in texts for word in text.lower().split()}


def test_schema_lists_the_tenses_and_persons() -> None:
    parts = load_schema(SCHEMA)["properties"]
    assert parts["frames"]["additionalProperties"]["properties"]["tense"]["enum"] == list(TENSES)
    assert parts["subjects"]["items"]["properties"]["person"]["enum"] == list(PERSONS)
