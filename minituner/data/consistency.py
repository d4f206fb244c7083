"""Checks that the fields of a row agree with one another and with the verbs' forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from minituner.data.prompts import BLANK, check_blank, split_target, target_text
from minituner.data.rows import MISTAKES, Row
from minituner.data.spelling import where_they_part
from minituner.data.verbs import PAST_TENSES, Verb
from minituner.errors import UserError
from minituner.storage.messages import unknown_word


def check_row(row: Row, verbs: Mapping[str, Verb]) -> None:
    """Check verb, label, prompt, target and text of a row against one another and ``verbs``.

    Raises:
        UserError: The first of them that does not fit.
    """
    verb = verbs.get(row.verb_lemma)
    if verb is None:
        raise unknown_word(row.place, "verb_lemma", row.verb_lemma, verbs)
    if row.english_regularity != verb.english_regularity:
        raise UserError(
            row.place,
            "english_regularity is not this verb's",
            found=repr(row.english_regularity),
            expected=f"{verb.english_regularity!r}, as the file of verbs says for {verb.lemma!r}",
            fix=f"write {verb.english_regularity!r}",
        )
    correct = verb.english(row.tense, row.person)
    if row.is_correct:
        _check_correct_label(row)
    else:
        _check_mistake_label(row, verb, correct)
    written = correct if row.is_correct else verb.wrong(row.tense)
    if row.prompt is None or row.target is None:
        _check_plain(row, written)
    else:
        _check_target(row, verb, correct, row.target)
        _check_prompt(row, written, row.prompt)


def _check_correct_label(row: Row) -> None:
    """A correct row names no mistake."""
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
                fix=f'set "{field}" to null, or "label" to "mis_conjugated"',
            )


def _check_mistake_label(row: Row, verb: Verb, correct: str) -> None:
    """A mis-conjugated row is of an irregular past, and names the mistake and the right form."""
    if not verb.irregular or row.tense not in PAST_TENSES:
        raise UserError(
            row.place,
            "this form cannot be over-regularized",
            found=f"label 'mis_conjugated', {row.tense} of the {verb.english_regularity} "
            f"verb {verb.lemma!r}",
            expected=f"an irregular verb in {', '.join(PAST_TENSES)}",
            fix='set "label" to "correct" and write the right form, or delete the row',
        )
    if row.mis_conjugation_type is None:
        raise UserError(
            row.place,
            "a mis_conjugated row without its mis_conjugation_type",
            found="null",
            expected=", ".join(MISTAKES),
            fix='set "mis_conjugation_type" to "over_regularized"',
        )
    if row.correct_form != correct:
        absent = row.correct_form is None
        raise UserError(
            row.place,
            f"a mis_conjugated row {'without its' if absent else 'with another'} correct_form",
            found="null" if absent else repr(row.correct_form),
            expected=f"{correct!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            fix=f'set "correct_form" to "{correct}"',
        )


def _check_target(row: Row, verb: Verb, correct: str, target: str) -> None:
    """The English side of the target is the right form, even where the text has the wrong one."""
    english, spanish = split_target(target)
    shown = target_text(correct, spanish or "...") if "/" in target else correct
    if row.tense in PAST_TENSES and english == verb.wrong(row.tense):
        raise UserError(
            row.place,
            "the target is the wrong form",
            found=repr(target),
            expected=f"{shown!r}: the target is the right form, even in a mis_conjugated row",
            fix=f"begin the target with {correct!r}",
        )
    if english != correct:
        raise UserError(
            row.place,
            "the target is not this verb's form",
            found=repr(target),
            expected=f"{shown!r}: {row.tense}, {row.person} of {verb.lemma!r}",
            fix=f"begin the target with {correct!r}, or correct verb_lemma, tense or person",
        )
    has_separator = target != english
    if has_separator and (not spanish.strip() or "/" in spanish):
        raise UserError(
            row.place,
            f"the target has {'two slashes' if spanish.strip() else 'a slash and no Spanish'}",
            found=repr(target),
            expected="'english / spanish', or the English alone",
            fix="write the Spanish form, or leave out the slash",
        )


def _check_prompt(row: Row, written: str, prompt: str) -> None:
    """The prompt has one blank, and with the written form in it, is the text."""
    check_blank(prompt, row.place)
    expected = prompt.replace(BLANK, written)
    if row.text != expected:
        raise UserError(
            row.place,
            f"the text is not the prompt with {written!r} in the blank",
            found=where_they_part(row.text, expected),
            expected=where_they_part(expected, row.text),
            fix="make text and prompt the same sentence, and the label that of its form",
        )


def _check_plain(row: Row, written: str) -> None:
    """A plain row has neither prompt nor target, and its text has the form that it claims."""
    if row.prompt is not None or row.target is not None:
        has, lacks = ("prompt", "target") if row.target is None else ("target", "prompt")
        raise UserError(
            row.place,
            f"a {has} without a {lacks}",
            found=f"{has} {getattr(row, has)!r}, {lacks} null",
            expected="both in a fill-in row, neither in a plain one",
            fix=f'write "{lacks}", or set "{has}" to null',
        )
    if not _whole_word(written).search(row.text):
        raise UserError(
            row.place,
            f"the text does not contain {written!r}",
            found=repr(row.text),
            expected=f"a sentence with {written!r}: {row.label}, {row.tense}, {row.person} of "
            f"{row.verb_lemma!r}",
            fix="fix the text, or verb_lemma, tense, person or label",
        )


@cache
def _whole_word(form: str) -> re.Pattern[str]:
    """A pattern for ``form`` as a whole word in any case: it may begin the sentence."""
    return re.compile(rf"\b{re.escape(form)}\b", re.IGNORECASE)
