"""What a base and a tuned model answer to a prompt with a blank, for a reader to try."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokenizers import Tokenizer

from minituner.corpus import BLANK
from minituner.errors import UserError
from minituner.evaluate import english_of, greedy_answers, next_token_logits
from minituner.model import MiniGPT
from minituner.prompts import SEPARATOR, prompt_text
from minituner.tokenizer import BOS, EOS, PAD, encode, special_id
from minituner.verbs import PERSONS, Verb

BEAM = 16  # beginnings of an answer that are followed at a time
MAX_TOKENS = 12  # of the English side


@dataclass(frozen=True)
class Answer:
    """One way to fill the blank."""

    english: str
    spanish: str  # the likeliest after this English; "" where the model gives none
    probability: float  # of the English and of its end there, given the prompt
    mark: str  # "right", "wrong", or "" where no known verb has such a form


def read_prompts(lines: Iterable[str], source: str) -> list[str]:
    """The prompts among ``lines``, empty ones left out.

    Raises:
        UserError: A line has not exactly one blank; it names ``source:line``.
    """
    prompts = []
    for number, line in enumerate(lines, start=1):
        prompt = line.strip()
        if prompt and prompt.count(BLANK) != 1:
            raise UserError(
                f"{source}:{number}",
                "has no blank" if BLANK not in prompt else "has more than one blank",
                found=repr(prompt),
                expected=f"one sentence a line with {BLANK} where the verb form goes",
                mend=f'e.g. "He {BLANK} to school yesterday."',
            )
        if prompt:
            prompts.append(prompt)
    return prompts


def known_forms(verbs: Mapping[str, Verb]) -> dict[str, str]:
    """Past forms of known verbs, each ``right`` or ``wrong``. A form that is right of one verb and
    wrong of another is right."""
    marks: dict[str, str] = {}
    for verb in verbs.values():
        marks |= dict.fromkeys((verb.wrong_past, verb.wrong_participle), "wrong")
    for verb in verbs.values():
        marks |= dict.fromkeys([verb.participle, *(verb.past[p] for p in PERSONS)], "right")
    return marks


def top_answers(
    model: MiniGPT, tokenizer: Tokenizer, prompt: str, marks: Mapping[str, str], top: int = 3
) -> list[Answer]:
    """The likeliest answers to one prompt, best first, by beam search over the English side.

    Raises:
        UserError: The prompt leaves no room for an answer in the model's context.
    """
    prompt_ids = [special_id(tokenizer, BOS), *encode(tokenizer, prompt_text(prompt))]
    if len(prompt_ids) >= model.config.context_length:
        raise UserError(
            repr(prompt),
            "is longer than the model's context",
            found=f"{len(prompt_ids)} tokens",
            expected=f"fewer than {model.config.context_length}, to leave room for an answer",
            mend="shorten the sentence",
        )
    finished = _beam_search(model, tokenizer, prompt_ids, top)
    whole = greedy_answers(
        model, tokenizer, [prompt_ids] * len(finished), [ids for ids, _ in finished]
    )
    answers = []
    for (ids, log_prob), text in zip(finished, whole, strict=True):
        english = english_of(tokenizer.decode(ids))
        spanish = text.partition(SEPARATOR.strip())[2].strip()
        answers.append(Answer(english, spanish, math.exp(log_prob), marks.get(english, "")))
    return answers


def _beam_search(
    model: MiniGPT, tokenizer: Tokenizer, prompt_ids: Sequence[int], top: int
) -> list[tuple[list[int], float]]:
    """The likeliest token sequences up to the separator or the end of the text, with their log
    probabilities. It stops when nothing unfinished could still be among the top; what has no
    end after ``MAX_TOKENS`` is cut off there."""
    eos, pad = special_id(tokenizer, EOS), special_id(tokenizer, PAD)
    running: list[tuple[list[int], float]] = [([], 0.0)]
    finished: list[tuple[list[int], float]] = []
    room = min(MAX_TOKENS, model.config.context_length - len(prompt_ids))
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
    return (finished + running)[:top]


def predict(
    models: Mapping[str, MiniGPT],
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    marks: Mapping[str, str],
    top: int = 3,
) -> list[dict[str, Any]]:
    """The answers of each model to each prompt, as JSON has them."""
    return [
        {
            "prompt": prompt,
            **{
                name: [asdict(a) for a in top_answers(model, tokenizer, prompt, marks, top)]
                for name, model in models.items()
            },
        }
        for prompt in prompts
    ]


def as_table(prediction: Mapping[str, Any]) -> str:
    """One prompt's answers for a reader."""
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
