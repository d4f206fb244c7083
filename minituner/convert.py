"""Sentences of one's own as corpus rows: finds the verb form in each and makes the blank.

The rule: one row for each sentence, with the blank at the first past form in it of a verb that is
asked for. "She went home and ate." asks for "went"; "She had eaten." for "eaten", since *had* only
helps there. After a form of *have* (contractions included, at most three words before) a form that
can be a past participle is one, elsewhere it is the past simple. Forms in capitals are passed over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minituner.corpus import BLANK, COLUMNS, SLASH
from minituner.errors import UserError
from minituner.verbs import PAST_TENSES, Verb

PERSON_OF = {"i": "1sg", "you": "2sg", "we": "1pl", "they": "3pl"}  # others are 3sg
HAVE = re.compile(
    r"\b(?:have|has|had)(?:n['\u2019]t)?\b|\bhaving\b|\w['\u2019](?:ve|s|d)\b", re.IGNORECASE
)
WORDS_AFTER_HAVE = 3  # "has not yet really gone"


@dataclass(frozen=True)
class Sentence:
    """One line of a user's table."""

    english: str
    spanish: str | None
    lemma: str | None  # the verb to ask for; None takes the first known one
    place: str  # file:line


def read_sentences(path: str | Path) -> Iterator[Sentence]:
    """The lines of a two-column TSV (English, Spanish) or of a CSV whose head names ``en`` and, if
    it likes, ``es`` and ``lemma``.

    Raises:
        UserError: The file cannot be read, its ending is another, or a line has not its columns.
    """
    path = Path(path)
    if path.suffix not in (".tsv", ".csv"):
        raise _refusal(path, "is neither TSV nor CSV", f"a file that ends in {path.suffix!r}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from (_tsv if path.suffix == ".tsv" else _csv)(path, stream)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _refusal(path, "cannot be read", str(error)) from error


def _tsv(path: Path, stream: Iterator[str]) -> Iterator[Sentence]:
    for number, line in enumerate(stream, start=1):
        cells = line.rstrip("\r\n").split("\t")
        if line.strip():
            if len(cells) > 2:
                raise _refusal(f"{path}:{number}", "has another number of columns", repr(line))
            yield Sentence(cells[0].strip(), _or_none(cells[1:]), None, f"{path}:{number}")


def _csv(path: Path, stream: Iterator[str]) -> Iterator[Sentence]:
    reader = csv.DictReader(stream, strict=True)
    if "en" not in (reader.fieldnames or ()):
        raise _refusal(f"{path}:1", "names no column en", ", ".join(reader.fieldnames or ()))
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if None in row or not (row["en"] or "").strip():
            raise _refusal(place, "has another number of columns, or no English", str(row))
        yield Sentence(
            row["en"].strip(), _or_none([row.get("es")]), _or_none([row.get("lemma")]), place
        )


def _or_none(cells: Sequence[str | None]) -> str | None:
    text = (cells[0] or "").strip() if cells else ""
    return text or None


def _refusal(place: str | Path, what: str, found: str) -> UserError:
    return UserError(
        place,
        what,
        found=found,
        expected="a .tsv of two columns, English and Spanish (the second may be left out), or a "
        ".csv in UTF-8 with a head of en, es and lemma (the last two may be left out)",
        mend="mend the line, or save the table as one of those",
    )


def convert(
    sentences: Iterator[Sentence], verbs: Mapping[str, Verb], prefix: str
) -> tuple[list[dict[str, str | None]], list[Sentence]]:
    """Corpus rows, and the sentences in which no past form of a known verb was found.

    Args:
        verbs: The verbs to ask for, by lemma.
        prefix: What the rows' ids begin with.

    Raises:
        UserError: A sentence names a lemma that is not among ``verbs``.
    """
    forms = _forms(verbs)
    rows: list[dict[str, str | None]] = []
    without: list[Sentence] = []
    for sentence in sentences:
        if sentence.lemma is not None and sentence.lemma not in verbs:
            raise UserError(
                sentence.place,
                "names a verb whose forms are not known",
                found=repr(sentence.lemma),
                expected=f"one of {', '.join(verbs)}",
                mend="mend the lemma, or add the verb to the file of verbs (--verbs)",
            )
        if "_" in sentence.english:
            raise UserError(
                sentence.place,
                "has an underscore in it, which stands for the blank",
                found=repr(sentence.english),
                expected="a whole sentence",
                mend="take the underscore out",
            )
        row = _row(sentence, forms)
        if row is None:
            without.append(sentence)
        else:
            rows.append({"id": f"{prefix}-{len(rows) + 1:06d}", **row})
    return rows, without


@dataclass(frozen=True)
class Form:
    """One reading of a word."""

    verb: Verb
    tense: str
    person: str


def _forms(verbs: Mapping[str, Verb]) -> dict[str, list[Form]]:
    """Each past form with its readings, third persons first."""
    forms: dict[str, list[Form]] = {}
    for verb in verbs.values():
        for tense in PAST_TENSES:
            for person in ("3sg", "3pl", "1sg", "2sg", "1pl"):
                form = Form(verb, tense, person)
                forms.setdefault(verb.english(tense, person), []).append(form)
    return forms


def _row(sentence: Sentence, forms: Mapping[str, Sequence[Form]]) -> dict[str, str | None] | None:
    """The columns of a sentence's row; None if no form is found."""
    for word in re.finditer(r"\w+", sentence.english):
        before, after = sentence.english[: word.start()], sentence.english[word.end() :]
        if word.group() == "had" and _helps(after, forms):
            continue
        readings = [
            form
            for form in forms.get(word.group(), ())
            if sentence.lemma in (None, form.verb.lemma)
            and (form.tense == "past_simple" or _after_have(before))
        ]
        if readings:
            return _columns(sentence, _best(readings, before, sentence), before, after)
    return None


def _after_have(before: str) -> bool:
    """Whether a form of *have* stands at most a few words before."""
    ends = [found.end() for found in HAVE.finditer(before)]
    return bool(ends) and len(before[ends[-1] :].split()) <= WORDS_AFTER_HAVE


def _helps(after: str, forms: Mapping[str, Sequence[Form]]) -> bool:
    """Whether a past participle follows within a few words."""
    words = re.findall(r"[^\W_]+", after)[: WORDS_AFTER_HAVE + 1]
    return any(form.tense == "past_participle" for word in words for form in forms.get(word, ()))


def _best(readings: Sequence[Form], before: str, sentence: Sentence) -> Form:
    """A participle before a past simple; then one whose Spanish is in the Spanish sentence; then
    the person of the last pronoun before it."""
    pronouns = [PERSON_OF[w] for w in re.findall(r"\w+", before.lower()) if w in PERSON_OF]

    def unfit(form: Form) -> tuple[bool, bool, bool]:
        return (
            form.tense != "past_participle",
            _spanish_in(sentence, form) is None,
            form.person not in pronouns[-1:],
        )

    return min(readings, key=unfit)


def _spanish_in(sentence: Sentence, form: Form) -> str | None:
    """The Spanish form of a reading, if it stands in the sentence's Spanish."""
    spanish = form.verb.spanish(form.tense, form.person)
    found = re.search(rf"\b{re.escape(spanish)}\b", sentence.spanish or "", re.IGNORECASE)
    return spanish if found else None


def _columns(sentence: Sentence, form: Form, before: str, after: str) -> dict[str, str | None]:
    verb, spanish = form.verb, _spanish_in(sentence, form)
    english = verb.english(form.tense, form.person)
    values: dict[str, str | None] = {
        "text": sentence.english,
        "spanish": sentence.spanish,
        "verb_lemma": verb.lemma,
        "spanish_lemma": verb.spanish_lemma if spanish else None,
        "tense": form.tense,
        "person": form.person,
        "english_regularity": verb.english_regularity,
        "spanish_regularity": verb.spanish_regularity if spanish else None,
        "label": "correct",
        "prompt": f"{before}{BLANK}{after}",
        "target": f"{english}{SLASH}{spanish}" if spanish else english,
    }
    return {column: values.get(column) for column in COLUMNS if column != "id"}
