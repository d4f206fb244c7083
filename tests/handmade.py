"""Hand-made rows and pairs, and the spellings that make no difference between two sentences."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minituner.data.pairs import Pair

# A valid row, the same with the wrong form, and a plain one.
GOOD: Mapping[str, Any] = {
    "id": "one",
    "text": "He went to school yesterday.",
    "spanish": "Fue a la escuela ayer.",
    "verb_lemma": "go",
    "spanish_lemma": "ir",
    "tense": "past_simple",
    "person": "3sg",
    "english_regularity": "irregular",
    "spanish_regularity": "irregular",
    "label": "correct",
    "mis_conjugation_type": None,
    "correct_form": None,
    "prompt": "He __ to school yesterday.",
    "target": "went / fue",
    "frame": "time_last",
    "complement": "to school",
}
WRONG = {
    **GOOD,
    "text": "He goed to school yesterday.",
    "label": "mis_conjugated",
    "mis_conjugation_type": "over_regularized",
    "correct_form": "went",
}
PLAIN = {**GOOD, "prompt": None, "target": None}


def write_rows(path: Path, *rows: Mapping[str, Any]) -> Path:
    """A corpus file of these rows."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def pair(i: int, verb: str = "go", form: str = "past_simple", frame: str = "f") -> Pair:
    """The pair number ``i``: ``P1 __ x.`` with went, fue and goed."""
    return Pair(
        f"id-{i}", verb, form, frame, "", f"P{i} __ x.", "went", "fue", ("goed",), f"c.jsonl:{i}"
    )


RESPELLED: dict[str, Callable[[str], str]] = {
    "a trailing space": lambda text: text + " ",
    "double spaces": lambda text: text.replace(" ", "  "),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "another apostrophe": lambda text: text.replace("'", "\u2019"),
    "another quotation mark": lambda text: text.replace('"', "\u275d"),
    "two apostrophes": lambda text: text.replace('"', "''"),
    "capitals": lambda text: text.replace("y", "Y"),
    "capitals alone": str.upper,
    "small letters": str.lower,
    "tabs": lambda text: text.replace(" ", "\t"),
    "a space before punctuation": lambda text: text.replace(",", " ,"),
    "none after it": lambda text: text.replace(", ", ","),
    "quotation marks around it": lambda text: f"\u00ab\u00a0{text}\u00a0\u00bb",
    "invisible characters": lambda text: text.replace("e", "e\u200e\ufe0f"),
    "letters in full width": lambda text: text.replace("e", "\uff45"),
    "accents of their own": lambda text: unicodedata.normalize("NFD", text),
}
