"""Evaluation: minimal pairs give the accuracy, and perplexity on regular verbs shows forgetting.

    <bos> He __ to school yesterday. => went / fue <eos>
                                        went /            correct_ids
                                        goed /            wrong_ids

``margin = log P(correct form) - log P(wrong form)``, both given the whole prompt and both with the
token that ends the form; of several wrong forms the likeliest counts. A pair is right if its margin
is above 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from minituner.batches import EVALUATION_BATCH_SIZE, Batch, Example, pad
from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair
from minituner.data.prompts import english_of
from minituner.greedy import greedy_answers, greedy_prefix
from minituner.loop import perplexity
from minituner.probe import probe_over_irregularization
from minituner.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from minituner.results import (
        AccuracySummary,
        ItemRow,
        ModelMetrics,
        Perplexities,
        Prediction,
        SplitMetrics,
    )


@dataclass(frozen=True)
class PairScore:
    """Log-probabilities of one pair in nats, each token's given all tokens before it."""

    text: Tensor  # all tokens of prompt + right answer except the first
    target: Tensor  # the right answer's tokens
    correct: Tensor  # the right form and the token that ends it
    wrong: list[Tensor]  # each wrong form and the token that ends it
    greedy_prefix: list[int]  # the start of the greedy answer; see greedy.greedy_prefix

    @property
    def margin(self) -> float:
        """log P(correct form) - log P(likeliest wrong form), in nats."""
        return float(self.correct.sum() - max(wrong.sum() for wrong in self.wrong))

    @property
    def margin_per_token(self) -> float:
        """The same with each form's mean per token instead of its sum."""
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
        likeliest = right.likeliest[-len(pair.target_ids) :]
        pair_scores.append(
            PairScore(
                text=right.log_probs,
                target=target,
                correct=target[: len(pair.correct_ids)],
                wrong=[next(wrong_scores).log_probs for _ in pair.wrong_ids],
                greedy_prefix=greedy_prefix(pair.target_ids, likeliest),
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
        log_probs = F.log_softmax(model.scored_logits(batch).double(), dim=-1)  # (S, V)
        labels = batch.labels[batch.scored]  # (S,)
        of_labels = log_probs.gather(1, labels[:, None]).squeeze(1)  # (S,)
        counts = batch.scored.sum(dim=1).tolist()
        by_text = (torch.split(values, counts) for values in (of_labels, log_probs.argmax(-1)))
        for i, own, likeliest in zip(group, *by_text, strict=True):
            scores[i] = TokenScores(own, likeliest.tolist())
    return [scores[i] for i in range(len(split.texts))]


def accuracy_summary(scores: Sequence[PairScore]) -> AccuracySummary:
    """Accuracy as a share, its per-token variant, and the mean margins in nats."""
    n = len(scores)
    return {
        "n": n,
        "accuracy": sum(score.is_correct for score in scores) / n,
        "accuracy_per_token": sum(score.margin_per_token > 0 for score in scores) / n,
        "margin_nats": math.fsum(score.margin for score in scores) / n,
        "margin_nats_per_token": math.fsum(score.margin_per_token for score in scores) / n,
    }


def accuracy_by_group_and_form(
    pairs: Sequence[TokenizedPair], scores: Sequence[PairScore]
) -> dict[str, AccuracySummary]:
    """:func:`accuracy_summary` for each group and form, under ``group/form``."""
    groups: dict[str, list[PairScore]] = {}
    for pair, score in zip(pairs, scores, strict=True):
        groups.setdefault(f"{pair.group}/{pair.form}", []).append(score)
    return {key: accuracy_summary(groups[key]) for key in sorted(groups)}


def perplexities(scores: Sequence[PairScore]) -> Perplexities:
    """exp of the mean loss per token, over the whole texts (``text``) and over the answers only
    (``target``). Every token has the same weight, whichever pair it is from."""

    def of(parts: Iterable[Tensor]) -> float:
        parts = list(parts)
        return perplexity(math.fsum(-float(part.sum()) for part in parts) / sum(map(len, parts)))

    return {
        "text": of(score.text for score in scores),
        "target": of(score.target for score in scores),
    }


def drift(after: float, before: float) -> float:
    """The relative change of a perplexity, (after - before) / before: above 0 is forgetting."""
    return (after - before) / before


def evaluate_model(
    model: CausalLM, tokenizer: TextTokenizer, splits: Mapping[str, ScoringBatches]
) -> tuple[ModelMetrics, list[ItemRow]]:
    """Measure everything on a model, adapted or plain, in the same way.

    Args:
        splits: ``val``, ``test``, ``control`` and ``probe``.

    Returns:
        The metrics, and one row per pair of val, test and control.
    """
    model.eval()
    scores = {name: score_pairs(model, split) for name, split in splits.items()}
    test, probe = splits["test"].pairs, splits["probe"].pairs
    answers = greedy_answers(
        model,
        tokenizer,
        [pair.prompt_ids for pair in (*test, *probe)],
        [score.greedy_prefix for score in (*scores["test"], *scores["probe"])],
    )
    test_answers, probe_answers = answers[: len(test)], answers[len(test) :]
    test_metrics = split_metrics(test, scores["test"])
    test_metrics["greedy_accuracy"] = greedy_accuracy(test, test_answers)
    metrics: ModelMetrics = {
        "val": split_metrics(splits["val"].pairs, scores["val"]),
        "test": test_metrics,
        "control": split_metrics(splits["control"].pairs, scores["control"]),
        "probe": probe_over_irregularization(
            probe, [score.margin for score in scores["probe"]], probe_answers
        ),
        "predictions": predictions(test, test_answers),
    }
    items = [
        row
        for name in ("val", "test", "control")
        for row in item_rows(name, splits[name].pairs, scores[name])
    ]
    return metrics, items


def split_metrics(pairs: Sequence[TokenizedPair], scores: Sequence[PairScore]) -> SplitMetrics:
    """Accuracy and perplexity of one split."""
    summary = accuracy_summary(scores)
    return {
        "n": summary["n"],
        "accuracy": summary["accuracy"],
        "accuracy_per_token": summary["accuracy_per_token"],
        "margin_nats": summary["margin_nats"],
        "margin_nats_per_token": summary["margin_nats_per_token"],
        "by_group_and_form": accuracy_by_group_and_form(pairs, scores),
        "perplexity": perplexities(scores),
    }


def greedy_accuracy(pairs: Sequence[TokenizedPair], answers: Sequence[str]) -> float:
    """The share of greedy answers whose English is the right form."""
    right = [english_of(a) == pair.correct for a, pair in zip(answers, pairs, strict=True)]
    return sum(right) / len(right)


def item_rows(
    split: str, pairs: Sequence[TokenizedPair], scores: Sequence[PairScore]
) -> list[ItemRow]:
    """One row per pair: the pair, its margins, and its losses."""
    return [
        {
            "split": split,
            "id": pair.id,
            "prompt": pair.prompt,
            "group": pair.group,
            "form": pair.form,
            "complement": pair.complement,
            "correct_form": pair.correct,
            "wrong_form": pair.wrong[score.likeliest_wrong],
            "margin_nats": f"{score.margin:.6f}",
            "margin_nats_per_token": f"{score.margin_per_token:.6f}",
            "correct": int(score.is_correct),
            "text_nll_nats": f"{-float(score.text.sum()):.6f}",
            "text_tokens": len(score.text),
            "target_nll_nats": f"{-float(score.target.sum()):.6f}",
            "target_tokens": len(score.target),
        }
        for pair, score in zip(pairs, scores, strict=True)
    ]


def predictions(pairs: Sequence[TokenizedPair], answers: Sequence[str]) -> list[Prediction]:
    """The greedy answer to each pair's prompt, next to the expected one."""
    return [
        {
            "group": pair.group,
            "prompt": pair.prompt,
            "expected": pair.correct + pair.after,
            "answer": answer,
        }
        for pair, answer in zip(pairs, answers, strict=True)
    ]
