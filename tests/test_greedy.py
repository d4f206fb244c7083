"""Greedy decoding, on models whose every probability is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from models import BOS_ID, EOS_ID, PAD_ID, Bigram, chain, reference_logits

from minituner.data.pairs import TokenizedPair
from minituner.greedy import greedy_answers, greedy_prefix, next_token_logits
from minituner.model import MiniGPT
from minituner.scoring import ScoringBatches, score_pairs
from minituner.tokenizer import TextTokenizer

MakeBigram = Callable[..., Bigram]
ASK = 10  # the last token of a prompt


def one_token(tokenizer: TextTokenizer, text: str) -> int:
    (token_id,) = tokenizer.encode(text)
    return token_id


def test_greedy_answer_ends_with_the_text(bigram: MakeBigram, tokenizer: TextTokenizer) -> None:
    went, slash, home = (one_token(tokenizer, text) for text in (" went", " /", " home"))
    model = bigram(chain(ASK, went, slash, EOS_ID, home, home))
    assert greedy_answers(model, tokenizer, [[BOS_ID, ASK], [BOS_ID, slash]]) == ["went /", ""]


def test_greedy_answer_ends_with_its_budget_or_the_context(
    bigram: MakeBigram, tokenizer: TextTokenizer
) -> None:
    home = one_token(tokenizer, " home")
    model = bigram({(home, home): 0.9})
    prompts = [[BOS_ID, home], [BOS_ID] + [home] * 29]  # 30 of the context's 32 tokens
    answers = greedy_answers(model, tokenizer, prompts, max_tokens=5)
    assert [answer.split() for answer in answers] == [["home"] * 5, ["home"] * 2]


def test_greedy_answer_does_not_depend_on_the_other_prompts(
    base: MiniGPT, tokenizer: TextTokenizer, pairs: list[TokenizedPair]
) -> None:
    prompts = [pair.prompt_ids for pair in pairs]
    assert len({len(prompt) for prompt in prompts}) > 1, "without padding there is nothing to show"
    together = greedy_answers(base, tokenizer, prompts)
    assert together == [greedy_answers(base, tokenizer, [prompt])[0] for prompt in prompts]
    assert together == greedy_answers(base, tokenizer, prompts[::-1])[::-1]
    assert len(set(together)) > 3


def test_greedy_answers_equal_one_argmax_after_the_other(
    base: MiniGPT, tokenizer: TextTokenizer, pairs: list[TokenizedPair]
) -> None:
    base.double()
    prompts = [pair.prompt_ids for pair in pairs]
    answers = greedy_answers(base, tokenizer, prompts, max_tokens=6)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        while len(ids) < len(prompt) + 6 and ids[-1] != EOS_ID:
            ids.append(int(reference_logits(base, torch.tensor([ids]))[0, -1].argmax()))
        own = [token for token in ids[len(prompt) :] if token != EOS_ID]
        assert answer == tokenizer.decode(own).strip()


@torch.no_grad()
def test_next_token_logits_are_those_after_each_text(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    base.double()
    texts = [pair.prompt_ids for pair in pairs]
    found = next_token_logits(base, texts, PAD_ID)
    for logits, text in zip(found, texts, strict=True):
        expected = reference_logits(base, torch.tensor([text]))[0, -1]
        torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)


def test_known_prefixes_change_no_answer(
    base: MiniGPT, tokenizer: TextTokenizer, pairs: list[TokenizedPair]
) -> None:
    prompts = [pair.prompt_ids for pair in pairs]
    # The model's own answers as the right ones, so that some agree to their end, some in part.
    base.double()
    own = [tokenizer.encode(f" {answer}") for answer in greedy_answers(base, tokenizer, prompts)]
    in_part = [
        replace(pair, target_ids=ids[: 1 + i], correct_ids=ids[:1])
        for i, (pair, ids) in enumerate(zip(pairs, own, strict=True))
    ]
    for some in (pairs, in_part):
        scores = score_pairs(base, ScoringBatches.of(some, PAD_ID))
        known = [score.greedy_prefix for score in scores]
        assert all(known)
        assert greedy_answers(base, tokenizer, prompts, known) == greedy_answers(
            base, tokenizer, prompts
        )


@pytest.mark.parametrize(
    ("likeliest", "prefix"), [([5, 6, 7], [5, 6, 7]), ([5, 9, 7], [5, 9]), ([8, 6, 7], [8])]
)
def test_greedy_prefix_ends_at_the_first_difference(
    likeliest: list[int], prefix: list[int]
) -> None:
    assert greedy_prefix([5, 6, 7], likeliest) == prefix
