"""The forms that a task's pairs know, and where an answer's form ends."""

from __future__ import annotations

from typing import Any

import pytest

from minituner.data.known_forms import forms_of_pairs, forms_of_verbs
from minituner.data.pairs import Pair
from minituner.data.task_file import pair_of


def pair(prompt: str, target: str, wrong: Any, after: str = "") -> Pair:
    row = {"prompt": prompt, "target": target, "wrong": wrong, "after": after}
    return pair_of(row, "f:1")


def test_marks_are_those_of_the_prompt_if_the_task_has_it() -> None:
    pairs = [
        pair("One __.", "mouse", "mice"),
        pair("Two  __.", "mice", ["mouse", "mouses"]),
        pair("Three __.", "geese", "gooses"),
    ]
    forms = forms_of_pairs(pairs, "sentence")
    right, wrong = "right", "wrong"
    assert forms.in_prompt("One __.") == {"mice": wrong, "mouse": right}
    assert forms.in_prompt("Two __.") == {"mouse": wrong, "mouses": wrong, "mice": right}
    everywhere = {"mouse": right, "mice": right, "mouses": wrong, "geese": right, "gooses": wrong}
    assert dict(forms.in_prompt("Nine __.")) == everywhere
    assert forms.scoring == "sentence" and forms.is_task


@pytest.mark.parametrize(
    ("answer", "form", "after"),
    [
        ("Paris.", "Paris", "."),
        ("Paris", "Paris", ""),
        ("New York. It is big.", "New York", ". It is big."),
        ("Oslo is cold. ", "Oslo", " is cold."),
        ("Oslo island", "Oslo", " island"),  # the first word may continue
        ("U.S. army.", "U.S. army", "."),
        ("U.S.", "U.S.", ""),
    ],
)
def test_a_form_ends_where_the_text_after_one_begins(answer: str, form: str, after: str) -> None:
    pairs = [
        pair("A", "Paris", "Lyon", "."),
        pair("B", "Rome", "Nice", " is the capital."),
        pair("C", "U.S.", "U.K.", "!"),
        pair("D", "Oslo", "Bergen"),
    ]
    forms = forms_of_pairs(pairs, "fill_in")
    assert forms.ends == (" is", "!", ".")
    assert forms.divide(answer) == (form, after)
    assert forms.is_ended(answer) == bool(after)
    assert forms.joined(form, after) == answer.rstrip()
    assert not forms.is_ended("U.")  # which may still become U.S.


@pytest.mark.parametrize(
    ("answer", "form", "after"), [("went / fue", "went", "fue"), ("went.", "went.", "")]
)
def test_a_verb_form_ends_at_the_slash(answer: str, form: str, after: str) -> None:
    forms = forms_of_verbs({})
    assert forms.divide(answer) == (form, after)
    assert forms.joined(form, after) == answer
