"""How sentences are written for the model: the one place that knows the prompt's grammar."""

from __future__ import annotations

from minituner.data.corpus import Row

ARROW = " =>"  # stands between a prompt and its answer
SEPARATOR = " /"  # stands between the English and the Spanish form


def prompt_text(prompt: str) -> str:
    """What the model reads before it answers: ``He __ to school yesterday. =>``"""
    return prompt + ARROW


def answer_text(english: str, spanish: str | None) -> str:
    """What the model should answer: `` went / fue``, or `` went`` where there is no Spanish."""
    return f" {english}{SEPARATOR} {spanish}" if spanish else f" {english}"


def base_text(row: Row) -> str:
    """What the base reads of a row, with the form as it was written there, right or wrong."""
    if row.prompt is None:
        return row.text
    assert row.written is not None
    return prompt_text(row.prompt) + answer_text(row.written, row.target_spanish)


def english_of(answer: str) -> str:
    """The English side of an answer: what precedes the separator."""
    return answer.split(SEPARATOR.strip())[0].strip()
