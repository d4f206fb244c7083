"""The training loop that pretraining and fine-tuning share, and its log."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minituner.batches import Batch
from minituner.causal_lm import CausalLM
from minituner.errors import UserError
from minituner.pipeline.progress import progress_bar
from minituner.storage.files import atomic_open


@dataclass(frozen=True)
class LogRow:
    """One line of a training log; ``None`` where nothing was measured at that step."""

    step: int
    train_loss: float | None = None  # nats per scored token, of the batch of this step
    val_loss: float | None = None  # nats per scored token
    control_perplexity: float | None = None


def token_losses(model: CausalLM, batch: Batch) -> Tensor:
    """Cross-entropy in nats of each scored token: (number of scored tokens,)"""
    logits = model.scored_logits(batch)
    return F.cross_entropy(logits, batch.labels[batch.scored], reduction="none")


def train_step(model: CausalLM, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """One optimizer step on one batch; returns the mean loss in nats before the update.

    A batch above the model's limit of tokens is computed in parts. Each part's losses are divided
    by the number of scored tokens in the whole batch, so the gradients add up to the batch's.
    Dropout draws its masks part by part: the same seed drops other inputs if the limit changes.
    """
    scored = int(batch.scored.sum())
    mean = 0.0
    for part in model.parts(batch):
        loss = token_losses(model, part).sum() / scored
        loss.backward()
        mean += loss.item()
    optimizer.step()
    optimizer.zero_grad()
    return mean


def train_loop(
    model: CausalLM,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    evaluate_at: Callable[[int, float | None], LogRow],
    total_steps: int,
    title: str | None,
    *,
    lr_at: Callable[[int], float] | None = None,
    log: Sequence[LogRow] = (),
    after_step: Callable[[Sequence[LogRow]], None] | None = None,
) -> list[LogRow]:
    """One optimizer step per batch, with a log row before the first and after each.

    Args:
        batches: All batches of the run, including those of the steps already taken.
        evaluate_at: Makes a step's log row from its number and its training loss.
        title: The progress bar's title; ``None`` shows none.
        lr_at: The learning rate of each step, counted from 0; the optimizer's own by default.
        log: The log of the steps already taken, for a run that resumes.
        after_step: Called with the log so far.

    Raises:
        UserError: A loss is no longer finite.
    """
    log = list(log) or [evaluate_at(0, None)]
    model.train()
    with progress_bar(total_steps, title, initial=log[-1].step) as bar:
        for batch in islice(batches, log[-1].step, None):
            step = log[-1].step + 1
            if lr_at is not None:
                set_lr(optimizer, lr_at(step - 1))
            loss = train_step(model, batch, optimizer)
            log.append(evaluate_at(step, loss))
            check_finite(log[-1], total_steps)
            if after_step is not None:
                after_step(log)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
    model.eval()
    return log


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def check_finite(row: LogRow, total_steps: int) -> None:
    """Stop at the first loss that is NaN or infinite.

    Raises:
        UserError: One is; the message names the step.
    """
    for value in (row.train_loss, row.val_loss, row.control_perplexity):
        if value is not None and not math.isfinite(value):
            raise UserError(
                f"training step {row.step} of {total_steps}",
                "the loss is no longer finite",
                found=value,
                expected="a finite number of nats",
                fix="lower the learning rate, or check the base's weights",
            )


@torch.no_grad()
def mean_loss(model: CausalLM, batches: Iterable[Batch]) -> float:
    """Mean loss in nats over all scored tokens, in ``eval`` mode; the model's mode is kept."""
    was_training = model.training
    model.eval()
    losses = [
        token_losses(model, part).cpu().double() for batch in batches for part in model.parts(batch)
    ]
    model.train(was_training)
    return float(torch.cat(losses).mean())


def perplexity(loss: float) -> float:
    """exp of a mean loss in nats; infinite where a float cannot hold it."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def write_log(path: str | Path, log: Sequence[LogRow]) -> None:
    """Write a log as CSV, empty where nothing was measured."""

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.6f}"

    with atomic_open(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LogRow.__annotations__)
        for row in log:
            values = (row.train_loss, row.val_loss, row.control_perplexity)
            writer.writerow([row.step, *map(cell, values)])
