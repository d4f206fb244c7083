"""How a pair becomes tokens: prompt, answer, and the two forms that are compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from models import BOS_ID, EOS_ID
from project import ROOT

from minituner.batches import completion_examples
from minituner.data.encode import tokenize_pair
from minituner.data.filter import pair_of_row
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.prompts import english_of
from minituner.data.rows import COLUMNS, Row, base_text
from minituner.data.verbs import load_verbs
from minituner.tokenizer import TextTokenizer


def test_tokenize_pair_layout(tokenizer: TextTokenizer, raw_pairs: list[Pair]) -> None:
    pair = tokenize_pair(raw_pairs[0], tokenizer)

    def text(token_ids: list[int]) -> str:
        return tokenizer.backend.decode(token_ids, skip_special_tokens=False)

    assert text(pair.prompt_ids) == "<bos>He __ to school yesterday. =>"
    assert text(pair.target_ids) == " went / fue<eos>"
    assert text(pair.correct_ids) == " went /"
    assert text(*pair.wrong_ids) == " goed /"


def test_tokenize_pair_without_spanish_ends_the_form_with_the_text(
    tokenizer: TextTokenizer, raw_pairs: list[Pair]
) -> None:
    pair = tokenize_pair(replace(raw_pairs[0], after=""), tokenizer)
    went, goed = tokenizer.encode(" went"), tokenizer.encode(" goed")
    assert pair.target_ids == pair.correct_ids == [*went, EOS_ID]
    assert pair.wrong_ids == [[*goed, EOS_ID]]


def test_prompt_and_answer_tokens_concatenate_to_the_texts(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], pairs: list[TokenizedPair]
) -> None:
    for raw, pair in zip(raw_pairs, pairs, strict=True):
        for form, form_ids in ((raw.correct, pair.correct_ids), (raw.wrong[0], pair.wrong_ids[0])):
            whole = tokenizer.encode(f"{raw.prompt} => {form}{' /' if raw.after else ''}")
            end = [] if raw.after else [EOS_ID]
            assert pair.prompt_ids + form_ids == [BOS_ID, *whole, *end]
        answer = f" {raw.correct}{raw.after}"
        whole = tokenizer.encode(f"{raw.prompt} =>{answer}")
        assert pair.prompt_ids + pair.target_ids == [BOS_ID, *whole, EOS_ID]
        # What is scored is what was trained: the target begins with the form and its end.
        assert pair.target_ids[: len(pair.correct_ids)] == pair.correct_ids


@pytest.mark.parametrize(
    ("answer", "english"),
    [("went / fue", "went"), ("went /", "went"), ("went", "went"), ("", ""), ("/ fue", "")],
)
def test_english_of_is_the_part_before_the_slash(answer: str, english: str) -> None:
    assert english_of(answer) == english


def correction(written: str) -> Row:
    """One half of a correction pair."""
    wrong = written == "goed"
    values: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "id": f"corrections-{written}",
        "text": f"He {written} home.",
        "verb_lemma": "go",
        "tense": "past_simple",
        "person": "3sg",
        "english_regularity": "irregular",
        "label": "mis_conjugated" if wrong else "correct",
        "mis_conjugation_type": "over_regularized" if wrong else None,
        "correct_form": "went" if wrong else None,
        "prompt": "He __ home.",
        "target": "went / fue",
    }
    return Row(**values, path="corrections.jsonl", line=1)


def test_wrong_side_of_a_correction_pair_is_never_the_target(tokenizer: TextTokenizer) -> None:
    verbs = load_verbs(ROOT / "data" / "raw" / "verbs.yaml")
    wrong, right = (pair_of_row(correction(form), verbs) for form in ("goed", "went"))
    assert replace(wrong, id="") == replace(right, id="")
    assert (wrong.correct, wrong.wrong) == ("went", ("goed",))
    pair = tokenize_pair(wrong, tokenizer)
    assert tokenizer.decode(pair.target_ids) == " went / fue"
    (example,) = completion_examples([pair])
    assert tokenizer.decode(example.ids) == "He __ home. => went / fue"
    # The base, though, reads what the learner wrote.
    assert base_text(correction("goed")) == "He __ home. => goed / fue"
