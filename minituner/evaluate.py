"""What a model knows: minimal pairs, perplexity, the probe, and whether the base is untouched."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from minituner.batches import IGNORE, Example, collate
from minituner.checkpoint import load_base, weights_sha256
from minituner.files import atomic_open
from minituner.lora import base_state_dict, load_adapter, lora_layers, lora_parameters
from minituner.model import MiniGPT
from minituner.pairs import TokenizedPair
from minituner.prompts import SEPARATOR
from minituner.tokenizer import EOS, PAD, special_id

EVALUATED = ("val", "test", "control", "probe")
BATCH_SIZE = 128  # sequences a forward pass; results do not depend on it beyond rounding


# --- log-likelihoods ----------------------------------------------------------------------------


@torch.no_grad()
def token_log_probs(model: MiniGPT, examples: Sequence[Example], pad_id: int) -> list[Tensor]:
    """log P of each scored token given all before it: one float64 tensor an example."""
    by_length = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
    scores: dict[int, Tensor] = {}
    for start in range(0, len(by_length), BATCH_SIZE):
        chosen = by_length[start : start + BATCH_SIZE]
        batch = collate([examples[i] for i in chosen], pad_id)
        scored = batch.labels != IGNORE
        logits = model.head(model.features(batch.input_ids, batch.real, scored))
        log_probs = F.log_softmax(logits.double(), dim=-1)
        of_labels = log_probs.gather(1, batch.labels[scored][:, None]).squeeze(1)
        by_example = torch.split(of_labels, scored.sum(dim=1).tolist())
        scores.update(zip(chosen, by_example, strict=True))
    return [scores[i] for i in range(len(examples))]


@dataclass(frozen=True)
class Judgement:
    """How a model weighs the two forms of one pair, in nats.

    ``margin`` is log P(correct form) - log P(wrong form), the token that ends the form included;
    ``margin_per_token`` weighs the means over each form's tokens instead of the sums.
    """

    margin: float
    margin_per_token: float

    @property
    def correct(self) -> bool:
        """Whether the correct form is the likelier; a tie is wrong."""
        return self.margin > 0


def judge_pairs(model: MiniGPT, pairs: Sequence[TokenizedPair], pad_id: int) -> list[Judgement]:
    """Weigh the correct form of every pair against the wrong one, given the whole prompt."""
    examples = [
        Example(pair.prompt_ids + form_ids, len(pair.prompt_ids))
        for pair in pairs
        for form_ids in (pair.correct_ids, pair.wrong_ids)
    ]
    scores = token_log_probs(model, examples, pad_id)
    return [
        Judgement(
            margin=float(correct.sum() - wrong.sum()),
            margin_per_token=float(correct.mean() - wrong.mean()),
        )
        for correct, wrong in zip(scores[::2], scores[1::2], strict=True)
    ]


def accuracy_summary(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Accuracy as a share, its per-token variant, and the mean margins in nats."""
    n = len(judgements)
    return {
        "n": n,
        "accuracy": sum(j.correct for j in judgements) / n,
        "accuracy_per_token": sum(j.margin_per_token > 0 for j in judgements) / n,
        "margin_nats": math.fsum(j.margin for j in judgements) / n,
        "margin_nats_per_token": math.fsum(j.margin_per_token for j in judgements) / n,
    }


def accuracy_by(
    pairs: Sequence[TokenizedPair], judgements: Sequence[Judgement]
) -> dict[str, dict[str, Any]]:
    """:func:`accuracy_summary` for each verb and form, under ``verb/form``."""
    groups: dict[str, list[Judgement]] = {}
    for pair, judgement in zip(pairs, judgements, strict=True):
        groups.setdefault(f"{pair.verb}/{pair.form}", []).append(judgement)
    return {key: accuracy_summary(groups[key]) for key in sorted(groups)}


# --- perplexity ---------------------------------------------------------------------------------


