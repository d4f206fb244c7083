"""A user's table of sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minituner.convert.table_format import Columns
from minituner.convert.table_rows import bad_row, check_cell, read_records
from minituner.data.spelling import comparable
from minituner.data.verbs import PAST_TENSES
from minituner.errors import UserError

SENTENCES = Columns(
    names={
        "en": ("en", "eng", "english", "inglés", "ingles"),
        "es": ("es", "spa", "spanish", "español", "espanol"),
        "lemma": ("lemma", "verb", "verbo"),
        "tense": ("tense", "tiempo"),
    },
    required=("en",),
    bare=("en", "es"),
    row="sentence",
    cell="sentence",
    longest=1_000,
    expected="a .csv whose first line names en and, optionally, es, lemma and tense, or a .tsv of "
    "such columns or of English and Spanish without a line of names",
    expected_row="one whole sentence, in one cell of its row",
)


@dataclass(frozen=True)
class Sentence:
    """One row of a user's table."""

    english: str
    spanish: str | None = None
    lemma: str | None = None  # the verb to ask for; None for any known one
    tense: str | None = None  # settles what the context leaves in doubt
    place: str = ""  # file:line


@dataclass(frozen=True)
class Table:
    """The sentences of a table, and the headings of the columns that are not used."""

    sentences: list[Sentence]
    unused: list[str]


def read_table(path: str | Path, lemmas: Collection[str], encoding: str | None = None) -> Table:
    """Read a ``.csv`` or ``.tsv`` of sentences.

    Args:
        lemmas: The allowed values of the column ``lemma``.
        encoding: As in :func:`minituner.convert.table_rows.read_records`.

    Raises:
        UserError: The file cannot be read as a table, or it names every line that cannot be used.
    """
    return Table(*read_records(Path(path), SENTENCES, encoding, partial(_sentence, lemmas)))


def _sentence(lemmas: Collection[str], place: str, cells: Mapping[str, str]) -> Sentence:
    """One row's sentence.

    Raises:
        UserError: It has no English, or a cell cannot be used.
    """
    english = cells.get("en", "")
    if not english:
        shown, fix = " | ".join(cells.values()), "write the sentence, or delete it"
        raise bad_row(place, "has no English", shown, fix, SENTENCES)
    for cell in (english, cells.get("es", "")):
        check_cell(place, cell, SENTENCES)
    if "_" in english:
        what = "has an underscore in it, which marks the blank"
        raise bad_row(place, what, repr(english), "write the whole sentence", SENTENCES)
    return Sentence(
        english,
        cells.get("es") or None,
        _chosen(place, "lemma", cells.get("lemma", ""), lemmas),
        _chosen(place, "tense", cells.get("tense", ""), PAST_TENSES),
        place,
    )


def _chosen(place: str, column: str, cell: str, allowed: Collection[str]) -> str | None:
    """The one of ``allowed`` that a cell names, in any case; None for an empty cell."""
    names = {comparable(name): name for name in allowed}
    name = names.get(comparable(cell)) or names.get("_".join(re.split(r"[\s-]+", comparable(cell))))
    if cell and name is None:
        raise UserError(
            place,
            f"names an unknown {column}",
            found=repr(cell),
            expected=f"one of {', '.join(allowed)}",
            fix="fix the cell or leave it empty"
            + (", or add the verb to the file of verbs (--verbs)" if column == "lemma" else ""),
        )
    return name
