"""The generator of both corpora: same verbs, frames and settings, same bytes.

Every sentence is a card: a subject, a complement and a time for one verb. The cards of a verb are
shuffled once and dealt once, first to the study's corpus and then to the base's. So the two have no
sentence in common, and a larger base corpus leaves the study's as it is.

    python -m minituner.data.generate --check     # do the committed files follow from data/raw?
    python -m minituner.data.generate --force     # write them anew, over any change made by hand
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, pairwise, product
from pathlib import Path
from typing import Any

from minituner.data.prompts import BLANK, target_text
from minituner.data.spelling import comparable
from minituner.data.verbs import PAST_TENSES, PERSONS, TENSES, Verb, load_verbs
from minituner.errors import Mistakes, UserError, number_of
from minituner.storage.files import atomic_open
from minituner.storage.sections import Section, brief, unknown_word
from minituner.storage.strict_yaml import read_yaml

# The study's corpus, in rows. Of 500, 80 % make 25 batches of 16.
IRREGULAR_ROWS = 500
REGULAR_ROWS = 160
CORRECTION_PAIRS = 24
OTHER_TENSE_ROWS = 60
# The base corpus, in parts of a hundred: mostly the two tenses the study asks about.
BASE_PARTS = {"past_simple": 36, "past_participle": 36, "present": 14, "future": 14}

ENGLISH_SLOTS = ("subject", "have", "complement", "time")
SPANISH_SLOTS = ("subject", "verb", "complement", "time")

Record = dict[str, str | None]


# --- what frames.yaml says -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject; the Spanish is null where Spanish drops it."""

    english: str
    person: str
    spanish: str | None
    experiencer: str | None


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
    """All of frames.yaml, at ``path``. Times and complements are pairs of English and Spanish."""

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
        """A group of times as this verb takes it: what lasts does not happen "twice"."""
        if verb.lemma in self.state_verbs and group in self.state_times:
            return self.state_times[group]
        return self.times[group]


def load_grammar(path: Path, verbs: Mapping[str, Verb]) -> Grammar:
    """Read frames.yaml.

    Raises:
        UserError: A key is missing, unknown or mistyped, or two verbs share a complement; it names
            every such key at once.
    """
    mistakes = Mistakes()
    content = Section(path, "", read_yaml(path), mistakes, "data/raw/frames.yaml")
    content.only(("subjects", "frames", "times", "states", "complements"))
    states = content.section("states")
    states.only(("verbs", "times"))
    times = _groups(content.section("times"))
    state_times = states.section("times")
    state_times.only(times)
    grammar = Grammar(
        path=path,
        subjects=_subjects(content),
        frames=_frames(content.section("frames"), times),
        times=times,
        state_verbs=frozenset(_state_verbs(states, verbs)),
        state_times=_groups(state_times),
        complements=_groups(content.section("complements"), verbs),
    )
    _check_complements(content, grammar.complements)
    mistakes.raise_if_any()
    return grammar