def perplexities(model: MiniGPT, pairs: Sequence[TokenizedPair], pad_id: int) -> dict[str, float]:
    """exp of the mean loss over all tokens after the first (``text``) and over the answers only.

    Every token weighs the same, whichever pair it is from.
    """
    examples = [Example(pair.prompt_ids + pair.target_ids, 1) for pair in pairs]
    scores = token_log_probs(model, examples, pad_id)
    answers = [score[-len(pair.target_ids) :] for pair, score in zip(pairs, scores, strict=True)]
    return {
        "text": math.exp(-float(torch.cat(scores).mean())),
        "target": math.exp(-float(torch.cat(answers).mean())),
    }


def drift(after: float, before: float) -> float:
    """The relative change of a perplexity, (after - before) / before: above 0 is forgetting."""
    return (after - before) / before


# --- greedy answers and the probe ---------------------------------------------------------------


@torch.no_grad()
def greedy_answers(
    model: MiniGPT, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], max_tokens: int = 16
) -> list[str]:
    """The likeliest continuation of each prompt, token by token, up to the end of the text."""
    eos, pad = special_id(tokenizer, EOS), special_id(tokenizer, PAD)
    texts = [list(prompt) for prompt in prompts]
    running = list(range(len(texts)))
    for _ in range(max_tokens):
        if not running:
            break
        # A pad after each text takes the place of the token that is asked for.
        batch = collate([Example([*texts[i], pad], len(texts[i])) for i in running], pad)
        last = model.features(batch.input_ids, batch.real, batch.labels != IGNORE)
        for i, token in zip(running, model.head(last).argmax(-1).tolist(), strict=True):
            texts[i].append(token)
        full = model.config.context_length
        running = [i for i in running if texts[i][-1] != eos and len(texts[i]) < full]
    return [
        tokenizer.decode([token for token in text[len(prompt) :] if token != eos]).strip()
        for prompt, text in zip(prompts, texts, strict=True)
    ]


def english_of(answer: str) -> str:
    """The English side of an answer: what stands before the separator."""
    return answer.split(SEPARATOR.strip())[0].strip()


def probe_over_irregularisation(
    model: MiniGPT, tokenizer: Tokenizer, pairs: Sequence[TokenizedPair]
) -> list[dict[str, Any]]:
    """Whether regular verbs stay regular: per sentence the greedy answer and walked against walken.

    A sentence fails if the irregular-looking form is at least as likely, or is what the model says.
    """
    judgements = judge_pairs(model, pairs, special_id(tokenizer, PAD))
    answers = greedy_answers(model, tokenizer, [pair.prompt_ids for pair in pairs])
    return [
        {
            "prompt": pair.prompt,
            "expected": pair.english,
            "over_irregular": pair.wrong,
            "answer": answer,
            "margin_nats": judgement.margin,
            "failed": not judgement.correct or english_of(answer) == pair.wrong,
        }
        for pair, judgement, answer in zip(pairs, judgements, answers, strict=True)
    ]


# --- the base and the adapter -------------------------------------------------------------------


