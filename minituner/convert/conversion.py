"""Converts a user's sentences to corpus rows: one row per sentence, with the blank at a past form.

The blank replaces the first past form of a wanted verb whose tense is certain (see
``minituner.convert.tense``). "She went home and ate." asks for "went", and "She had eaten." for
"eaten", since *had* is only an auxiliary there. A sentence without such a form gives no row and is
reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minituner.convert.clauses import Word
from minituner.convert.english import Vocabulary
from minituner.convert.table import Sentence, Table
from minituner.convert.tense import PARTICIPLE, PAST, Finding, past_forms
from minituner.data.prompts import BLANK, target_text
from minituner.data.rows import COLUMNS
from minituner.data.spelling import comparable
from minituner.data.verbs import PERSONS, Verb
from minituner.errors import first_of, number_of, shortened

SHOWN = 10  # sentences per list in a report


@dataclass
class Conversion:
    """The rows, and the sentences that gave none or lost their Spanish, with the reason."""

    rows: list[dict[str, str | None]] = field(default_factory=list)
    doubtful: list[tuple[Sentence, str]] = field(default_factory=list)
    without_form: list[tuple[Sentence, str]] = field(default_factory=list)
    without_spanish: list[tuple[Sentence, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Form:
    """The verb form that a row's blank replaces."""

    word: Word
    verb: Verb
    tense: str
    person: str
    spanish: str | None  # the Spanish form, if the Spanish sentence contains it

    @property
    def english(self) -> str:
        """The answer, as the file of verbs spells it."""
        return self.verb.english(self.tense, self.person)


def convert(sentences: Iterable[Sentence], verbs: Mapping[str, Verb], prefix: str) -> Conversion:
    """Convert sentences, whose lemmas are among ``verbs``, to corpus rows.

    Args:
        verbs: The verbs to ask for, by lemma.
        prefix: The beginning of the rows' ids; anything in it but letters and digits becomes
            hyphens.
    """
    prefix = re.sub(r"[\W_]+", "-", prefix).strip("-") or "own"
    vocabulary = Vocabulary(verbs)
    done = Conversion()
    for sentence in sentences:
        wanted_verbs = [verbs[sentence.lemma]] if sentence.lemma else list(verbs.values())
        found = past_forms(sentence.english, vocabulary)
        candidates = [
            form for finding in found if (form := _form_or_doubt(finding, sentence, wanted_verbs))
        ]
        form = next((form for form in candidates if isinstance(form, Form)), None)
        if form is not None:
            id_ = f"{prefix}-{len(done.rows) + 1:06d}"
            done.rows.append({"id": id_, **_columns(sentence, form)})
            if sentence.spanish and not form.spanish:
                done.without_spanish.append((sentence, _why_no_spanish(sentence, form)))
        elif candidates:
            done.doubtful.append((sentence, str(candidates[0])))
        else:
            whose = sentence.lemma or "a known verb"
            done.without_form.append((sentence, f"no past form of {whose}: {sentence.english!r}"))
    return done


def _form_or_doubt(
    finding: Finding, sentence: Sentence, wanted_verbs: Sequence[Verb]
) -> Form | str | None:
    """The form of a finding, or the reason why it is not certain; None if no wanted verb has it."""
    word, wanted = finding.word, sentence.tense
    if not any(_persons(verb, tense, word) for verb in wanted_verbs for tense in _tenses(finding)):
        return None
    shown = sentence.english[word.start : word.end]
    tense = finding.tense
    if wanted is not None and tense is None and wanted in finding.possible:
        tense = wanted
    if tense is None:
        return f"`{shown}` {finding.why}: {sentence.english!r}"
    if wanted not in (None, tense):
        return f"`{shown}` is not {wanted} but {tense}: {sentence.english!r}"
    verbs = [verb for verb in wanted_verbs if _persons(verb, tense, word)]
    if len(verbs) > 1:
        lemmas = " and of ".join(verb.lemma for verb in verbs)
        return f"`{shown}` is a form of {lemmas}: {sentence.english!r}"
    return _form(sentence, finding, verbs[0], tense) if verbs else None


def _tenses(finding: Finding) -> tuple[str, ...]:
    return finding.possible or (PAST, PARTICIPLE)


def _persons(verb: Verb, tense: str, word: Word) -> list[str]:
    """The persons for which a verb has this form."""
    return [p for p in PERSONS if comparable(verb.english(tense, p)) == word.text]


def _form(sentence: Sentence, finding: Finding, verb: Verb, tense: str) -> Form:
    """The form with its person: one whose Spanish is in the Spanish sentence, otherwise that of the
    subject, otherwise the third."""
    word, person_of_subject = finding.word, finding.person

    def unfit(form: Form) -> tuple[bool, bool, bool]:
        return (
            form.spanish is None,
            form.person != person_of_subject,
            not form.person.startswith("3"),
        )

    return min(
        (
            Form(word, verb, tense, person, _spanish_in(sentence, verb.spanish(tense, person)))
            for person in _persons(verb, tense, word)
        ),
        key=unfit,
    )


def _spanish_in(sentence: Sentence, form: str) -> str | None:
    """``form`` if the Spanish sentence contains it."""
    within = rf"(?<!\w){re.escape(comparable(form))}(?!\w)"
    return form if re.search(within, comparable(sentence.spanish or "")) else None


def _why_no_spanish(sentence: Sentence, form: Form) -> str:
    forms = dict.fromkeys(form.verb.spanish(form.tense, p) for p in PERSONS)
    return f"{form.english}: no {' or '.join(forms)} in {sentence.spanish!r}"


def _columns(sentence: Sentence, form: Form) -> dict[str, str | None]:
    """The columns of a row except its id."""
    verb, word = form.verb, form.word
    before, after = sentence.english[: word.start], sentence.english[word.end :]
    values: dict[str, str | None] = {
        "text": f"{before}{form.english}{after}",
        "spanish": sentence.spanish,
        "verb_lemma": verb.lemma,
        "spanish_lemma": verb.spanish_lemma if form.spanish else None,
        "tense": form.tense,
        "person": form.person,
        "english_regularity": verb.english_regularity,
        "spanish_regularity": verb.spanish_regularity if form.spanish else None,
        "label": "correct",
        "prompt": f"{before}{BLANK}{after}",
        "target": target_text(form.english, form.spanish),
    }
    return {column: values.get(column) for column in COLUMNS if column != "id"}


def report(done: Conversion, table: Table, corpus: str | Path) -> str:
    """A summary for the user: every count, and the first sentences of each list."""
    lines = [number_of(len(done.rows), "row") + (f" in {corpus}" if done.rows else "; no file")]
    if table.unused:
        lines.append(f"columns not used: {shortened(first_of(table.unused))}")
    for sentences, what in (
        (done.without_spanish, "whose Spanish does not contain the verb"),
        (done.doubtful, "in doubt; the columns lemma and tense can decide them"),
        (done.without_form, "without a form to ask for"),
    ):
        if sentences:
            lines.append(f"{number_of(len(sentences), 'sentence')} {what}:")
            lines += [f"  {one.place}: {shortened(why)}" for one, why in sentences[:SHOWN]]
        if len(sentences) > SHOWN:
            lines.append(f"  and {len(sentences) - SHOWN:,} more")
    return "\n".join(lines)
