"""Pretraining of the base on its own corpus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from minituner.batches import Batch, Loader, text_examples
from minituner.data.corpus import read_rows
from minituner.data.rows import Row, base_text
from minituner.data.verbs import PAST_TENSES, load_verbs
from minituner.errors import Mistakes, UserError
from minituner.fast.minigpt import new_minigpt
from minituner.loop import LogRow, mean_loss, train_loop, write_log
from minituner.model import MiniGPT, MiniGPTConfig, init_weights, parameter_count
from minituner.pipeline.source_closure import import_closure
from minituner.seeding import generator
from minituner.storage.checkpoint import save_base
from minituner.storage.files import sha256, write_json
from minituner.storage.training_checkpoint import BestWeights, TrainingCheckpoint, fingerprint
from minituner.tokenizer import TextTokenizer, load_tokenizer

if TYPE_CHECKING:
    from minituner.results import CorpusCounts, ModelShape, PretrainingSummary


@dataclass(frozen=True)
class PretrainConfig:
    """The hyperparameters of pretraining."""

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 20
    validation_share: float = 0.05
    validate_every: int = 25  # steps
    save_every: int = 200  # steps; a killed run resumes from the last saved state
    seed: int = 0


def pretrain(
    texts: Sequence[list[int]],
    model_config: MiniGPTConfig,
    config: PretrainConfig,
    pad_id: int,
    state_path: str | Path | None = None,
) -> tuple[MiniGPT, list[LogRow]]:
    """Train a base from scratch on ``texts``, every token scored.

    A seeded share of the texts is held out for validation. The returned model, in ``eval`` mode,
    has the weights with the lowest validation loss.

    Args:
        state_path: Where the state of the run is saved every ``config.save_every`` steps, until the
            end. A run that finds its own state there resumes from it, to the same bytes.
    """
    model = new_minigpt(model_config)
    init_weights(model, generator(config.seed, "base init"))
    train_loader, val_batches = make_loaders(texts, config, pad_id)
    lr, weight_decay = config.learning_rate, config.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay, fused=True)
    total_steps = config.epochs * len(train_loader)
    best = BestWeights()
    state = TrainingCheckpoint(state_path, run_fingerprint(texts, model_config, config))

    def evaluate_at(step: int, train_loss: float | None) -> LogRow:
        if step != total_steps and step % config.validate_every:
            return LogRow(step, train_loss)
        val_loss = mean_loss(model, val_batches)
        best.update(val_loss, model)
        return LogRow(step, train_loss, val_loss)

    def save(log: Sequence[LogRow]) -> None:
        if log[-1].step % config.save_every == 0:
            state.save(model, optimizer, best, log)

    log = train_loop(
        model,
        (batch for _ in range(config.epochs) for batch in train_loader),
        optimizer,
        evaluate_at,
        total_steps,
        "pretrain the base",
        lr_at=lambda step: cosine_lr(step, total_steps, lr, config.warmup_steps),
        log=state.restore(model, optimizer, best),
        after_step=save,
    )
    state.remove()
    model.load_state_dict(best.weights)
    return model, log


def run_fingerprint(
    texts: Sequence[list[int]], model_config: MiniGPTConfig, config: PretrainConfig
) -> str:
    """A hash of everything that a run depends on: its texts, its settings and its code."""
    root = Path(__file__).parent.parent
    code = {file: sha256(root / file) for file in import_closure("minituner/pretrain.py", root)}
    return fingerprint(texts, asdict(model_config), asdict(config), code)


def cosine_lr(step: int, total_steps: int, peak: float, warmup_steps: int) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to a tenth of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def make_loaders(
    texts: Sequence[list[int]], config: PretrainConfig, pad_id: int
) -> tuple[Loader, list[Batch]]:
    """The training texts in seeded order, and the held-out texts in batches."""
    train_texts, val_texts = hold_out(texts, config)
    order = generator(config.seed, "base batches")
    train_loader = Loader(text_examples(train_texts), config.batch_size, pad_id, order)
    return train_loader, list(Loader(text_examples(val_texts), 4 * config.batch_size, pad_id))


def hold_out(
    texts: Sequence[list[int]], config: PretrainConfig
) -> tuple[list[list[int]], list[list[int]]]:
    """Training and validation texts: a seeded share is held out. It is sorted, so that common
    prefixes are in one batch and ``fast`` computes them once."""
    order = torch.randperm(len(texts), generator=generator(config.seed, "held out")).tolist()
    count = max(1, round(config.validation_share * len(texts)))
    held_out, rest = order[:count], order[count:]
    return [texts[i] for i in rest], sorted(texts[i] for i in held_out)


def pretrain_on_rows(
    rows: Sequence[Row],
    tokenizer: TextTokenizer,
    shape: Mapping[str, int],
    config: PretrainConfig,
    state_path: str | Path | None = None,
) -> tuple[MiniGPT, list[LogRow], PretrainingSummary]:
    """:func:`pretrain` on a corpus, with a summary of the corpus and of the training.

    Args:
        shape: The fields of MiniGPTConfig except ``vocab_size``, which is the tokenizer's.
    """
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    texts = [[bos, *tokenizer.encode(base_text(row)), eos] for row in rows]
    model_config = MiniGPTConfig(vocab_size=tokenizer.vocab_size, **shape)
    check_lengths(rows, texts, model_config.context_length)
    model, log = pretrain(texts, model_config, config, tokenizer.pad_id, state_path)
    best_val_loss, best_step = min(
        (row.val_loss, row.step) for row in log if row.val_loss is not None
    )
    return (
        model,
        log,
        {
            "corpus": describe_corpus(rows),
            "tokens": sum(map(len, texts)),
            "vocabulary": model_config.vocab_size,
            "parameters": parameter_count(model_config),
            "shape": cast("ModelShape", asdict(model_config)),
            "steps": log[-1].step,
            "best_step": best_step,
            "best_val_loss": best_val_loss,
        },
    )


def check_lengths(rows: Sequence[Row], texts: Sequence[list[int]], context_length: int) -> None:
    """Refuse sentences that are longer than the model's context.

    Raises:
        UserError: There are any; the message names them all.
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


