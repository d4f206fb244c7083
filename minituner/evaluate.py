"""What a model knows: minimal pairs, perplexity, the probe, and whether the base is untouched."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from minituner.data.batches import IGNORE, Batch, Example, collate
from minituner.data.pairs import TokenizedPair
from minituner.data.prompts import SEPARATOR
from minituner.fast.frozen import keep_frozen_part
from minituner.loop import perplexity
from minituner.lora import base_state_dict, lora_layers, lora_parameters
from minituner.model import MiniGPT
from minituner.statistics.audit import scale_audit
from minituner.storage.adapter import load_adapter
from minituner.storage.checkpoint import load_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import EOS, PAD, special_id

EVALUATED = ("val", "test", "control", "probe")
BATCH_SIZE = 128  # sequences a forward pass; results do not depend on it beyond rounding


# --- log-likelihoods ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Questions:
    """One split and the two texts that each of its pairs is scored on: first all prompts with the
    right answer, every token scored but the first, then all with the wrong form, that scored."""

    pairs: Sequence[TokenizedPair]
    texts: list[Example]
    pad_id: int

    @classmethod
    def of(cls, pairs: Sequence[TokenizedPair], pad_id: int) -> Questions:
        """The questions of a split."""
        right = [Example(pair.prompt_ids + pair.target_ids, 1) for pair in pairs]
        wrong = [Example(pair.prompt_ids + pair.wrong_ids, len(pair.prompt_ids)) for pair in pairs]
        return cls(pairs, right + wrong, pad_id)

    def keep_frozen_part(self, model: MiniGPT) -> Questions:
        """The same, ready for more than one adapter over the base in ``model``."""
        return replace(self, texts=keep_frozen_part(model, self.texts, self.pad_id))

    @cached_property
    def batches(self) -> list[tuple[list[int], Batch]]:
        """The texts in batches, each with its texts' places in ``texts``; made once for all models.

        Texts that begin alike stand together, and what they have in common is computed once.
        """
        in_order = sorted(range(len(self.texts)), key=lambda i: self.texts[i].ids)
        groups = [in_order[i : i + BATCH_SIZE] for i in range(0, len(in_order), BATCH_SIZE)]
        return [
            (group, collate([self.texts[i] for i in group], self.pad_id, share=True))
            for group in groups
        ]


@dataclass(frozen=True)
class Scores:
    """What a model makes of the scored tokens of one text, given all before each."""

    log_probs: Tensor  # (tokens,) float64, log P of the token that stands there
    likeliest: list[int]  # the token it holds likeliest there


@torch.no_grad()
def score_texts(model: MiniGPT, questions: Questions) -> list[Scores]:
    """The scores of each text, in their order."""
    scores: dict[int, Scores] = {}
    for group, batch in questions.batches:
        scored = batch.labels != IGNORE
        features = model.features(batch.input_ids, batch.layout, scored, batch.entry)
        log_probs = F.log_softmax(model.head(features).double(), dim=-1)
        of_labels = log_probs.gather(1, batch.labels[scored][:, None]).squeeze(1)
        counts = scored.sum(dim=1).tolist()
        by_text = (torch.split(found, counts) for found in (of_labels, log_probs.argmax(-1)))
        for i, own, likeliest in zip(group, *by_text, strict=True):
            scores[i] = Scores(own, likeliest.tolist())
    return [scores[i] for i in range(len(questions.texts))]


@dataclass(frozen=True)
class Reply:
    """What a model makes of one pair."""

    text: Tensor  # (tokens,) log P of the whole text after its first token
    target: Tensor  # of the right answer's tokens
    correct: Tensor  # of the right form and what ends it, the first of these
    wrong: Tensor  # of the wrong form and what ends it
    greedy: list[int]  # its own answer, as far as the pass over the right one shows it


def replies(model: MiniGPT, questions: Questions) -> list[Reply]:
    """The replies to a split. The right form is scored where it begins the right answer."""
    scores = score_texts(model, questions)
    n = len(questions.pairs)
    return [
        Reply(
            text=right.log_probs,
            target=right.log_probs[-len(pair.target_ids) :],
            correct=right.log_probs[-len(pair.target_ids) :][: len(pair.correct_ids)],
            wrong=wrong.log_probs,
            greedy=greedy_beginning(pair.target_ids, right.likeliest[-len(pair.target_ids) :]),
        )
        for pair, right, wrong in zip(questions.pairs, scores[:n], scores[n:], strict=True)
    ]


# --- minimal pairs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judgment:
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


def judge(reply: Reply) -> Judgment:
    """Weigh the correct form of a pair against the wrong one, given the whole prompt."""
    return Judgment(
        margin=float(reply.correct.sum() - reply.wrong.sum()),
        margin_per_token=float(reply.correct.mean() - reply.wrong.mean()),
    )


def accuracy_summary(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Accuracy as a share, its per-token variant, and the mean margins in nats."""
    n = len(judgments)
    return {
        "n": n,
        "accuracy": sum(j.correct for j in judgments) / n,
        "accuracy_per_token": sum(j.margin_per_token > 0 for j in judgments) / n,
        "margin_nats": math.fsum(j.margin for j in judgments) / n,
        "margin_nats_per_token": math.fsum(j.margin_per_token for j in judgments) / n,
    }


