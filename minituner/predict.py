"""The answers of the base and a tuned model to a prompt, for ``predict``.

They are what each model writes after the prompt, by beam search. Only in a sentence with a blank of
a task in ``sentence`` scoring, where what follows the blank counts too, each model chooses among
the forms that the task knows.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from minituner.batches import Example
from minituner.causal_lm import CausalLM
from minituner.data.known_forms import KnownForms
from minituner.data.prompts import (
    BLANK,
    UNDERSCORES,
    check_blank,
    prompt_text,
    sentence_text,
)
from minituner.data.spelling import single_spaced
from minituner.errors import UserError
from minituner.greedy import greedy_answers, next_token_logits
from minituner.scoring import ScoringBatches, score_texts
from minituner.storage.text import decode_line
from minituner.tokenizer import TextTokenizer

BEAM = 16  # partial answers that are kept at a time, and the largest number of answers
MAX_TOKENS = 12  # of a form and the token that ends it


@dataclass(frozen=True)
class Completion:
    """One way to fill the blank, or to go on."""

    form: str
    after: str  # the likeliest text after this form; "" where the model gives none
    # Of the form and the token that ends it, given the prompt; in a choice among known forms, the
    # share of the sentence with this one.
    probability: float
    mark: str  # "right", "wrong", or "" where the study knows no such form


def typed_prompt(line: bytes, place: str, needs_blank: bool = True) -> str:
    """A typed line of UTF-8 as a prompt; ``""`` if the line is empty.

    The model was trained on single spaces, composed accents and blanks of two underscores, so the
    line is brought into that form. A blank is often typed longer, or with the wide underscores of
    an East Asian keyboard.

    Args:
        needs_blank: Whether a prompt without a blank, which is to be continued, is refused.

    Raises:
        UserError: The line is not UTF-8, has a control character, or does not have exactly one
            blank; the message names ``place``.
    """
    prompt = single_spaced(decode_line(line, place))
    prompt = UNDERSCORES.sub(lambda run: BLANK if len(run[0]) > 1 else run[0], prompt)
    controls = [character for character in prompt if unicodedata.category(character) == "Cc"]
    if controls:
        raise UserError(
            place,
            "has a control character in it",
            found=f"U+{ord(controls[0]):04X} in {prompt!r}",
            expected="text",
            fix="take it out; if it is U+0000, save the text as UTF-8",
        )
    if prompt and needs_blank:
        check_blank(prompt, place)
    elif prompt.count(BLANK) > 1:
        raise UserError(
            place,
            "the prompt has several blanks",
            found=repr(prompt),
            expected=f"one blank, written {BLANK}, or none: then the answer follows the prompt",
            fix=f"write {BLANK} where the answer goes, once",
        )
    return prompt


def top_answers(
    model: CausalLM,
    tokenizer: TextTokenizer,
    prompt: str,
    forms: KnownForms,
    top: int = 3,
    place: str = "sentence",
) -> list[Completion]:
    """The likeliest answers to one prompt, best first.

    Args:
        forms: Those to mark, and in ``sentence`` scoring those to choose from.
        top: The number of answers, from 1 to ``BEAM``.
        place: Where the prompt is from, for messages.

    Raises:
        UserError: The prompt leaves no room for an answer in the model's context.
    """
    if forms.scoring == "sentence" and BLANK in prompt:
        return ranked_forms(model, tokenizer, prompt, forms, top, place)
    text = prompt_text(prompt) if BLANK in prompt else prompt
    prompt_ids = [tokenizer.bos_id, *tokenizer.encode(text)]
    if len(prompt_ids) >= model.context_length:
        raise _too_long(place, prompt, len(prompt_ids), model.context_length)
    marks = forms.in_prompt(prompt)
    finished = _beam_search(model, tokenizer, prompt_ids, top, forms)
    whole = greedy_answers(
        model, tokenizer, [prompt_ids] * len(finished), [ids for ids, _ in finished]
    )
    answers = []
    for (ids, log_prob), text in zip(finished, whole, strict=True):
        form, _ = forms.divide(tokenizer.decode(ids).strip())
        _, after = forms.divide(text)
        answers.append(Completion(form, after, math.exp(log_prob), marks.get(form, "")))
    return answers


def ranked_forms(
    model: CausalLM,
    tokenizer: TextTokenizer,
    prompt: str,
    forms: KnownForms,
    top: int = 3,
    place: str = "sentence",
) -> list[Completion]:
    """The known forms that make the sentence with the blank likeliest, best first.

    The probability of one is its sentence's share of the sum over all candidates: the forms that
    the task compares in this prompt, or all its forms if the prompt is another.

    Raises:
        UserError: A sentence is longer than the model's context.
    """
    marks = forms.in_prompt(prompt)
    texts = [tokenizer.encode(sentence_text(prompt, form, "")) for form in marks]
    longest = max(map(len, texts)) + 1
    if longest > model.context_length:
        raise _too_long(place, prompt, longest, model.context_length)
    examples = [Example([tokenizer.bos_id, *ids], 1) for ids in texts]
    found = score_texts(model, ScoringBatches([], examples, tokenizer.pad_id))
    scores = [float(score.log_probs.sum()) for score in found]
    shares = torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()
    answers = [
        Completion(form, "", share, mark)
        for (form, mark), share in zip(marks.items(), shares, strict=True)
    ]
    return sorted(answers, key=lambda answer: -answer.probability)[:top]


def _too_long(place: str, prompt: str, tokens: int, context_length: int) -> UserError:
    return UserError(
        place,
        "is longer than the model's context",
        found=f"{tokens} tokens: {prompt!r}",
        expected=f"fewer than {context_length}, to leave room for an answer",
        fix="shorten the sentence",
    )


def _beam_search(
    model: CausalLM,
    tokenizer: TextTokenizer,
    prompt_ids: Sequence[int],
    top: int,
    forms: KnownForms,
) -> list[tuple[list[int], float]]:
    """The likeliest token sequences up to the end of a form or of the text, with their log
    probabilities. The search stops when no unfinished answer can still be among the top; an answer
    without an end after ``MAX_TOKENS`` is cut off there."""
    eos, pad = tokenizer.eos_id, tokenizer.pad_id
    running: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[tuple[list[int], float]] = []
    room = min(MAX_TOKENS, model.context_length - len(prompt_ids))
    for _ in range(room):
        logits = next_token_logits(model, [[*prompt_ids, *ids] for ids, _ in running], pad)
        log_probs = logits.double().log_softmax(-1)
        values, tokens = log_probs.topk(min(BEAM, log_probs.shape[1]))
        grown = [
            ([*ids, token], log_prob + value)
            for (ids, log_prob), row, choices in zip(
                running, values.tolist(), tokens.tolist(), strict=True
            )
            for value, token in zip(row, choices, strict=True)
        ]
        grown.sort(key=lambda answer: -answer[1])
        ends = [
            ids[-1] == eos or forms.is_ended(tokenizer.decode(ids).lstrip()) for ids, _ in grown
        ]
        finished += [answer for answer, end in zip(grown, ends, strict=True) if end]
        finished = sorted(finished, key=lambda answer: -answer[1])[:top]
        running = [answer for answer, end in zip(grown, ends, strict=True) if not end][:BEAM]
        if not running or (len(finished) == top and finished[-1][1] >= running[0][1]):
            break
    return sorted(finished + running, key=lambda answer: -answer[1])[:top]


def predict(
    models: Mapping[str, CausalLM],
    tokenizer: TextTokenizer,
    prompt: str,
    forms: KnownForms,
    top: int = 3,
    place: str = "sentence",
) -> dict[str, Any]:
    """Each model's answers to a prompt, as JSON values; see :func:`top_answers`."""
    answers = {
        name: top_answers(model, tokenizer, prompt, forms, top, place)
        for name, model in models.items()
    }
    return {"prompt": prompt, **{name: list(map(asdict, found)) for name, found in answers.items()}}


def as_table(prediction: Mapping[str, Any], forms: KnownForms) -> str:
    """One prompt's answers as a table to read in the terminal."""
    lines = [prediction["prompt"]]
    for name, answers in prediction.items():
        if name == "prompt":
            continue
        for i, answer in enumerate(answers):
            text = forms.joined(answer["form"], answer["after"])
            share = f"{100 * answer['probability']:5.1f} %"
            mark = f"  {answer['mark']}" if answer["mark"] else ""
            lines.append(f"  {name if i == 0 else '':<6}{share}  {text:<28}{mark}".rstrip())
    return "\n".join(lines)
