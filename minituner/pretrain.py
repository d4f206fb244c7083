"""Pretraining of the base on its own corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from minituner.batches import Loader, text_examples
from minituner.corpus import Row
from minituner.errors import UserError
from minituner.loop import LogRow, mean_loss, run_steps
from minituner.model import MiniGPT, MiniGPTConfig, init_weights, parameter_count
from minituner.optim import AdamW, cosine_learning_rate
from minituner.prompts import base_text
from minituner.seeding import generator
from minituner.tokenizer import BOS, EOS, PAD, encode, special_id


@dataclass(frozen=True)
class PretrainConfig:
    """How the base is trained."""

    passes: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 20
    validation_share: float = 0.05
    validate_every: int = 25  # steps
    seed: int = 0


def pretrain(
    texts: Sequence[list[int]], model_config: MiniGPTConfig, config: PretrainConfig, pad_id: int
) -> tuple[MiniGPT, list[LogRow]]:
    """Train a base from scratch on ``texts``, every token scored.

    A seeded share of the texts is held out; the weights with the lowest loss on it are kept.

    Returns:
        The best model, in ``eval`` mode, and the log.
    """
    model = MiniGPT(model_config)
    init_weights(model, generator(config.seed, "base init"))
    order = torch.randperm(len(texts), generator=generator(config.seed, "held out")).tolist()
    held_out = max(1, round(config.validation_share * len(texts)))
    val_texts = sorted((texts[i] for i in order[:held_out]), key=len)
    train_texts = [texts[i] for i in order[held_out:]]
    train_loader = Loader(
        text_examples(train_texts),
        config.batch_size,
        pad_id,
        generator(config.seed, "base batches"),
    )
    val_loader = Loader(text_examples(val_texts), 4 * config.batch_size, pad_id)
    total_steps = config.passes * len(train_loader)
    best = BestWeights()

    def measure(step: int, train_loss: float | None) -> LogRow:
        if step != total_steps and step % config.validate_every:
            return LogRow(step, train_loss)
        val_loss = mean_loss(model, val_loader)
        best.offer(val_loss, step, model)
        return LogRow(step, train_loss, val_loss)

    log = run_steps(
        model,
        (batch for _ in range(config.passes) for batch in train_loader),
        AdamW(list(model.parameters()), config.learning_rate, config.weight_decay),
        measure,
        total_steps,
        "pretrain the base",
        lambda step: cosine_learning_rate(
            step, total_steps, config.learning_rate, config.warmup_steps
        ),
    )
    model.load_state_dict(best.weights)
    return model.eval(), log


class BestWeights:
    """Keeps a copy of the weights with the lowest validation loss so far."""

    def __init__(self) -> None:
        self.val_loss = math.inf
        self.step = 0
        self.weights: dict[str, Tensor] = {}

    def offer(self, val_loss: float, step: int, model: MiniGPT) -> None:
        """Keep the model's weights if ``val_loss`` is lower than all before."""
        if val_loss < self.val_loss:
            self.val_loss, self.step = val_loss, step
            self.weights = {name: t.clone() for name, t in model.state_dict().items()}


def pretrain_on_rows(
    rows: Sequence[Row], tokenizer: Tokenizer, shape: Mapping[str, int], config: PretrainConfig
) -> tuple[MiniGPT, list[LogRow], dict[str, Any]]:
    """:func:`pretrain` on a corpus, with a summary of the corpus and of the training.

    Args:
        shape: The fields of MiniGPTConfig but the vocabulary's size, which is the tokenizer's.
    """
    bos, eos = special_id(tokenizer, BOS), special_id(tokenizer, EOS)
    texts = [[bos, *encode(tokenizer, base_text(row)), eos] for row in rows]
    model_config = MiniGPTConfig(vocab_size=tokenizer.get_vocab_size(), **shape)
    check_lengths(rows, texts, model_config.context_length)
    model, log = pretrain(texts, model_config, config, special_id(tokenizer, PAD))
    best = min((row for row in log if row.val_loss is not None), key=lambda row: row.val_loss or 0)
    return (
        model,
        log,
        {
            "corpus": describe_corpus(rows),
            "tokens": sum(map(len, texts)),
            "vocabulary": model_config.vocab_size,
            "parameters": parameter_count(model_config),
            "shape": asdict(model_config),
            "steps": log[-1].step,
            "best_step": best.step,
            "best_val_loss": best.val_loss,
        },
    )


def check_lengths(rows: Sequence[Row], texts: Sequence[list[int]], context_length: int) -> None:
    """No text may exceed the context.

    Raises:
        UserError: Naming the first row that does.
    """
    for row, text in zip(rows, texts, strict=True):
        if len(text) > context_length:
            raise UserError(
                f"{row.path}:{row.line}",
                "the sentence is longer than the model's context",
                found=f"{len(text)} tokens: {row.text!r}",
                expected=f"at most {context_length} tokens",
                mend="shorten the sentence, or raise base.model.context_length in config.yaml",
            )


def describe_corpus(rows: Sequence[Row]) -> dict[str, Any]:
    """Sizes of a base corpus, and the share of irregular past forms that are over-regularised."""
    past = [
        row
        for row in rows
        if row.english_regularity == "irregular" and row.tense in ("past_simple", "past_participle")
    ]
    wrong = sum(not row.is_correct for row in past)
    return {
        "sentences": len(rows),
        "fill_in": sum(row.is_fill_in for row in rows),
        "irregular_past_forms": len(past),
        "over_regularized": wrong,
        "over_regularized_share": wrong / len(past) if past else 0.0,
    }