def accuracy_by(
    pairs: Sequence[TokenizedPair], judgments: Sequence[Judgment]
) -> dict[str, dict[str, Any]]:
    """:func:`accuracy_summary` for each verb and form, under ``verb/form``."""
    groups: dict[str, list[Judgment]] = {}
    for pair, judgment in zip(pairs, judgments, strict=True):
        groups.setdefault(f"{pair.verb}/{pair.form}", []).append(judgment)
    return {key: accuracy_summary(groups[key]) for key in sorted(groups)}


# --- perplexity ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Losses:
    """What one pair costs a model, in nats, over so many tokens: the whole text after its first
    token, and the answer alone."""

    text_nll: float
    text_tokens: int
    target_nll: float
    target_tokens: int


def losses_of(reply: Reply) -> Losses:
    """The losses of a pair with its right answer."""
    return Losses(
        text_nll=-float(reply.text.sum()),
        text_tokens=len(reply.text),
        target_nll=-float(reply.target.sum()),
        target_tokens=len(reply.target),
    )


def perplexities(losses: Sequence[Losses]) -> dict[str, float]:
    """exp of the mean loss over all texts' tokens (``text``) and over the answers' only.

    Every token weighs the same, whichever pair it is from.
    """

    def mean(nll: Iterable[float], tokens: Iterable[int]) -> float:
        return math.fsum(nll) / sum(tokens)

    return {
        "text": perplexity(mean((x.text_nll for x in losses), (x.text_tokens for x in losses))),
        "target": perplexity(
            mean((x.target_nll for x in losses), (x.target_tokens for x in losses))
        ),
    }


def drift(after: float, before: float) -> float:
    """The relative change of a perplexity, (after - before) / before: above 0 is forgetting."""
    return (after - before) / before


# --- greedy answers and the probe ---------------------------------------------------------------


def greedy_beginning(target_ids: Sequence[int], likeliest: Sequence[int]) -> list[int]:
    """How a greedy answer begins, from the likeliest token at each place of the expected one: as
    that does, and with the model's own token at the first place where they part."""
    for place, (expected, own) in enumerate(zip(target_ids, likeliest, strict=True)):
        if expected != own:
            return list(likeliest[: place + 1])
    return list(likeliest)


