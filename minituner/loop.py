"""The training loop that pretraining and fine-tuning share, and its log."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minituner.batches import IGNORE, Batch
from minituner.errors import UserError
from minituner.files import atomic_open
from minituner.model import MiniGPT
from minituner.optim import AdamW
from minituner.progress import progress_bar


@dataclass(frozen=True)
class LogRow:
    """One line of a training log; ``None`` where nothing was measured at that step."""

    step: int
    train_loss: float | None = None  # nats a scored token, of the batch of this step
    val_loss: float | None = None  # nats a scored token
    control_perplexity: float | None = None


def token_losses(model: MiniGPT, batch: Batch) -> Tensor:
    """Cross-entropy in nats of each scored token: (number of scored tokens,).

    Logits are computed only where a token is scored.
    """
    scored = batch.labels != IGNORE
    return F.cross_entropy(
        model.head(model.features(batch.input_ids)[scored]), batch.labels[scored], reduction="none"
    )


@torch.no_grad()
def mean_loss(model: MiniGPT, loader: Iterable[Batch]) -> float:
    """Mean loss in nats over all scored tokens, in ``eval`` mode; the model's mode is kept."""
    was_training = model.training
    model.eval()
    losses = [token_losses(model, batch).double() for batch in loader]
    model.train(was_training)
    return float(torch.cat(losses).mean())


def run_steps(
    model: MiniGPT,
    batches: Iterable[Batch],
    optimizer: AdamW,
    measure: Callable[[int, float | None], LogRow],
    total_steps: int,
    title: str | None,
    learning_rate: Callable[[int], float] | None = None,
) -> list[LogRow]:
    """One optimizer step a batch, with a log row before the first and after each.

    Raises:
        UserError: The loss of a step is not finite.
    """
    log = [measure(0, None)]
    model.train()
    with progress_bar(total_steps, title) as bar:
        for step, batch in enumerate(batches, start=1):
            if learning_rate is not None:
                optimizer.learning_rate = learning_rate(step - 1)
            loss = token_losses(model, batch).mean()
            if not math.isfinite(loss.item()):
                raise UserError(
                    f"training step {step} of {total_steps}",
                    "the loss is no longer finite",
                    found=loss.item(),
                    expected="a finite number of nats",
                    mend="lower the learning rate in config.yaml, or check the base's weights",
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            log.append(measure(step, loss.item()))
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
    optimizer.zero_grad()
    model.eval()
    return log


def write_log(path: str | Path, log: Sequence[LogRow]) -> None:
    """Write a log as CSV, empty where nothing was measured."""
    with atomic_open(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(LogRow.__annotations__)
        for row in log:
            writer.writerow(
                [row.step, *map(_number, (row.train_loss, row.val_loss, row.control_perplexity))]
            )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