def describe_corpus(rows: Sequence[Row]) -> CorpusCounts:
    """Sizes of a base corpus, and the share of irregular past forms that are over-regularized."""
    past = [
        row for row in rows if row.english_regularity == "irregular" and row.tense in PAST_TENSES
    ]
    wrong = sum(not row.is_correct for row in past)
    return {
        "sentences": len(rows),
        "fill_in": sum(row.is_fill_in for row in rows),
        "irregular_past_forms": len(past),
        "over_regularized": wrong,
        "over_regularized_share": wrong / len(past) if past else 0.0,
    }


def pretrain_base(
    inputs: Mapping[str, Any], base: Mapping[str, Any], seed: int, outputs: Mapping[str, Any]
) -> None:
    """Pretrain a base from its input files; write it, its log and its summary.

    Args:
        inputs: The files ``corpus`` (a list), ``verbs`` and ``tokenizer``.
        base: The config's sections ``model`` and ``pretrain``.
        outputs: The files ``base``, ``log`` and ``summary``.
    """
    rows = read_rows(inputs["corpus"], load_verbs(inputs["verbs"]))
    tokenizer = load_tokenizer(inputs["tokenizer"])
    config = PretrainConfig(**base["pretrain"] | {"seed": seed})
    state_path = Path(outputs["base"]).with_name("pretraining_state.pt")
    model, log, summary = pretrain_on_rows(rows, tokenizer, base["model"], config, state_path)
    save_base(outputs["base"], model, inputs["tokenizer"])
    write_log(outputs["log"], log)
    write_json(outputs["summary"], summary)
