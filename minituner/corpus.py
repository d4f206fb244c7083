"""The verbs, and the corpus rows: one sentence a line of JSON, every mistake named by file:line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from minituner.errors import UserError
from minituner.text import first_control

PERSONS = ("1sg", "2sg", "3sg", "1pl", "3pl")
PAST_TENSES = ("past_simple", "past_participle")  # the two a learner over-regularises
TENSES = (*PAST_TENSES, "present", "future")
REGULARITIES = ("irregular", "regular")
LABELS = ("correct", "mis_conjugated")
MISTAKES = ("over_regularized",)
BLANK = "__"
SLASH = " / "  # between the two sides of a target: "went / fue"

# The columns of a row, in the order they are written.
COLUMNS = (
    "id",
    "text",
    "spanish",
    "verb_lemma",
    "spanish_lemma",
    "tense",
    "person",
    "english_regularity",
    "spanish_regularity",
    "label",
    "mis_conjugation_type",
    "correct_form",
    "prompt",
    "target",
    "frame",
    "complement",
)
# A row may leave these out; that means null.
OPTIONAL = frozenset({"spanish", "spanish_lemma", "spanish_regularity", "frame", "complement"})
# These may be null but not absent: a misspelt "promt" would otherwise pass for a plain row.
NULLABLE = OPTIONAL | {"mis_conjugation_type", "correct_form", "prompt", "target"}
CHOICES: dict[str, tuple[str, ...]] = {
    "tense": TENSES,
    "person": PERSONS,
    "english_regularity": REGULARITIES,
    "spanish_regularity": REGULARITIES,
    "label": LABELS,
    "mis_conjugation_type": MISTAKES,
}

_FUTURE_ENDINGS = {"1sg": "é", "2sg": "ás", "3sg": "á", "1pl": "emos", "3pl": "án"}
_HABER = {"1sg": "he", "2sg": "has", "3sg": "ha", "1pl": "hemos", "3pl": "han"}
_BOM = b"\xef\xbb\xbf"


# --- verbs -----------------------------------------------------------------------------------


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
            file and the key.
    """
    entries = read_yaml(path)
    if not isinstance(entries, dict) or not entries:
        raise UserError(
            path,
            "holds no verbs",
            found=_brief(entries),
            expected="a mapping from each English lemma to its forms",
            mend="write the verbs as in data/raw/verbs.yaml",
        )
    return {str(lemma): _verb(path, str(lemma), entry) for lemma, entry in entries.items()}


def _verb(path: str | Path, lemma: str, entry: Any) -> Verb:
    english = section(path, lemma, entry, "english")
    spanish = section(path, lemma, entry, "spanish")
    in_english, in_spanish = f"{lemma}.english", f"{lemma}.spanish"
    clitics = spanish.get("clitics")
    # What is liked is singular, so the future of gustar, too, is the third person's for everybody.
    endings = dict.fromkeys(PERSONS, _FUTURE_ENDINGS["3sg"]) if clitics else _FUTURE_ENDINGS
    stem = _string(path, in_spanish, spanish, "future_stem")
    verb = Verb(
        lemma=lemma,
        english_regularity=_regularity(path, in_english, english),
        present=_present(path, in_english, english),
        past=_by_person(path, in_english, english, "past"),
        participle=_string(path, in_english, english, "participle"),
        wrong_past=_string(path, in_english, english, "wrong_past"),
        wrong_participle=_string(path, in_english, english, "wrong_participle"),
        spanish_lemma=_string(path, in_spanish, spanish, "lemma"),
        spanish_regularity=_regularity(path, in_spanish, spanish),
        spanish_present=_by_person(path, in_spanish, spanish, "present"),
        spanish_preterite=_by_person(path, in_spanish, spanish, "preterite"),
        spanish_participle=_string(path, in_spanish, spanish, "participle"),
        spanish_future={person: stem + ending for person, ending in endings.items()},
        spanish_clitics=_by_person(path, in_spanish, spanish, "clitics") if clitics else None,
        ambiguous=section(path, in_english, english, "ambiguous") if "ambiguous" in english else {},
    )
    forms = {*verb.past.values(), verb.participle, verb.wrong_past, verb.wrong_participle}
    for word, meaning in verb.ambiguous.items():
        if word not in forms or not isinstance(meaning, str):
            raise UserError(
                f"{path}: {in_english}.ambiguous",
                f"says nothing of a form of {lemma!r}",
                found=f"{word}: {_brief(meaning)}",
                expected=f"one of {', '.join(sorted(forms))}, and what else it means",
                mend="mend the word, or remove the line",
            )
    for key, tense in (("wrong_past", "past_simple"), ("wrong_participle", "past_participle")):
        if any(verb.wrong(tense) == verb.english(tense, person) for person in PERSONS):
            raise UserError(
                f"{path}: {in_english}.{key}",
                "is the correct form",
                found=verb.wrong(tense),
                expected="a form that is wrong in this tense: the other half of the minimal pair",
                mend=f"write the wrong form of {lemma!r} there",
            )
    return verb


