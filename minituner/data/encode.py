"""One pair as token ids, with any tokenizer: whole texts are encoded, and their ids divided.

    fill_in    <bos> He __ to school yesterday. => went / fue <eos>
               |---------- prompt_ids ----------| |- target_ids --|    correct_ids: went /
    sentence   <bos> He went to school yesterday. <eos>
               |prompt| |-------- target_ids -------|                  correct_ids: without <eos>

A form that is encoded by itself may get other tokens than in its text. Here the prompt ends at the
first token that is not all within it, or that differs between the right text and a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass

from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.prompts import Scoring, text_and_ends
from minituner.errors import UserError
from minituner.tokenizer import TextTokenizer, check_kept


@dataclass(frozen=True)
class EncodedText:
    """The ids of a text with one form, without special tokens around it."""

    ids: list[int]
    ends: list[int]  # where each token ends in the text, in characters
    prompt_end: int  # in characters, as the next
    form_end: int

    @property
    def prompt_tokens(self) -> int:
        """The number of tokens that are all within the prompt."""
        return _first_beyond(self.ends, self.prompt_end)

    @property
    def form_tokens(self) -> int:
        """The number of tokens up to the one that ends the form: the first that extends beyond it,
        or the end of the text, which ``ids`` does not hold."""
        return _first_beyond(self.ends, self.form_end) + 1


def _first_beyond(ends: list[int], place: int) -> int:
    return next((i for i, end in enumerate(ends) if end > place), len(ends))


def tokenize_pair(
    pair: Pair,
    tokenizer: TextTokenizer,
    name: str = "the tokenizer",
    scoring: Scoring = "fill_in",
) -> TokenizedPair:
    """Encode one pair, however long it is.

    Args:
        name: The tokenizer's name in messages.

    Raises:
        UserError: The tokens of the right form equal or begin those of a wrong one, or the reverse.
            With an exact tokenizer also: it changes the text, or some token extends over the
            beginning of the answer or the end of the form.
    """
    right, *wrong = (
        _encode(pair, form, tokenizer, name, scoring) for form in (pair.correct, *pair.wrong)
    )
    eos = tokenizer.eos_id
    shared = [_common(right.ids, other.ids) for other in wrong]
    if scoring == "fill_in":
        start = min([right.prompt_tokens, *shared])
        scored = [[*text.ids, eos][start : text.form_tokens] for text in (right, *wrong)]
    else:
        start = min(shared, default=right.prompt_tokens)
        scored = [text.ids[start:] for text in (right, *wrong)]
    for form, ids in zip(pair.wrong, scored[1:], strict=True):
        _check_told_apart(pair, form, scored[0], ids, scoring)
    return TokenizedPair(
        id=pair.id,
        group=pair.group,
        form=pair.form,
        frame=pair.frame,
        complement=pair.complement,
        prompt=pair.prompt,
        correct=pair.correct,
        after=pair.after,
        wrong=list(pair.wrong),
        prompt_ids=[tokenizer.bos_id, *right.ids[:start]],
        target_ids=[*right.ids[start:], eos],
        correct_ids=scored[0],
        wrong_ids=scored[1:],
    )


def _encode(
    pair: Pair, form: str, tokenizer: TextTokenizer, name: str, scoring: Scoring
) -> EncodedText:
    text, prompt_end, form_end = text_and_ends(pair.prompt, form, pair.after, scoring)
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    encoded = EncodedText(encoding.ids, [end for _, end in encoding.offsets], prompt_end, form_end)
    if tokenizer.exact:
        check_kept(tokenizer, text, encoded.ids, pair.source, name)
        if scoring == "fill_in":
            _check_boundaries(pair, encoded, tokenizer, name)
    return encoded


def _common(left: list[int], right: list[int]) -> int:
    """The number of tokens that two texts begin with in common."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def _check_boundaries(pair: Pair, text: EncodedText, tokenizer: TextTokenizer, name: str) -> None:
    """Check that tokens end where the prompt and the form end: otherwise the two forms would not be
    compared after the same prompt, and with the same end."""
    for place in (text.prompt_end, text.form_end):
        if place not in (0, *text.ends):
            start = _first_beyond(text.ends, place)
            shown = " ".join(repr(tokenizer.token(i)) for i in text.ids[start : start + 4])
            raise UserError(
                pair.source,
                "a token extends over the end of the prompt or of the form",
                found=f"{shown} in {pair.prompt!r}",
                expected="tokens that end where the prompt and the form end",
                fix=f"use a tokenizer that splits at spaces, instead of {name}",
            )


def _check_told_apart(
    pair: Pair, wrong: str, right_ids: list[int], wrong_ids: list[int], scoring: Scoring
) -> None:
    """Check that neither text is the beginning of the other: it would be at least as likely,
    whatever the model has learned."""
    shared = _common(right_ids, wrong_ids)
    if shared < min(len(right_ids), len(wrong_ids)):
        return
    same = len(right_ids) == len(wrong_ids)
    raise UserError(
        pair.source,
        "the tokenizer does not tell the right form from a wrong one"
        if same
        else "nothing ends the shorter of two forms",
        found=f"{pair.correct!r} and {wrong!r}, "
        + ("which have the same tokens" if same else "of which one begins with the other"),
        expected="two texts, neither of which is the beginning of the other",
        fix="change or remove the pair"
        + (
            ""
            if same or scoring == "fill_in"
            else ', or end the sentence after the form, for example with "after": "."'
        ),
    )
