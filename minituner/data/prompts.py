"""The text format: how a prompt and its answer are written for the model.

    He __ to school yesterday. => went / fue         fill_in, with a blank
    |------ prompt text ------|  |- target -|
    The capital of France is Paris.                  fill_in, without one: the answer follows
    He went to school yesterday.                     sentence

``BLANK`` marks where the form goes, ``ARROW`` ends a prompt with a blank, and ``SEPARATOR``
separates the English from the Spanish form of a target. No other module spells these out.
"""

from __future__ import annotations

import re
from typing import Literal

from minituner.errors import UserError

Scoring = Literal["fill_in", "sentence"]  # how a pair is written for the model, and scored

BLANK = "__"
ARROW = " =>"
SEPARATOR = " /"
UNDERSCORES = re.compile("[_\uff3f]+")  # the second is the full-width one
# Thai, Lao, Tibetan, Burmese, Khmer, Chinese and Japanese with their punctuation: written without
# spaces between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]"
)


def prompt_text(prompt: str) -> str:
    """The text that the model continues: ``He __ to school yesterday. =>``"""
    return prompt + ARROW


def text_and_ends(prompt: str, form: str, after: str, scoring: Scoring) -> tuple[str, int, int]:
    """A pair's text with one of its forms, and where in it the prompt and the form end.

    In ``sentence`` scoring the form stands in the blank, and ``after``, which belongs to the answer
    of ``fill_in``, is not part of the sentence. Without a blank the form follows the prompt, and
    ``after`` the form, in both.
    """
    before, blank, rest = prompt.partition(BLANK)
    if not blank:
        answer = f"{_gap(prompt, form)}{form}"
        return prompt + answer + after, len(prompt.rstrip()), len(prompt) + len(answer)
    if scoring == "sentence":
        return before + form + rest, len(before), len(before) + len(form)
    text = prompt_text(prompt)
    return text + answer_text(form, after), len(text), len(text) + 1 + len(form)


def sentence_text(prompt: str, form: str, after: str) -> str:
    """The sentence that a pair is about, with one of its forms."""
    return text_and_ends(prompt, form, after, "sentence")[0]


def _gap(prompt: str, form: str) -> str:
    """What is between a prompt without a blank and its answer: a space, unless the prompt is empty
    or ends with one, or one of the two is in a script that is written without spaces."""
    if not prompt or prompt[-1].isspace():
        return ""
    return "" if _UNSPACED.match(prompt[-1]) or _UNSPACED.match(form) else " "


def target_text(english: str, spanish: str | None) -> str:
    """A target as the corpus writes it: ``went / fue``, or ``went`` without Spanish."""
    return f"{english}{SEPARATOR} {spanish}" if spanish else english


def after_text(spanish: str | None) -> str:
    """The text that follows the English form in a target: `` / fue``, or nothing."""
    return f"{SEPARATOR} {spanish}" if spanish else ""


def answer_text(correct: str, after: str) -> str:
    """The continuation that the model is trained to give: `` went / fue`` or `` went``."""
    return f" {correct}{after}"


def split_target(target: str) -> tuple[str, str]:
    """The English and the Spanish side of a target; the Spanish is empty if there is none."""
    english, _, spanish = target.partition(f"{SEPARATOR} ")
    return english, spanish


def english_of(answer: str) -> str:
    """The English side of an answer that a model gave: the text before the first slash."""
    return answer.split(SEPARATOR.strip())[0].strip()


def check_blank(prompt: str, place: str) -> None:
    """Check that a prompt has exactly one blank and no other underscore.

    Args:
        place: The prompt's location, for the message.

    Raises:
        UserError: It has no blank, more than one, or an underscore elsewhere.
    """
    blanks = UNDERSCORES.findall(prompt)
    if blanks != [BLANK]:
        raise UserError(
            place,
            "the prompt does not have exactly one blank" if blanks else "the prompt has no blank",
            found=repr(prompt),
            expected=f"one blank, written {BLANK}",
            fix=f"write {BLANK} where the verb form goes, and nowhere else",
        )