def _present(path: str | Path, where: str, english: Mapping[str, Any]) -> dict[str, str]:
    present = _by_person(path, where, english, "present")
    if isinstance(english["present"], str):
        present["3sg"] = _string(path, where, english, "third_person")
    return present


def _by_person(path: str | Path, where: str, entry: Mapping[str, Any], key: str) -> dict[str, str]:
    """A form for each person; a single string stands for all of them."""
    if isinstance(entry.get(key), dict):
        forms = entry[key]
        return {person: _string(path, f"{where}.{key}", forms, person) for person in PERSONS}
    return dict.fromkeys(PERSONS, _string(path, where, entry, key))


def _regularity(path: str | Path, where: str, entry: Mapping[str, Any]) -> str:
    value = _string(path, where, entry, "regularity")
    if value not in REGULARITIES:
        raise UserError(
            f"{path}: {where}.regularity",
            "is not a regularity",
            found=repr(value),
            expected=_listed(REGULARITIES),
            mend="write one of those two words",
        )
    return value


def _string(path: str | Path, where: str, entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(
            f"{path}: {where}.{key}",
            "has no text",
            found=_brief(value) if key in entry else "no such key",
            expected="a non-empty string (quoted, if YAML would read it as something else)",
            mend=f"write {where}.{key}",
        )
    return value


def section(path: str | Path, where: str, entry: Any, key: str) -> dict[Any, Any]:
    """The non-empty mapping ``entry[key]`` of a YAML file.

    ``where`` is the key of ``entry`` itself, empty at the top of the file.

    Raises:
        UserError: There is none; it names the file and the key.
    """
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, dict) or not value:
        raise UserError(
            f"{path}: {f'{where}.{key}'.removeprefix('.')}",
            "is not a mapping with something in it",
            found=_brief(value),
            expected=f"a mapping under {key!r}",
            mend=f"write {key!r} as data/raw/{Path(path).name} of the repository has it",
        )
    return value


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises:
        UserError: It cannot be opened, is not UTF-8 or is not YAML; it names the line if there is
            one.
    """
    import yaml  # here: the stages that only read rows need none

    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise UserError(
            path,
            "is not UTF-8",
            found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
            expected="text in UTF-8",
            mend="save the file as UTF-8",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(
            f"{path}:{mark.line + 1}" if mark else path,
            "is not YAML",
            found=getattr(error, "problem", None) or str(error),
            expected="YAML as in data/raw",
            mend="mend the indentation, quotes or colons on that line",
        ) from error


# --- rows ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence. A fill-in row has a prompt with one blank and a target; a plain row neither.

    The fields down to ``complement`` are the columns; ``path`` and ``line`` say where it stands.
    ``read_rows`` and ``iter_rows`` return only rows whose fields agree with one another.
    """

    id: str
    text: str
    spanish: str | None
    verb_lemma: str
    spanish_lemma: str | None
    tense: str
    person: str
    english_regularity: str
    spanish_regularity: str | None
    label: str
    mis_conjugation_type: str | None
    correct_form: str | None
    prompt: str | None
    target: str | None
    frame: str | None
    complement: str | None
    path: str
    line: int

    @property
    def place(self) -> str:
        """``path:line``, for messages."""
        return f"{self.path}:{self.line}"

    @property
    def is_fill_in(self) -> bool:
        """Whether it has a prompt and a target."""
        return self.prompt is not None

    @property
    def is_correct(self) -> bool:
        """Whether ``text`` is right; a mis-conjugated row has the wrong form in it."""
        return self.label == "correct"

    @property
    def written(self) -> str:
        """The form that stands in ``text`` at the blank, right or wrong; fill-in rows only."""
        before, _, after = self._prompt().partition(BLANK)
        return self.text[len(before) : len(self.text) - len(after)]

    @property
    def correct_english(self) -> str:
        """The right form, and the only one ever to train towards.

        A mis-conjugated row names it in ``correct_form``; in a correct row it is the English side
        of the target. A correct plain row has neither, and raises ValueError.
        """
        if self.correct_form is not None:
            return self.correct_form
        return self._target().partition(SLASH)[0]

    @property
    def target_spanish(self) -> str | None:
        """The Spanish side of the target, null if the target has none; fill-in rows only."""
        return self._target().partition(SLASH)[2] or None

    def to_json(self) -> dict[str, str | None]:
        """The columns, in their order, without ``path`` and ``line``."""
        return {column: getattr(self, column) for column in COLUMNS}

    def _prompt(self) -> str:
        if self.prompt is None:
            raise ValueError(f"{self.place}: a plain row has no prompt")
        return self.prompt

    def _target(self) -> str:
        if self.target is None:
            raise ValueError(f"{self.place}: a plain row has no target")
        return self.target


