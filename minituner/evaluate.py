"""Evaluation: minimal pairs give the accuracy, and a control set's perplexity shows forgetting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair, further_controls
from minituner.greedy import answer_of, greedy_answers
from minituner.loop import perplexity
from minituner.probe import probe_over_irregularization
from minituner.scoring import PairScore, ScoringBatches, score_pairs
from minituner.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from minituner.results import (
        AccuracySummary,
        ControlMetrics,
        ItemRow,
        ModelMetrics,
        OptionalColumns,
        Perplexities,
        Prediction,
        SplitMetrics,
    )


# A model that guesses evenly among V tokens has a perplexity of V. Above this share of it, a model
# has not learned the language of a text, and how its perplexity changes says nothing.
UNKNOWN_SHARE = 0.5


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
        splits: ``val``, ``test``, ``control`` and ``probe``, and further control sets, such as
            ``controls/french``.

    Returns:
        The metrics, and one row per pair or text of all splits except the probe.
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
    test_metrics["greedy_accuracy"] = greedy_accuracy(scores["test"])
    controls = {
        name: marked_if_unknown(control_metrics(splits[name].pairs, scores[name]), model.vocab_size)
        for name in ("control", *further_controls(splits).values())
    }
    metrics: ModelMetrics = {
        "val": split_metrics(splits["val"].pairs, scores["val"]),
        "test": test_metrics,
        "control": controls["control"],
        "probe": probe_over_irregularization(
            probe, [score.margin for score in scores["probe"]], probe_answers
        ),
        "predictions": predictions(test, test_answers, tokenizer),
    }
    if further := further_controls(splits):
        metrics["controls"] = {name: controls[split] for name, split in further.items()}
    items = [
        row
        for name in ("val", "test", *controls)
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


def control_metrics(pairs: Sequence[TokenizedPair], scores: Sequence[PairScore]) -> ControlMetrics:
    """Perplexity of a control set, and the accuracy of its minimal pairs, if it has any."""
    compared = [both for both in zip(pairs, scores, strict=True) if both[0].wrong]
    metrics: ControlMetrics = {"n": len(pairs), "perplexity": perplexities(scores)}
    if not compared:
        return metrics
    summary = accuracy_summary([score for _, score in compared])
    return {
        **metrics,
        "accuracy": summary["accuracy"],
        "accuracy_per_token": summary["accuracy_per_token"],
        "margin_nats": summary["margin_nats"],
        "margin_nats_per_token": summary["margin_nats_per_token"],
        "by_group_and_form": accuracy_by_group_and_form(*zip(*compared, strict=True)),
    }


def marked_if_unknown(metrics: ControlMetrics, vocab_size: int) -> ControlMetrics:
    """A model's metrics on a control set, marked if it hardly knows the set: if the perplexity of
    the texts is above :data:`UNKNOWN_SHARE` of the vocabulary."""
    bound = UNKNOWN_SHARE * vocab_size
    if metrics["perplexity"]["text"] <= bound:
        return metrics
    return {**metrics, "unknown_above": bound}


def greedy_accuracy(scores: Sequence[PairScore]) -> float:
    """The share of greedy answers that begin with the right form and the token that ends it."""
    return sum(score.greedy_is_correct for score in scores) / len(scores)


def item_rows(
    split: str, pairs: Sequence[TokenizedPair], scores: Sequence[PairScore]
) -> list[ItemRow]:
    """One row per pair or text: its words, its margins, and its losses."""
    return [
        {
            "split": split,
            "id": pair.id,
            "prompt": pair.prompt,
            "group": pair.group,
            "form": pair.form,
            "complement": pair.complement,
            "correct_form": pair.correct,
            **_margins(pair, score),
            "text_nll_nats": f"{-float(score.text.sum()):.6f}",
            "text_tokens": len(score.text),
            "target_nll_nats": f"{-float(score.target.sum()):.6f}",
            "target_tokens": len(score.target),
        }
        for pair, score in zip(pairs, scores, strict=True)
    ]


def _margins(pair: TokenizedPair, score: PairScore) -> OptionalColumns:
    """The margins of a pair; nothing for a text."""
    if not pair.wrong:
        return {}
    return {
        "wrong_form": pair.wrong[score.likeliest_wrong],
        "margin_nats": f"{score.margin:.6f}",
        "margin_nats_per_token": f"{score.margin_per_token:.6f}",
        "correct": int(score.is_correct),
    }


def predictions(
    pairs: Sequence[TokenizedPair], answers: Sequence[str], tokenizer: TextTokenizer
) -> list[Prediction]:
    """The greedy answer to each pair's prompt, next to the expected one."""
    return [
        {
            "group": pair.group,
            "prompt": pair.prompt,
            "expected": answer_of(pair.target_ids, tokenizer),
            "answer": answer,
        }
        for pair, answer in zip(pairs, answers, strict=True)
    ]
