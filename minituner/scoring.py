"""Scoring: log-probabilities of the right and the wrong forms of pairs.

    <bos> He __ to school yesterday. => went / fue <eos>
                                        went /            correct_ids
                                        goed /            wrong_ids

``margin = log P(correct form) - log P(wrong form)``, both given the whole prompt and both with the
token that ends the form; of several wrong forms the likeliest counts. A pair is right if its margin
is above 0. In ``sentence`` scoring the ids of a form are the rest of the sentence, from the first
token that differs: the tokens before it would cancel out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from minituner.batches import EVALUATION_BATCH_SIZE, Batch, Example, pad
from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair
from minituner.greedy import greedy_prefix


@dataclass(frozen=True)
class PairScore:
    """Log-probabilities of one pair in nats, each token's given all tokens before it."""

    text: Tensor  # all tokens of prompt + right answer except the first
    target: Tensor  # the right answer's tokens
    correct: Tensor  # the right form and the token that ends it
    wrong: list[Tensor]  # each wrong form and the token that ends it
    greedy_prefix: list[int]  # the start of the greedy answer; see greedy.greedy_prefix
    greedy_is_correct: bool  # whether the greedy answer begins with the right form and its end

    @property
    def margin(self) -> float:
        """log P(correct form) - log P(likeliest wrong form), in nats; NaN without a wrong form."""
        if not self.wrong:
            return math.nan
        return float(self.correct.sum() - max(wrong.sum() for wrong in self.wrong))

    @property
    def margin_per_token(self) -> float:
        """The same with each form's mean per token instead of its sum."""
        if not self.wrong:
            return math.nan
        return float(self.correct.mean() - max(wrong.mean() for wrong in self.wrong))

    @property
    def is_correct(self) -> bool:
        """Whether the correct form is more likely than every wrong one; a tie is wrong."""
        return self.margin > 0

    @property
    def likeliest_wrong(self) -> int:
        """The index of the likeliest wrong form; of equally likely ones, of the first."""
        sums = [float(wrong.sum()) for wrong in self.wrong]
        return sums.index(max(sums))


@dataclass(frozen=True)
class ScoringBatches:
    """One split, ready to be scored, by one model or by many.

    ``texts`` holds prompt + right answer for every pair (all tokens except the first are scored),
    then prompt + wrong form for every wrong form of every pair (only the form is scored).
    """

    pairs: Sequence[TokenizedPair]
    texts: list[Example]
    pad_id: int

    @classmethod
    def of(cls, pairs: Sequence[TokenizedPair], pad_id: int) -> ScoringBatches:
        """The batches of a split."""
        right = [Example(pair.prompt_ids + pair.target_ids, 1) for pair in pairs]
        wrong = [
            Example(pair.prompt_ids + ids, len(pair.prompt_ids))
            for pair in pairs
            for ids in pair.wrong_ids
        ]
        return cls(pairs, right + wrong, pad_id)

    @cached_property
    def batches(self) -> list[tuple[list[int], Batch]]:
        """Batches, each with its texts' indices in ``texts``. Texts are sorted, so that common
        prefixes are in one batch and ``fast`` computes them once."""
        order = sorted(range(len(self.texts)), key=lambda i: self.texts[i].ids)
        size = EVALUATION_BATCH_SIZE
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        return [(group, pad([self.texts[i] for i in group], self.pad_id)) for group in groups]


def score_pairs(model: CausalLM, split: ScoringBatches) -> list[PairScore]:
    """Score every pair of a split; the caller puts the model in ``eval`` mode. The right form is
    scored as the start of the right answer."""
    scores = score_texts(model, split)
    n = len(split.pairs)
    wrong_scores = iter(scores[n:])
    pair_scores = []
    for pair, right in zip(split.pairs, scores[:n], strict=True):
        target = right.log_probs[-len(pair.target_ids) :]
        known = greedy_prefix(pair.target_ids, right.likeliest[-len(pair.target_ids) :])
        pair_scores.append(
            PairScore(
                text=right.log_probs,
                target=target,
                correct=target[: len(pair.correct_ids)],
                wrong=[next(wrong_scores).log_probs for _ in pair.wrong_ids],
                greedy_prefix=known,
                greedy_is_correct=known[: len(pair.correct_ids)] == pair.correct_ids,
            )
        )
    return pair_scores


@dataclass(frozen=True)
class TokenScores:
    """The model's predictions at the scored tokens of one text, each given all tokens before it."""

    log_probs: Tensor  # (tokens,) float64, nats
    likeliest: list[int]  # the most likely token at each position


@torch.no_grad()
def score_texts(model: CausalLM, split: ScoringBatches) -> list[TokenScores]:
    """Score the texts of a split, in their order. S is the number of scored tokens of a batch."""
    scores: dict[int, TokenScores] = {}
    for group, batch in split.batches:
        texts = iter(group)
        for part in model.parts(batch):
            log_probs = F.log_softmax(model.scored_logits(part).double(), dim=-1)  # (S, V)
            labels = part.labels[part.scored]  # (S,)
            of_labels = log_probs.gather(1, labels[:, None]).squeeze(1)  # (S,)
            counts = part.scored.sum(dim=1).tolist()
            values = (of_labels.cpu(), log_probs.argmax(-1).cpu())
            by_text = (torch.split(value, counts) for value in values)
            for i, own, likeliest in zip(islice(texts, len(counts)), *by_text, strict=True):
                scores[i] = TokenScores(own, likeliest.tolist())
    return [scores[i] for i in range(len(split.texts))]
