"""The answers of the base and a tuned model to a prompt with a blank, for ``predict``."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minituner.causal_lm import CausalLM
from minituner.data.prompts import (
    BLANK,
    SEPARATOR,
    UNDERSCORES,
    check_blank,
    english_of,
    prompt_text,
)
from minituner.data.spelling import single_spaced
from minituner.data.verbs import PERSONS, Verb
from minituner.errors import UserError
from minituner.greedy import greedy_answers, next_token_logits
from minituner.storage.text import decode_line
from minituner.tokenizer import TextTokenizer

BEAM = 16  # partial answers that are kept at a time, and the largest number of answers
MAX_TOKENS = 12  # of the English side


@dataclass(frozen=True)
class Completion:
    """One way to fill the blank."""

    english: str
    spanish: str  # the likeliest after this English; "" where the model gives none
    probability: float  # of the English and the token that ends it, given the prompt
    mark: str  # "right", "wrong", or "" where no known verb has such a form


def typed_prompt(line: bytes, place: str) -> str:
    """A typed line of UTF-8 as a prompt; ``""`` if the line is empty.

    The model was trained on single spaces, composed accents and blanks of two underscores, so the
    line is brought into that form. A blank is often typed longer, or with the wide underscores of
    an East Asian keyboard.

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
    if prompt:
        check_blank(prompt, place)
    return prompt


def known_forms(verbs: Mapping[str, Verb]) -> dict[str, str]:
    """Past forms of known verbs, each ``right`` or ``wrong``. A form that is right for one verb and
    wrong for another is right."""
    marks: dict[str, str] = {}
    for verb in verbs.values():
        marks |= dict.fromkeys((verb.wrong_past, verb.wrong_participle), "wrong")
    for verb in verbs.values():
        marks |= dict.fromkeys([verb.participle, *(verb.past[p] for p in PERSONS)], "right")
    return marks


def top_answers(
    model: CausalLM,
    tokenizer: TextTokenizer,
    prompt: str,
    marks: Mapping[str, str],
    top: int = 3,
    place: str = "sentence",
) -> list[Completion]:
    """The likeliest answers to one prompt, best first, by beam search over the English side.

    Args:
        top: The number of answers, from 1 to ``BEAM``.
        place: Where the prompt is from, for messages.

    Raises:
        UserError: The prompt leaves no room for an answer in the model's context.
    """
    prompt_ids = [tokenizer.bos_id, *tokenizer.encode(prompt_text(prompt))]
    if len(prompt_ids) >= model.context_length:
        raise UserError(
            place,
            "is longer than the model's context",
            found=f"{len(prompt_ids)} tokens: {prompt!r}",
            expected=f"fewer than {model.context_length}, to leave room for an answer",
            fix="shorten the sentence",
        )
    finished = _beam_search(model, tokenizer, prompt_ids, top)
    whole = greedy_answers(
        model, tokenizer, [prompt_ids] * len(finished), [ids for ids, _ in finished]
    )
    answers = []
    for (ids, log_prob), text in zip(finished, whole, strict=True):
        english = english_of(tokenizer.decode(ids))
        spanish = text.partition(SEPARATOR.strip())[2].strip()
        answers.append(Completion(english, spanish, math.exp(log_prob), marks.get(english, "")))
    return answers


def _beam_search(
    model: CausalLM, tokenizer: TextTokenizer, prompt_ids: Sequence[int], top: int
) -> list[tuple[list[int], float]]:
    """The likeliest token sequences up to the separator or the end of the text, with their log
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
        ends = [ids[-1] == eos or SEPARATOR.strip() in tokenizer.decode(ids) for ids, _ in grown]
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
    marks: Mapping[str, str],
    top: int = 3,
    place: str = "sentence",
) -> dict[str, Any]:
    """Each model's answers to a prompt, as JSON values; see :func:`top_answers`."""
    answers = {
        name: top_answers(model, tokenizer, prompt, marks, top, place)
        for name, model in models.items()
    }
    return {"prompt": prompt, **{name: list(map(asdict, found)) for name, found in answers.items()}}


def as_table(prediction: Mapping[str, Any]) -> str:
    """One prompt's answers as a table to read in the terminal."""
    lines = [prediction["prompt"]]
    for name, answers in prediction.items():
        if name == "prompt":
            continue
        for i, answer in enumerate(answers):
            text = " / ".join(part for part in (answer["english"], answer["spanish"]) if part)
            share = f"{100 * answer['probability']:5.1f} %"
            mark = f"  {answer['mark']}" if answer["mark"] else ""
            lines.append(f"  {name if i == 0 else '':<6}{share}  {text:<28}{mark}".rstrip())
    return "\n".join(lines)
