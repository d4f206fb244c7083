"""Pretraining of the base on its own corpus."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from minituner.data.batches import Loader, text_examples
from minituner.data.corpus import Row
from minituner.data.prompts import base_text
from minituner.errors import Mistakes, UserError
from minituner.fast.optim import AdamW, cosine_learning_rate
from minituner.loop import LogRow, mean_loss, run_steps
from minituner.model import MiniGPT, MiniGPTConfig, init_weights, parameter_count
from minituner.seeding import generator
from minituner.storage.tensors import load_tensors, save_tensors
from minituner.tokenizer import BOS, EOS, PAD, encode, special_id

STATE_FORMAT = "minituner-pretraining-1"


@dataclass(frozen=True)
class PretrainConfig:
    """How the base is trained."""

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 20
    validation_share: float = 0.05
    validate_every: int = 25  # steps
    save_every: int = 200  # steps, the state that a killed run goes on from
    seed: int = 0


def pretrain(
    texts: Sequence[list[int]],
    model_config: MiniGPTConfig,
    config: PretrainConfig,
    pad_id: int,
    state_path: str | Path | None = None,
) -> tuple[MiniGPT, list[LogRow]]:
    """Train a base from scratch on ``texts``, every token scored.

    A seeded share of the texts is held out; the weights with the lowest loss on it are kept.

    Args:
        state_path: Where the state of the run is saved every ``config.save_every`` steps. A run
            that finds its own state there goes on from it, to the same bytes; it is removed at the
            end.

    Returns:
        The best model, in ``eval`` mode, and the log.
    """
    model = MiniGPT(model_config)
    init_weights(model, generator(config.seed, "base init"))
    train_texts, val_texts = hold_out(texts, config)
    order = generator(config.seed, "base batches")
    train_loader = Loader(text_examples(train_texts), config.batch_size, pad_id, order)
    val_loader = Loader(text_examples(val_texts), 4 * config.batch_size, pad_id, share=True)
    optimizer = AdamW(list(model.parameters()), config.learning_rate, config.weight_decay)
    total_steps = config.epochs * len(train_loader)
    best = BestWeights()
    state = SavedState(state_path, fingerprint(texts, model_config, config))

    def measure(step: int, train_loss: float | None) -> LogRow:
        if step != total_steps and step % config.validate_every:
            return LogRow(step, train_loss)
        val_loss = mean_loss(model, val_loader)
        best.offer(val_loss, model)
        return LogRow(step, train_loss, val_loss)

    def save(log: Sequence[LogRow]) -> None:
        if log[-1].step % config.save_every == 0:
            state.save(model, optimizer, best, log)

    log = run_steps(
        model,
        (batch for _ in range(config.epochs) for batch in train_loader),
        optimizer,
        measure,
        total_steps,
        "pretrain the base",
        learning_rate=lambda step: cosine_learning_rate(
            step, total_steps, config.learning_rate, config.warmup_steps
        ),
        log=state.restore(model, optimizer, best),
        after_step=save,
    )
    state.remove()
    model.load_state_dict(best.weights)
    return model, log


def hold_out(
    texts: Sequence[list[int]], config: PretrainConfig
) -> tuple[list[list[int]], list[list[int]]]:
    """A seeded share for validation (sorted: those that begin alike together), the rest for
    training."""
    order = torch.randperm(len(texts), generator=generator(config.seed, "held out")).tolist()
    count = max(1, round(config.validation_share * len(texts)))
    held_out, rest = order[:count], order[count:]
    return [texts[i] for i in rest], sorted(texts[i] for i in held_out)


class BestWeights:
    """Keeps a copy of the weights with the lowest validation loss so far."""

    def __init__(self) -> None:
        self.val_loss = math.inf
        self.weights: dict[str, Tensor] = {}

    def offer(self, val_loss: float, model: MiniGPT) -> None:
        """Keep the model's weights if ``val_loss`` is lower than all before."""
        if val_loss < self.val_loss:
            self.val_loss = val_loss
            self.weights = {name: t.clone() for name, t in model.state_dict().items()}


class SavedState:
    """The state of a pretraining run on disk: weights, optimizer, best weights and log.

    The order of the batches follows from the seed, so the number of steps taken says where in the
    data the run stands. A state of another run (other texts, shape or settings) or a damaged one
    is not used.
    """

    def __init__(self, path: str | Path | None, fingerprint: str) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = fingerprint

    def save(
        self, model: MiniGPT, optimizer: AdamW, best: BestWeights, log: Sequence[LogRow]
    ) -> None:
        """Replace the state by the present one."""
        if self.path is not None:
            save_tensors(
                self.path,
                {
                    "format": STATE_FORMAT,
                    "fingerprint": self.fingerprint,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "best": {"val_loss": best.val_loss, "weights": best.weights},
                    "log": [list(astuple(row)) for row in log],
                },
            )

    def restore(self, model: MiniGPT, optimizer: AdamW, best: BestWeights) -> list[LogRow]:
        """Load the state, if there is one of this run; returns its log, or an empty one."""
        if self.path is None or not self.path.is_file():
            return []
        try:
            state = load_tensors(self.path, STATE_FORMAT)
        except UserError as error:
            print(
                f"the saved state cannot be used, so pretraining starts anew\n{error}",
                file=sys.stderr,
            )
            return []
        if state["fingerprint"] != self.fingerprint:
            return []
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        best.val_loss, best.weights = state["best"]["val_loss"], state["best"]["weights"]
        log = [LogRow(*row) for row in state["log"]]
        print(f"pretraining goes on from step {log[-1].step}", file=sys.stderr)
        return log

    def remove(self) -> None:
        """The run has ended: its state is of no more use."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def fingerprint(
    texts: Sequence[list[int]], model_config: MiniGPTConfig, config: PretrainConfig
) -> str:
    """A hash of all that a pretraining run depends on."""
    settings = [asdict(model_config), asdict(config), torch.get_num_threads(), torch.__version__]
    return hashlib.sha256(json.dumps([settings, texts]).encode()).hexdigest()


def pretrain_on_rows(
    rows: Sequence[Row],
    tokenizer: Tokenizer,
    shape: Mapping[str, int],
    config: PretrainConfig,
    state_path: str | Path | None = None,
) -> tuple[MiniGPT, list[LogRow], dict[str, Any]]:
    """:func:`pretrain` on a corpus, with a summary of the corpus and of the training.

    Args:
        shape: The fields of MiniGPTConfig but the vocabulary's size, which is the tokenizer's.
    """
    bos, eos = special_id(tokenizer, BOS), special_id(tokenizer, EOS)
    texts = [[bos, *encode(tokenizer, base_text(row)), eos] for row in rows]
    model_config = MiniGPTConfig(vocab_size=tokenizer.get_vocab_size(), **shape)
    check_lengths(rows, texts, model_config.context_length)
    model, log = pretrain(texts, model_config, config, special_id(tokenizer, PAD), state_path)
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
        UserError: Naming the rows that do.
    """
    mistakes = Mistakes()
    for row, text in zip(rows, texts, strict=True):
        if len(text) > context_length:
            error = UserError(
                row.place,
                "the sentence is longer than the model's context",
                found=f"{len(text)} tokens: {row.text!r}",
                expected=f"at most {context_length} tokens",
                fix="shorten the sentence, or raise base.model.context_length",
            )
            mistakes.add(error)
    mistakes.raise_if_any()


def describe_corpus(rows: Sequence[Row]) -> dict[str, Any]:
    """Sizes of a base corpus, and the share of irregular past forms that are over-regularized."""
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