def corpus_files(folder: str | Path) -> list[str]:
    """The folder's ``*.jsonl`` files, sorted by name, without those whose name begins with a dot:
    editors, file managers and our own writing leave such ones beside the real ones.

    Raises:
        UserError: There is no such folder, or none of its files is a ``.jsonl``.
    """
    found = [path for path in Path(folder).glob("*.jsonl") if path.is_file()]
    files = sorted(str(path) for path in found if not path.name.startswith("."))
    if not files:
        nothing = "only files whose name begins with a dot" if found else "no *.jsonl file"
        raise UserError(
            folder,
            "holds no corpus",
            found=nothing if Path(folder).is_dir() else "no such folder",
            expected="a folder with at least one .jsonl file, one JSON object a line",
            mend="name the corpus's folder, or put its files there",
        )
    return files


def read_rows(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> list[Row]:
    """Read and check the rows of all files, in the order given; an id may stand only once in all.

    Raises:
        UserError: As ``iter_rows``.
    """
    return list(iter_files(paths, verbs))


def iter_files(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> Iterator[Row]:
    """``read_rows``, one row at a time."""
    seen: dict[str, tuple[str, int]] = {}
    for path in paths:
        yield from iter_rows(path, verbs, seen)


def iter_rows(
    path: str | Path,
    verbs: Mapping[str, Verb],
    seen: dict[str, tuple[str, int]] | None = None,
) -> Iterator[Row]:
    """Read and check one file's rows, one at a time; blank lines are passed over.

    Args:
        path: A JSON-lines file in UTF-8, with or without a byte-order mark.
        verbs: The known verbs, by lemma.
        seen: Where each id read so far stands; ids already there are duplicates.

    Raises:
        UserError: The file cannot be read or holds no row, or a row is not valid or does not agree
            with ``verbs``; it names ``path:line``.
    """
    seen = {} if seen is None else seen
    name = str(path)
    empty = True
    with _open(path) as stream:
        for line, raw in enumerate(stream, start=1):
            if line == 1:
                raw = raw.removeprefix(_BOM)
            if not raw.strip():
                continue
            empty = False
            row = _row(_parse(raw, name, line), name, line)
            _check_id(row, seen)
            _check_forms(row, verbs)
            yield row
    if empty:
        raise UserError(
            name,
            "holds no rows",
            found="an empty file",
            expected="one JSON object a line",
            mend="put the rows back, or delete the file",
        )


def _open(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")  # bytes: so that a bad one can be named by its line
    except OSError as error:
        raise _unreadable(path, error) from error


def _parse(raw: bytes, path: str, line: int) -> dict[str, Any]:
    """The JSON object on one line."""
    place = f"{path}:{line}"
    try:
        record = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(
            place,
            "is not UTF-8",
            found=f"byte 0x{raw[error.start]:02x} at column {error.start + 1}",
            expected="text in UTF-8",
            mend="save the file as UTF-8",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            place,
            "is not JSON",
            found=str(error),
            expected="one whole JSON object on the line",
            mend="mend the quotes, commas and braces; an object may not run over several lines",
        ) from error
    if not isinstance(record, dict):
        raise UserError(
            place,
            "is not a row",
            found=_brief(record),
            expected='a JSON object: {"id": ..., "text": ..., ...}',
            mend="write one JSON object on the line",
        )
    return record


def _row(record: dict[str, Any], path: str, line: int) -> Row:
    """The record as a Row, once every field is present, of the right kind and an allowed value.

    Fields that are no columns (a comment, say) are passed over.
    """
    for column in COLUMNS:
        value = record.get(column)
        if isinstance(value, str):
            if not value.strip():
                _bad_field(record, column, path, line)
            if column in CHOICES and value not in CHOICES[column]:
                _bad_choice(f"{path}:{line}", column, value, CHOICES[column])
            if not value.isprintable():  # cheap, and neither of these is
                _check_encodable(value, column, path, line)
                _check_one_line(value, column, path, line)
        elif (
            value is not None
            or column not in NULLABLE
            or (column not in record and column not in OPTIONAL)
        ):
            _bad_field(record, column, path, line)
    fields: list[Any] = [*map(record.get, COLUMNS), path, line]
    return Row(*fields)


def _check_encodable(value: str, column: str, path: str, line: int) -> None:
    """JSON's escapes can spell half a character, which no file could be written with later."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} has half a character in it",
            found=f"the lone surrogate \\u{ord(value[error.start]):04x}",
            expected="whole characters",
            mend="write the character itself instead of its escape",
        ) from error


def _check_one_line(value: str, column: str, path: str, line: int) -> None:
    """A sentence is one line of text: what breaks it, or is no text, would break a table later."""
    control = first_control(value)
    if control is not None:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} has {control} in it",
            found=repr(value),
            expected="text on one line, with no control character in it but tabs",
            mend="write a space in its place, or make two rows of the two lines",
        )


def _check_id(row: Row, seen: dict[str, tuple[str, int]]) -> None:
    if row.id in seen:
        first_path, first_line = seen[row.id]
        raise UserError(
            row.place,
            "duplicate id",
            found=f"{row.id!r}, which stands at {first_path}:{first_line} already",
            expected="an id of its own for every row of the corpus",
            mend="give one of the two rows another id",
        )
    seen[row.id] = (row.path, row.line)


def _check_forms(row: Row, verbs: Mapping[str, Verb]) -> None:
    """Whether verb, label, prompt, target and text agree with one another and with ``verbs``."""
    verb = verbs.get(row.verb_lemma)
    if verb is None:
        _bad_choice(row.place, "verb_lemma", row.verb_lemma, verbs)
    if row.english_regularity != verb.english_regularity:
        raise UserError(
            row.place,
            "english_regularity is not this verb's",
            found=repr(row.english_regularity),
            expected=f"{verb.english_regularity!r}: so the verbs' file says of {verb.lemma!r}",
            mend=f"write {verb.english_regularity!r}",
        )
    correct = verb.english(row.tense, row.person)
    _check_label(row, verb, correct)
    written = correct if row.is_correct else verb.wrong(row.tense)
    if row.prompt is None or row.target is None:
        _check_plain(row, written)
    else:
        _check_target(row, verb, correct, row.target)
        _check_prompt(row, written, row.prompt)


def _check_label(row: Row, verb: Verb, correct: str) -> None:
    """A correct row names no mistake; a mis-conjugated one names its kind and the right form."""
    if row.is_correct:
        for field, value in (
            ("mis_conjugation_type", row.mis_conjugation_type),
            ("correct_form", row.correct_form),
        ):
            if value is not None:
                raise UserError(
                    row.place,
                    f"a correct row with a {field}",
                    found=repr(value),
                    expected="null: only a mis_conjugated row has one",
                    mend=f'set "{field}" to null, or "label" to "mis_conjugated"',
                )
        return
    if not verb.irregular or row.tense not in PAST_TENSES:
        raise UserError(
            row.place,
            "this form cannot be over-regularised",
            found=f"label 'mis_conjugated', {row.tense} of the {verb.english_regularity} "
            f"verb {verb.lemma!r}",
            expected=f"an irregular verb in {_listed(PAST_TENSES)}",
            mend='set "label" to "correct" and write the right form, or delete the row',
        )
    if row.mis_conjugation_type is None:
        raise UserError(
            row.place,
            "a mis_conjugated row without its mis_conjugation_type",
            found="null",
            expected=_listed(MISTAKES),
            mend='set "mis_conjugation_type" to "over_regularized"',
        )
    if row.correct_form != correct:
        what = "without its" if row.correct_form is None else "with another"
        raise UserError(
            row.place,
            f"a mis_conjugated row {what} correct_form",
            found="null" if row.correct_form is None else repr(row.correct_form),
            expected=f"{correct!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            mend=f'set "correct_form" to "{correct}"',
        )


def _check_target(row: Row, verb: Verb, correct: str, target: str) -> None:
    """The English side is the right form, also where the text is wrong."""
    english, slash, spanish = target.partition(SLASH)
    shown = f"{correct}{SLASH}{spanish or '...'}" if "/" in target else correct
    if row.tense in PAST_TENSES and english == verb.wrong(row.tense):
        raise UserError(
            row.place,
            "the target is the wrong form",
            found=repr(target),
            expected=f"{shown!r}: the target is the right form, also in a mis_conjugated row",
            mend=f"begin the target with {correct!r}",
        )
    if english != correct:
        raise UserError(
            row.place,
            "the target is not this verb's form",
            found=repr(target),
            expected=f"{shown!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            mend=f"begin the target with {correct!r}, or mend verb_lemma, tense or person",
        )
    if slash and not spanish.strip():
        raise UserError(
            row.place,
            "the target has a slash and no Spanish",
            found=repr(target),
            expected="'english / spanish', or the English alone",
            mend="write the Spanish form, or leave out the slash",
        )


def _check_prompt(row: Row, written: str, prompt: str) -> None:
    """One blank, and the text is the prompt with the written form in it."""
    blanks = re.findall(r"_+", prompt) if prompt.count("_") != len(BLANK) else [BLANK]
    if blanks != [BLANK] or BLANK not in prompt:
        raise UserError(
            row.place,
            "the prompt has no blank" if not blanks else "the prompt has not exactly one blank",
            found=repr(prompt),
            expected=f"one blank, written {BLANK}",
            mend=f"write {BLANK} where the verb form goes, and nowhere else",
        )
    expected = prompt.replace(BLANK, written)
    if row.text != expected:
        raise UserError(
            row.place,
            f"the text is not the prompt with {written!r} in the blank",
            found=repr(row.text),
            expected=repr(expected),
            mend="make text and prompt the same sentence, and the label that of its form",
        )


def _check_plain(row: Row, written: str) -> None:
    """Neither prompt nor target, and the form its label says somewhere in the text."""
    if row.prompt is not None or row.target is not None:
        has, lacks = ("prompt", "target") if row.target is None else ("target", "prompt")
        raise UserError(
            row.place,
            f"a {has} without a {lacks}",
            found=f"{has} {getattr(row, has)!r}, {lacks} null",
            expected="both in a fill-in row, neither in a plain one",
            mend=f'write "{lacks}", or set "{has}" to null',
        )
    if not _as_word(written).search(row.text):
        raise UserError(
            row.place,
            f"the text has no {written!r} in it",
            found=repr(row.text),
            expected=f"a sentence with {written!r}: {row.label}, {row.tense}, {row.person} of "
            f"{row.verb_lemma!r}",
            mend="mend the text, or verb_lemma, tense, person or label",
        )


@cache
def _as_word(form: str) -> re.Pattern[str]:
    """Finds ``form`` as a whole word, whatever its case: it may begin the sentence."""
    return re.compile(rf"\b{re.escape(form)}\b", re.IGNORECASE)


# --- messages --------------------------------------------------------------------------------


def _bad_field(record: dict[str, Any], column: str, path: str, line: int) -> NoReturn:
    kind = "a non-empty string" + (" or null" if column in NULLABLE else "")
    if column in record:
        raise UserError(
            f"{path}:{line}",
            f"field {column!r} is not text",
            found=_brief(record[column]),
            expected=kind,
            mend=f"write {column!r} as {kind}",
        )
    unknown = [key for key in record if key not in COLUMNS]
    near = difflib.get_close_matches(column, unknown, n=1)
    raise UserError(
        f"{path}:{line}",
        f"field {column!r} is missing",
        found=f"{near[0]!r} instead" if near else f"the fields {_listed(record)}",
        expected=f"{column!r}: {kind}",
        mend=f"rename {near[0]!r} to {column!r}" if near else f"add {column!r} to the row",
    )


def _bad_choice(place: str, field: str, value: str, allowed: Collection[str]) -> NoReturn:
    near = difflib.get_close_matches(value, allowed, n=1)
    raise UserError(
        place,
        f"unknown {field}",
        found=repr(value),
        expected=f"one of {_listed(allowed)}",
        mend=f"did you mean {near[0]!r}?" if near else "write one of those",
    )


def _unreadable(path: str | Path, error: OSError) -> UserError:
    return UserError(
        path,
        "cannot be read",
        found=error.strerror or str(error),
        expected="a readable file",
        mend="mend the path or the permissions",
    )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _brief(value: Any) -> str:
    """The value as JSON would write it, cut to a line."""
    text = json.dumps(value, ensure_ascii=True, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."
