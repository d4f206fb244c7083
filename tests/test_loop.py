"""Losses by hand; the loop's schedule, its log, and its stop at a loss that is not finite."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from models import PAD_ID, Bigram, reference_logits

from minituner.batches import Example, Loader, completion_examples, pad
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.loop import (
    LogRow,
    mean_loss,
    perplexity,
    token_losses,
    train_loop,
    train_step,
    write_log,
)
from minituner.model import MiniGPT
from minituner.storage.tensors import weights_sha256


@torch.no_grad()
def test_token_losses_are_minus_log_softmax_of_the_scored_tokens(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    losses = token_losses(base.double(), pad(completion_examples(pairs), PAD_ID))
    expected = []
    for pair in pairs:
        text = pair.prompt_ids + pair.target_ids
        logits = reference_logits(base, torch.tensor([text]))[0]
        for t in range(len(pair.prompt_ids), len(text)):
            before = logits[t - 1]
            expected.append(math.log(before.exp().sum()) - before[text[t]].item())
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)


def test_train_step_moves_against_the_gradient_of_the_mean_loss(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    base.double()
    batch = pad(completion_examples(pairs), PAD_ID)
    before = copy.deepcopy(base)
    expected = token_losses(before, batch).mean()
    expected.backward()
    loss = train_step(base, batch, torch.optim.SGD(base.parameters(), lr=0.5))
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    for old, new in zip(before.parameters(), base.parameters(), strict=True):
        assert old.grad is not None and new.grad is None
        torch.testing.assert_close(new, old - 0.5 * old.grad, rtol=1e-9, atol=1e-9)


def test_mean_loss_weighs_every_token_the_same(bigram: Callable[..., Bigram]) -> None:
    model = bigram({(0, 0): 1 / 2, (1, 0): 1 / 10})
    loader = Loader([Example([0, 0, 0, 0, 0], 1), Example([1, 0], 1)], 1, PAD_ID)
    for training in (True, False):
        model.train(training)
        assert mean_loss(model, loader) == pytest.approx((4 * math.log(2) + math.log(10)) / 5)
        assert model.training is training
    assert model.modes == [False] * 4


def test_perplexity_is_exp_and_infinite_rather_than_an_error() -> None:
    assert perplexity(math.log(7)) == pytest.approx(7)
    assert perplexity(1e4) == math.inf


def test_write_log_leaves_empty_what_was_not_measured(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", [LogRow(0, None, 2.5, 7.0), LogRow(1, 1 / 3)])
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "step,train_loss,val_loss,control_perplexity",
        "0,,2.500000,7.000000",
        "1,0.333333,,",
    ]


def logged(step: int, train_loss: float | None) -> LogRow:
    return LogRow(step, train_loss)


def test_train_loop_takes_each_learning_rate_from_its_schedule(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    steps, seen = [], []

    def schedule(step: int) -> float:
        steps.append(step)
        return 1e-3 if step == 2 else 0.0

    def evaluate_at(step: int, train_loss: float | None) -> LogRow:
        seen.append(weights_sha256(base.state_dict()))
        return LogRow(step, train_loss)

    batches = [pad(completion_examples(pairs), PAD_ID)] * 4
    optimizer = torch.optim.AdamW(base.parameters(), 1.0, fused=True)
    train_loop(base, batches, optimizer, evaluate_at, 4, None, lr_at=schedule)
    assert steps == [0, 1, 2, 3]
    assert [a == b for a, b in pairwise(seen)] == [True, True, False, True]


def test_train_loop_logs_before_the_first_step_and_after_each(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    batches = [pad(completion_examples(pairs[i : i + 2]), PAD_ID) for i in range(3)]
    lengths: list[int] = []
    log = train_loop(
        base, batches, torch.optim.SGD(base.parameters(), lr=0.0), logged, 3, None,
        after_step=lambda log: lengths.append(len(log)),
    )  # fmt: skip
    assert [row.step for row in log] == [0, 1, 2, 3]
    assert log[0].train_loss is None
    expected = [mean_loss(base, [batch]) for batch in batches]
    assert [row.train_loss for row in log[1:]] == pytest.approx(expected)
    assert lengths == [2, 3, 4]
    assert not base.training


def test_train_loop_resumes_after_the_last_logged_step(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    batches = [pad(completion_examples(pairs[i : i + 2]), PAD_ID) for i in range(5)]
    whole, parts = copy.deepcopy(base), copy.deepcopy(base)
    log = train_loop(whole, batches, torch.optim.SGD(whole.parameters(), 0.1), logged, 5, None)
    optimizer = torch.optim.SGD(parts.parameters(), 0.1)
    first = train_loop(parts, batches[:2], optimizer, logged, 5, None)
    steps: list[int] = []
    resumed = train_loop(
        parts, batches, optimizer, logged, 5, None, log=first,
        lr_at=lambda step: steps.append(step) or 0.1,
    )  # fmt: skip
    assert resumed == log and len(first) == 3, "the log that is given stays as it is"
    assert steps == [2, 3, 4]
    assert weights_sha256(parts.state_dict()) == weights_sha256(whole.state_dict())


@pytest.mark.parametrize("bad", ["train_loss", "val_loss", "control_perplexity"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_train_loop_stops_at_a_value_that_is_not_finite(
    base: MiniGPT, pairs: list[TokenizedPair], bad: str, value: float
) -> None:
    batches = [pad(completion_examples(pairs), PAD_ID)] * 4
    steps: list[int] = []

    def evaluate_at(step: int, train_loss: float | None) -> LogRow:
        steps.append(step)
        return LogRow(step, **{bad: value}) if step == 2 else LogRow(step, train_loss)

    optimizer = torch.optim.SGD(base.parameters(), 0.0)
    with pytest.raises(UserError, match=r"^training step 2 of 4: the loss is no longer finite"):
        train_loop(base, batches, optimizer, evaluate_at, 4, None)
    assert steps == [0, 1, 2]