def max_abs_difference(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """The largest absolute difference over every tensor, NaN if there is one.

    Raises:
        ValueError: The names or shapes differ.
    """
    if left.keys() != right.keys():
        raise ValueError(f"tensors differ: {sorted(left.keys() ^ right.keys())}")
    for name in left:
        if left[name].shape != right[name].shape:
            raise ValueError(f"{name}: {tuple(left[name].shape)} and {tuple(right[name].shape)}")
    return float(torch.stack([(left[name] - right[name]).abs().max() for name in left]).max())


def adapter_parameter_count(model: MiniGPT) -> int:
    """The number of adapter weights that stand in the model."""
    return sum(parameter.numel() for parameter in lora_parameters(model))


# --- one model, all of it -----------------------------------------------------------------------


def evaluate_model(
    model: MiniGPT,
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[TokenizedPair]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything that is measured on a model, wrapped or not, the same way.

    Args:
        splits: ``val``, ``test``, ``control`` and ``probe``.

    Returns:
        The metrics, and one row for each pair of val, test and control.
    """
    model.eval()
    pad_id = special_id(tokenizer, PAD)
    metrics: dict[str, Any] = {}
    items: list[dict[str, Any]] = []
    for name in ("val", "test", "control"):
        judgements = judge_pairs(model, splits[name], pad_id)
        metrics[name] = accuracy_summary(judgements)
        metrics[name]["by_verb_and_form"] = accuracy_by(splits[name], judgements)
        items += item_rows(name, splits[name], judgements)
    metrics["control"]["perplexity"] = perplexities(model, splits["control"], pad_id)
    metrics["test"]["perplexity"] = perplexities(model, splits["test"], pad_id)
    metrics["probe"] = probe_over_irregularisation(model, tokenizer, splits["probe"])
    answers = predictions(model, tokenizer, splits["test"])
    metrics["predictions"] = answers
    metrics["test"]["greedy_accuracy"] = sum(
        english_of(answer["answer"]) == pair.english
        for answer, pair in zip(answers, splits["test"], strict=True)
    ) / len(answers)
    return metrics, items


def item_rows(
    split: str, pairs: Iterable[TokenizedPair], judgements: Iterable[Judgement]
) -> list[dict[str, Any]]:
    """One row a pair: what was asked, and how the model weighed it."""
    return [
        {
            "split": split,
            "id": pair.id,
            "prompt": pair.prompt,
            "verb": pair.verb,
            "form": pair.form,
            "correct_form": pair.english,
            "wrong_form": pair.wrong,
            "margin_nats": f"{judgement.margin:.6f}",
            "margin_nats_per_token": f"{judgement.margin_per_token:.6f}",
            "correct": int(judgement.correct),
        }
        for pair, judgement in zip(pairs, judgements, strict=True)
    ]


def predictions(
    model: MiniGPT, tokenizer: Tokenizer, pairs: Sequence[TokenizedPair]
) -> list[dict[str, str]]:
    """The greedy answer to each pair's prompt beside the expected one."""
    answers = greedy_answers(model, tokenizer, [pair.prompt_ids for pair in pairs])
    return [
        {
            "verb": pair.verb,
            "prompt": pair.prompt,
            "expected": f"{pair.english} / {pair.spanish}" if pair.spanish else pair.english,
            "answer": answer,
        }
        for pair, answer in zip(pairs, answers, strict=True)
    ]


# --- one rank, all its seeds --------------------------------------------------------------------


def evaluate_rank(
    base_path: str | Path,
    adapters: Mapping[int, str | Path],
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[TokenizedPair]],
    base_metrics: Mapping[str, Any],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """:func:`evaluate_model` for the adapter of each seed, with what it did to the base.

    Args:
        adapters: The adapter file of each seed; all of one rank.
        base_metrics: What :func:`evaluate_model` says of the base.

    Raises:
        UserError: An adapter does not belong to the base.
        AssertionError: A base weight inside a tuned model differs from the checkpoint's.
    """
    base = load_base(base_path).state_dict()
    base_sha256 = weights_sha256(base)
    runs, items = [], []
    for seed, path in adapters.items():
        model = load_adapter(path, load_base(base_path), base_sha256)
        metrics, rows = evaluate_model(model, tokenizer, splits)
        for split in ("control", "test"):
            after, before = metrics[split]["perplexity"], base_metrics[split]["perplexity"]
            metrics[split]["drift"] = {kind: drift(after[kind], before[kind]) for kind in after}
        untouched = base_state_dict(model)
        metrics["seed"] = seed
        metrics["base_max_abs_diff"] = max_abs_difference(untouched, base)
        metrics["base_sha256"] = {"before": base_sha256, "after": weights_sha256(untouched)}
        assert metrics["base_sha256"]["after"] == base_sha256, f"{path}: the base was changed"
        runs.append(metrics)
        items += [{"seed": seed, **row} for row in rows]
    layers = [layer for _, layer in lora_layers(model)]
    adapter_bytes = max(Path(path).stat().st_size for path in adapters.values())
    return {
        "rank": layers[0].r,
        "scaling": layers[0].scaling,
        "adapter_parameters": adapter_parameter_count(model),
        "adapter_bytes": adapter_bytes,
        "adapter_size_ratio": adapter_bytes / Path(base_path).stat().st_size,
        "runs": runs,
    }, items


def write_items(path: str | Path, items: Sequence[Mapping[str, Any]]) -> None:
    """Write per-item results as CSV, whole or not at all."""
    with atomic_open(path) as stream:
        writer = csv.DictWriter(stream, items[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(items)