@torch.no_grad()
def next_token_logits(model: MiniGPT, texts: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    """What each text goes on with: (number of texts, V)."""
    # A pad after each text takes the place of the token that is asked for.
    examples = [Example([*text, pad_id], len(text)) for text in texts]
    batch = collate(examples, pad_id, share=True)
    return model.head(model.features(batch.input_ids, batch.layout, batch.labels != IGNORE))


def greedy_answers(
    model: MiniGPT,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    beginnings: Sequence[Sequence[int]] | None = None,
    max_tokens: int = 16,
) -> list[str]:
    """The likeliest continuation of each prompt, token by token, up to the end of the text.

    Args:
        beginnings: The tokens of each answer that are known already; none by default.
    """
    eos, pad = special_id(tokenizer, EOS), special_id(tokenizer, PAD)
    answers = [list(known[:max_tokens]) for known in beginnings or [()] * len(prompts)]

    def unfinished(i: int) -> bool:
        room = min(max_tokens, model.config.context_length - len(prompts[i]))
        return len(answers[i]) < room and answers[i][-1:] != [eos]

    while running := [i for i in range(len(prompts)) if unfinished(i)]:
        logits = next_token_logits(model, [[*prompts[i], *answers[i]] for i in running], pad)
        for i, token in zip(running, logits.argmax(-1).tolist(), strict=True):
            answers[i].append(token)
    return [
        tokenizer.decode([token for token in answer if token != eos]).strip() for answer in answers
    ]


def english_of(answer: str) -> str:
    """The English side of an answer: what stands before the separator."""
    return answer.split(SEPARATOR.strip())[0].strip()


def probe_over_irregularization(
    pairs: Sequence[TokenizedPair], judgments: Sequence[Judgment], answers: Sequence[str]
) -> list[dict[str, Any]]:
    """Whether regular verbs stay regular: per sentence the greedy answer and walked against walken.

    A sentence fails if the irregular-looking form is at least as likely, or is what the model says.
    """
    return [
        {
            "prompt": pair.prompt,
            "expected": pair.english,
            "over_irregular": pair.wrong,
            "answer": answer,
            "margin_nats": judgment.margin,
            "failed": not judgment.correct or english_of(answer) == pair.wrong,
        }
        for pair, judgment, answer in zip(pairs, judgments, answers, strict=True)
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
    model: MiniGPT, tokenizer: Tokenizer, questions: Mapping[str, Questions]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything that is measured on a model, wrapped or not, the same way.

    Args:
        questions: Of the splits ``val``, ``test``, ``control`` and ``probe``.

    Returns:
        The metrics, and one row for each pair of val, test and control.
    """
    model.eval()
    replied = {name: replies(model, asked) for name, asked in questions.items()}
    judged = {name: list(map(judge, replied[name])) for name in questions}
    metrics: dict[str, Any] = {}
    items: list[dict[str, Any]] = []
    for name in ("val", "test", "control"):
        pairs, losses = questions[name].pairs, list(map(losses_of, replied[name]))
        metrics[name] = accuracy_summary(judged[name])
        metrics[name]["by_verb_and_form"] = accuracy_by(pairs, judged[name])
        metrics[name]["perplexity"] = perplexities(losses)
        items += item_rows(name, pairs, judged[name], losses)
    test, probe = questions["test"].pairs, questions["probe"].pairs
    answers = greedy_answers(
        model,
        tokenizer,
        [pair.prompt_ids for pair in (*test, *probe)],
        [reply.greedy for reply in (*replied["test"], *replied["probe"])],
    )
    to_test, to_probe = answers[: len(test)], answers[len(test) :]
    metrics["probe"] = probe_over_irregularization(probe, judged["probe"], to_probe)
    metrics["predictions"] = predictions(test, to_test)
    metrics["test"]["greedy_accuracy"] = sum(
        english_of(answer) == pair.english for answer, pair in zip(to_test, test, strict=True)
    ) / len(test)
    return metrics, items


def item_rows(
    split: str,
    pairs: Iterable[TokenizedPair],
    judgments: Iterable[Judgment],
    losses: Iterable[Losses],
) -> list[dict[str, Any]]:
    """One row a pair: what was asked, how the model weighed it, and what it cost."""
    return [
        {
            "split": split,
            "id": pair.id,
            "prompt": pair.prompt,
            "verb": pair.verb,
            "form": pair.form,
            "complement": pair.complement,
            "correct_form": pair.english,
            "wrong_form": pair.wrong,
            "margin_nats": f"{judgment.margin:.6f}",
            "margin_nats_per_token": f"{judgment.margin_per_token:.6f}",
            "correct": int(judgment.correct),
            "text_nll_nats": f"{loss.text_nll:.6f}",
            "text_tokens": loss.text_tokens,
            "target_nll_nats": f"{loss.target_nll:.6f}",
            "target_tokens": loss.target_tokens,
        }
        for pair, judgment, loss in zip(pairs, judgments, losses, strict=True)
    ]


def predictions(pairs: Sequence[TokenizedPair], answers: Sequence[str]) -> list[dict[str, str]]:
    """The greedy answer to each pair's prompt beside the expected one."""
    return [
        {
            "verb": pair.verb,
            "prompt": pair.prompt,
            "expected": f"{pair.english} / {pair.spanish}" if pair.spanish else pair.english,
            "answer": answer,
        }
        for pair, answer in zip(pairs, answers, strict=True)
    ]


# --- one setting, all its seeds -----------------------------------------------------------------


def evaluate_rank(
    base_path: str | Path,
    adapters: Mapping[int, str | Path],
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[TokenizedPair]],
    base_metrics: Mapping[str, Any],
    rank: int | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """:func:`evaluate_model` for the adapter of each seed, with what it did to the base.

    Args:
        adapters: The adapter file of each seed; all of one rank.
        base_metrics: What :func:`evaluate_model` says of the base.
        rank: The rank that the adapters must have; ``None`` takes that of the first.

    Raises:
        UserError: An adapter does not belong to the base, or is of another rank or seed.
        AssertionError: A base weight inside a tuned model differs from the checkpoint's.
    """
    base = load_base(base_path)
    sha256 = weights_sha256(base.state_dict())
    tuned = (
        (seed, load_adapter(path, deepcopy(base), sha256, rank=rank, seed=seed))
        for seed, path in adapters.items()
    )
    runs, items, model = _evaluate_seeds(
        tuned, base_state_dict, base.state_dict(), tokenizer, splits, base_metrics
    )
    for run in runs:
        assert run["base_sha256"]["after"] == sha256, f"seed {run['seed']}: the base was changed"
    layer = next(layer for _, layer in lora_layers(model))
    return {
        "rank": layer.r,
        "scaling": layer.scaling,
        "trained_parameters": adapter_parameter_count(model),
        **_file_size(base_path, adapters.values()),
        "runs": runs,
    }, items


def evaluate_full(
    base_path: str | Path,
    models: Mapping[int, str | Path],
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[TokenizedPair]],
    base_metrics: Mapping[str, Any],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """:func:`evaluate_model` for the fully tuned model of each seed; no rank, no scaling.

    Args:
        models: The checkpoint of each seed.
        base_metrics: What :func:`evaluate_model` says of the base.

    Raises:
        UserError: A checkpoint is damaged.
    """
    base = load_base(base_path).state_dict()
    tuned = ((seed, load_base(path)) for seed, path in models.items())
    runs, items, model = _evaluate_seeds(
        tuned, MiniGPT.state_dict, base, tokenizer, splits, base_metrics
    )
    return {
        "rank": None,
        "scaling": None,
        "trained_parameters": sum(p.numel() for p in model.parameters()),
        **_file_size(base_path, models.values()),
        "runs": runs,
    }, items


def _evaluate_seeds(
    tuned: Iterable[tuple[int, MiniGPT]],
    weights_of: Callable[[MiniGPT], Mapping[str, Tensor]],
    base: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    splits: Mapping[str, Sequence[TokenizedPair]],
    base_metrics: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], MiniGPT]:
    """The metrics and the items of every seed's model, and the last model.

    Args:
        weights_of: Gives the weights of a tuned model that the base has too.
    """
    pad_id = special_id(tokenizer, PAD)
    before = weights_sha256(base)
    asked = {name: Questions.of(pairs, pad_id) for name, pairs in splits.items()}
    layers: list[str] | None = None
    runs, items = [], []
    for seed, model in tuned:
        if layers != (layers := [name for name, _ in lora_layers(model)]):
            asked = {name: own.keep_frozen_part(model) for name, own in asked.items()}
        metrics, rows = evaluate_model(model, tokenizer, asked)
        for split in ("control", "test"):
            after, base_perplexity = (
                found[split]["perplexity"] for found in (metrics, base_metrics)
            )
            metrics[split]["drift"] = {
                kind: drift(after[kind], base_perplexity[kind]) for kind in after
            }
        weights = weights_of(model)
        metrics["seed"] = seed
        metrics["base_max_abs_diff"] = max_abs_difference(weights, base)
        metrics["base_sha256"] = {"before": before, "after": weights_sha256(weights)}
        metrics["scale_audit"] = scale_audit(model)
        runs.append(metrics)
        items += [{"seed": seed, **row} for row in rows]
    return runs, items, model


def _file_size(base_path: str | Path, files: Iterable[str | Path]) -> dict[str, Any]:
    """What is stored for one seed: the largest file, and its size to the base's."""
    file_bytes = max(Path(path).stat().st_size for path in files)
    return {"file_bytes": file_bytes, "size_ratio": file_bytes / Path(base_path).stat().st_size}