def _groups(section: Section, names: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """Groups of English and Spanish texts: all of a section, or those of these names."""
    groups = {}
    for name in section.values if names is None else names:
        group = section.section(name)
        groups[name] = {english: _spanish(group, english) for english in group.values}
        _note_twice(group, "", groups[name])
    return groups


def _spanish(group: Section, english: str) -> str:
    spanish = group.values[english]
    if isinstance(spanish, str) and spanish.strip() and english.strip():
        return spanish
    group.note(
        "",
        "is not English and Spanish",
        found=f"{english!r}: {spanish!r}",
        expected="two texts (quoted, if YAML would read one as something else)",
        fix="write 'english: spanish'",
    )
    return ""


def _subjects(content: Section) -> list[Subject]:
    entries = content.values.get("subjects")
    if not isinstance(entries, list) or not entries:
        content.note(
            "subjects",
            "is not a list of subjects",
            found=brief(entries),
            expected="english, person, spanish and experiencer for each",
            fix="write each subject as data/raw/frames.yaml of the repository has it",
        )
        return []
    subjects = [
        _subject(
            Section(content.path, f"subjects.{i}", entry, content.mistakes, "data/raw/frames.yaml")
        )
        for i, entry in enumerate(entries)
    ]
    _note_twice(content, "subjects", (subject.english for subject in subjects))
    return subjects


def _subject(entry: Section) -> Subject:
    entry.only(("english", "person", "spanish", "experiencer"))
    return Subject(
        english=entry.text("english"),
        person=entry.choice("person", "person", PERSONS),
        spanish=entry.text_or_null("spanish"),
        experiencer=entry.text_or_null("experiencer"),
    )


def _frames(section: Section, times: Collection[str]) -> list[Frame]:
    frames = [_frame(name, section.section(name), times) for name in section.values]
    for tense in TENSES:
        if all(frame.tense != tense for frame in frames):
            section.note(
                "",
                f"no frame has the tense {tense!r}",
                found=", ".join(section.values),
                expected="at least one frame for every tense",
                fix="add one",
            )
    return frames


def _frame(name: str, entry: Section, times: Collection[str]) -> Frame:
    """A frame with a known tense and times, known slots, and one blank."""
    entry.only(("tense", "times", "english", "spanish"))
    frame = Frame(
        name=name,
        tense=entry.choice("tense", "tense", TENSES),
        times=entry.choice("times", "times", times),
        english=_template(entry, "english", ENGLISH_SLOTS),
        spanish=_template(entry, "spanish", SPANISH_SLOTS),
    )
    if frame.english and frame.english.count(BLANK) != 1:
        entry.note(
            "",
            "the English has not exactly one blank",
            found=repr(frame.english),
            expected=f"one {BLANK}",
            fix=f"write {BLANK} where the verb form goes",
        )
    return frame


def _template(entry: Section, key: str, known: Sequence[str]) -> str:
    """A sentence whose slots are all known."""
    template = entry.text(key)
    slots = re.findall(r"{([^{}]*)}", template)
    for slot in slots:
        if slot not in known:
            entry.mistakes.add(unknown_word(entry.place(key), "slot", slot, known))
    if template.count("{") != len(slots) or template.count("}") != len(slots):
        entry.note(
            key,
            "has a brace that belongs to no slot",
            found=repr(template),
            expected="each slot in one pair of braces, such as {subject}, and no other brace",
            fix="close the slot, or remove the brace",
        )
    return template


def _state_verbs(states: Section, verbs: Collection[str]) -> list[str]:
    lemmas = states.values.get("verbs", [])
    if not isinstance(lemmas, list):
        states.note(
            "verbs",
            "is not a list of verbs",
            found=brief(lemmas),
            expected="lemmas in brackets: [be, have]",
            fix="write the brackets",
        )
        return []
    for lemma in map(str, lemmas):
        if lemma not in verbs:
            where = states.place("verbs")
            states.mistakes.add(unknown_word(where, "verb", lemma, verbs))
    return [str(lemma) for lemma in lemmas]


def _note_twice(section: Section, key: str, texts: Iterable[str]) -> None:
    """Two spellings of one text would make cards that differ and a sentence that does not."""
    first: dict[str, str] = {}
    for text in filter(None, texts):
        other = first.setdefault(comparable(text), text)
        if other is not text:
            section.note(
                key,
                "has one text twice",
                found=f"{other!r} and {text!r}",
                expected="texts that differ in more than spaces, apostrophes or capitals",
                fix="remove one of the two",
            )


def _check_complements(content: Section, complements: Mapping[str, Mapping[str, str]]) -> None:
    """Two verbs with one complement would make one prompt with two right answers."""
    owner: dict[str, str] = {}
    for lemma, pairs in complements.items():
        for english in pairs:
            other = owner.setdefault(comparable(english), lemma)
            if other != lemma:
                content.note(
                    f"complements.{lemma}",
                    "a complement that another verb has too",
                    found=f"{english!r}, also under {other!r}",
                    expected="each complement under one verb",
                    fix="change one of the two",
                )


# --- cards -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Card:
    """What one sentence of a verb is made of; complement and time are (English, Spanish)."""

    subject: Subject
    complement: tuple[str, str]
    time: tuple[str, str]


class Dealer:
    """Deals each card once. Frames that differ only in word order draw from the same deck."""

    def __init__(self, grammar: Grammar, verbs: Mapping[str, Verb], seed: int) -> None:
        self.grammar = grammar
        self._decks = {
            (lemma, group): _shuffled_deck(grammar, verb, group, seed)
            for lemma, verb in verbs.items()
            for group in grammar.times
        }

    def deal(self, verb: Verb, frame: Frame) -> Card:
        """The next card.

        Raises:
            UserError: The deck is used up.
        """
        deck = self._decks[verb.lemma, frame.times]
        if not deck:
            raise UserError(
                f"{self.grammar.path}: complements.{verb.lemma}",
                f"not enough sentences for {frame.name!r}",
                found="every subject, complement and time used",
                expected="a new sentence for every row",
                fix="add complements, subjects or times, or lower generate.base_rows",
            )
        return deck.pop()


def _shuffled_deck(grammar: Grammar, verb: Verb, group: str, seed: int) -> list[Card]:
    complements = grammar.complements[verb.lemma].items()
    times = grammar.times_of(verb, group).items()
    deck = [Card(*parts) for parts in product(grammar.subjects, complements, times)]
    # A stream of its own for each deck: a new complement changes that verb's sentences alone.
    random.Random(f"{seed}/{verb.lemma}/{group}").shuffle(deck)
    return deck


# --- sentences -------------------------------------------------------------------------------


def make_row(verb: Verb, frame: Frame, card: Card, *, fill_in: bool, wrong: bool) -> Record:
    """One row without its id; ``wrong`` writes the over-regularized form into the text."""
    tense, person = frame.tense, card.subject.person
    correct = verb.english(tense, person)
    prompt = _english_prompt(frame, card)
    return {
        "text": prompt.replace(BLANK, verb.wrong(tense) if wrong else correct),
        "spanish": _spanish_sentence(verb, frame, card),
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
        "complement": card.complement[0],
    }


def _english_prompt(frame: Frame, card: Card) -> str:
    return _sentence(
        frame.english,
        subject=card.subject.english,
        have="has" if card.subject.person == "3sg" else "have",
        complement=card.complement[0],
        time=card.time[0],
    )


def _spanish_sentence(verb: Verb, frame: Frame, card: Card) -> str:
    subject = card.subject.experiencer if verb.spanish_clitics else card.subject.spanish
    return _sentence(
        frame.spanish,
        subject=subject or "",
        verb=verb.spanish_phrase(frame.tense, card.subject.person),
        complement=card.complement[1],
        time=card.time[1],
    )


def _sentence(template: str, **slots: str) -> str:
    sentence = " ".join(template.format(**slots).split())  # a dropped subject leaves no gap
    return sentence[0].upper() + sentence[1:]


# --- the study's corpus ----------------------------------------------------------------------


def study_corpus(verbs: Mapping[str, Verb], dealer: Dealer) -> dict[str, list[Record]]:
    """The study's files, by name without suffix."""
    irregular = [verb for verb in verbs.values() if verb.irregular]
    regular = [verb for verb in verbs.values() if not verb.irregular]
    others = tuple(tense for tense in TENSES if tense not in PAST_TENSES)
    return {
        "irregular": _correct_rows(irregular, dealer, PAST_TENSES, IRREGULAR_ROWS),
        "regular": _correct_rows(regular, dealer, PAST_TENSES, REGULAR_ROWS),
        "corrections": [
            make_row(*dealt, fill_in=True, wrong=wrong)
            for dealt in _deal_evenly(irregular, dealer, PAST_TENSES, CORRECTION_PAIRS)
            for wrong in (True, False)
        ],
        "other_tenses": _correct_rows(list(verbs.values()), dealer, others, OTHER_TENSE_ROWS),
    }


def _correct_rows(
    verbs: Sequence[Verb], dealer: Dealer, tenses: Sequence[str], total: int
) -> list[Record]:
    return [
        make_row(*dealt, fill_in=True, wrong=False)
        for dealt in _deal_evenly(verbs, dealer, tenses, total)
    ]


def _deal_evenly(
    verbs: Sequence[Verb], dealer: Dealer, tenses: Sequence[str], total: int
) -> Iterator[tuple[Verb, Frame, Card]]:
    """Deal ``total`` cards: every tense, verb and frame gets the same number, or one more."""
    for tense, in_tense in zip(tenses, share_evenly(total, len(tenses)), strict=True):
        # Frames take turns across the whole tense, so that their proportions are exactly the same
        # whatever the number of verbs: irregular and regular rows must not differ in their frames.
        turns = cycle(dealer.grammar.frames_of(tense))
        for verb, count in zip(verbs, share_evenly(in_tense, len(verbs)), strict=True):
            for _ in range(count):
                frame = next(turns)
                yield verb, frame, dealer.deal(verb, frame)


# --- the base corpus -------------------------------------------------------------------------


def base_corpus(
    verbs: Mapping[str, Verb],
    dealer: Dealer,
    *,
    rows: int,
    over_regularized_share: float,
    seed: int,
) -> dict[str, list[Record]]:
    """The base's files, by name without suffix: a learner's sentences, some forms over-regularized.

    Args:
        rows: The number of sentences in both files together.
        over_regularized_share: Which part of an irregular verb's past forms is wrong, 0 to 1.
        seed: The order of the rows.
    """
    plain: list[Record] = []
    fill_in: list[Record] = []
    by_tense = share_out(rows, list(BASE_PARTS.values()))
    for tense, in_tense in zip(BASE_PARTS, by_tense, strict=True):
        for verb, count in zip(verbs.values(), share_evenly(in_tense, len(verbs)), strict=True):
            weak = verb.irregular and tense in PAST_TENSES
            cell = _base_cell(verb, tense, dealer, count, over_regularized_share if weak else 0.0)
            plain += (row for row in cell if row["prompt"] is None)
            fill_in += (row for row in cell if row["prompt"] is not None)
    order = random.Random(f"{seed}/base")
    order.shuffle(plain)
    order.shuffle(fill_in)
    return {"plain": plain, "fill_in": fill_in}


def _base_cell(verb: Verb, tense: str, dealer: Dealer, count: int, share: float) -> list[Record]:
    """One verb in one tense: half plain and half fill-in, each half in every frame.

    The wrong rows are spread evenly over these kinds, so their share is exact (to the nearest row)
    in the cell; which sentences they are is up to the shuffled deck.
    """
    kinds = list(product((False, True), dealer.grammar.frames_of(tense)))
    sizes = share_evenly(count, len(kinds))
    slots = [kind for kind, size in zip(kinds, sizes, strict=True) for _ in range(size)]
    wrongs = share_evenly(round(share * count), count)  # a 1 in every wrong row's place
    return [
        make_row(verb, frame, dealer.deal(verb, frame), fill_in=fill_in, wrong=bool(wrong))
        for (fill_in, frame), wrong in zip(slots, wrongs, strict=True)
    ]


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that sum to ``total`` exactly, in the proportion of ``weights``."""
    marks = [total * so_far // sum(weights) for so_far in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(marks)]


def share_evenly(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole numbers that differ by one at most, the larger ones spread."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


# --- files -----------------------------------------------------------------------------------


def build(raw: Path, out: Path, *, seed: int, share: float, base_rows: int) -> dict[Path, bytes]:
    """Both corpora in memory: the content of each file, by the path it belongs at."""
    verbs = load_verbs(raw / "verbs.yaml")
    grammar = load_grammar(raw / "frames.yaml", verbs)
    dealer = Dealer(grammar, verbs, seed)
    study = study_corpus(verbs, dealer)  # first: its cards do not depend on the base's rows
    base = base_corpus(verbs, dealer, rows=base_rows, over_regularized_share=share, seed=seed)
    return {
        out / folder / f"{name}.jsonl": _json_lines(rows, prefix + name)
        for folder, prefix, corpus in (("verb-corpus", "", study), ("base-corpus", "base-", base))
        for name, rows in corpus.items()
    }


def _json_lines(rows: Sequence[Record], name: str) -> bytes:
    """The rows as JSON lines, each with its id: the file's name and a number."""
    lines = (
        json.dumps({"id": f"{name}-{number:04}", **row}, ensure_ascii=False)
        for number, row in enumerate(rows, start=1)
    )
    return "".join(line + "\n" for line in lines).encode()


def differing(files: Mapping[Path, bytes]) -> list[Path]:
    """The files that are missing on disk or hold other bytes."""
    return [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]


def write(files: Mapping[Path, bytes], *, force: bool) -> list[Path]:
    """Write the files that are missing or, with ``force``, differ; returns those written.

    Raises:
        UserError: A file differs and ``force`` is not set. Nothing has been written then.
    """
    stale = differing(files)
    edited = [path for path in stale if path.exists()]
    if edited and not force:
        raise UserError(
            edited[0].parent,
            "holds files that the generator did not write so; they may be edited by hand",
            found=", ".join(map(str, edited)),
            expected="no file, or the generator's own bytes",
            fix="keep the edits and leave it at that, or lose them with --force",
        )
    for path in stale:
        with atomic_open(path, "wb") as stream:
            stream.write(files[path])
    return stale


# --- the command -----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options.config)
        files = build(options.raw, options.out, **settings)
        if options.check:
            return _report_differences(files)
        written = write(files, force=options.force)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for path, data in files.items():
        rows, state = data.count(b"\n"), "written" if path in written else "unchanged"
        print(f"{path}: {number_of(rows, 'row')}, {state}")
    return 0


def _settings(path: Path) -> dict[str, Any]:
    """What ``build`` takes, from the config's section ``generate``.

    Raises:
        UserError: The section or a setting is missing, or cannot be used.
    """
    mistakes = Mistakes()
    section = Section(path, "", read_yaml(path), mistakes, "config.yaml").section("generate")
    section.only(("seed", "base_rows", "over_regularized_share"))
    settings = {
        "seed": section.number("seed", 0, math.inf, whole=True),
        "base_rows": section.number("base_rows", 1, math.inf, whole=True),
        "share": section.number("over_regularized_share", 0, 1),
    }
    mistakes.raise_if_any()
    return settings


def _report_differences(files: Mapping[Path, bytes]) -> int:
    stale = differing(files)
    for path in stale:
        print(f"{path}: {'differs' if path.exists() else 'missing'}", file=sys.stderr)
    return 1 if stale else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minituner.data.generate",
        description="Generate the study's and the base's corpus from the verbs and frames.",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    mode.add_argument("--force", action="store_true", help="overwrite files that differ")
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("data/processed"), help="(%(default)s)")
    parser.add_argument(
        "--config", type=Path, default=Path("config.yaml"), help="its `generate` section is used"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
