"""Greedy decoding: the likeliest continuation of a prompt, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minituner.batches import Example, pad
from minituner.causal_lm import CausalLM
from minituner.tokenizer import TextTokenizer


def greedy_prefix(target_ids: Sequence[int], likeliest: Sequence[int]) -> list[int]:
    """The start of the greedy answer, as far as scoring the expected answer reveals it: the
    expected tokens while they are the likeliest, then the likeliest token where it first differs.

    Args:
        likeliest: The most likely token at each position of the expected answer.
    """
    for position, (expected, own) in enumerate(zip(target_ids, likeliest, strict=True)):
        if expected != own:
            return list(likeliest[: position + 1])
    return list(likeliest)


@torch.no_grad()
def next_token_logits(model: CausalLM, texts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """The logits of the token that follows each text: (number of texts, V)"""
    # scored_logits predicts a token that is there, so a pad stands in for the one to predict.
    batch = pad([Example([*text, pad_id], len(text)) for text in texts], pad_id)
    return torch.cat([model.scored_logits(part) for part in model.parts(batch)])


def greedy_answers(
    model: CausalLM,
    tokenizer: TextTokenizer,
    prompts: Sequence[Sequence[int]],
    prefixes: Sequence[Sequence[int]] | None = None,
    max_tokens: int = 16,
) -> list[str]:
    """The greedy answer to each prompt as text, up to the end token or ``max_tokens``.

    Args:
        prefixes: The tokens of each answer that are known already, so need not be decoded again.
    """
    eos, pad_id = tokenizer.eos_id, tokenizer.pad_id
    answers = [list(known[:max_tokens]) for known in prefixes or [()] * len(prompts)]

    def unfinished(i: int) -> bool:
        room = min(max_tokens, model.context_length - len(prompts[i]))
        return len(answers[i]) < room and answers[i][-1:] != [eos]

    while running := [i for i in range(len(prompts)) if unfinished(i)]:
        logits = next_token_logits(model, [[*prompts[i], *answers[i]] for i in running], pad_id)
        for i, token in zip(running, logits.argmax(-1).tolist(), strict=True):
            answers[i].append(token)
    return [answer_of(answer, tokenizer) for answer in answers]


def answer_of(ids: Sequence[int], tokenizer: TextTokenizer) -> str:
    """The text of an answer's tokens, without the end token and the spaces around it."""
    return tokenizer.decode([token for token in ids if token != tokenizer.eos_id]).strip()
