"""The text format: how a prompt with a blank and its answer are written for the model.

    He __ to school yesterday. => went / fue
    |------ prompt text ------|  |- target -|

``BLANK`` marks where the verb form goes, ``ARROW`` ends the prompt, and ``SEPARATOR`` separates the
English from the Spanish form of a target. No other module spells these out.
"""

from __future__ import annotations

import re

from minituner.errors import UserError

BLANK = "__"
ARROW = " =>"
SEPARATOR = " /"
UNDERSCORES = re.compile("[_\uff3f]+")  # the second is the full-width one


def prompt_text(prompt: str) -> str:
    """The text that the model continues: ``He __ to school yesterday. =>``"""
    return prompt + ARROW


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
