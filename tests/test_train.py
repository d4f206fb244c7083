"""Fine-tuning: its bytes, its log, what it leaves alone, what it optimizes, and what it refuses."""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from models import PAD_ID, bytes_of
from torch import Tensor

from minituner.adapter_tensors import base_state_dict, named_lora_parameters
from minituner.batches import Loader, completion_examples, text_examples
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.loop import LogRow, token_losses, train_step
from minituner.lora import merge_, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.seeding import generator
from minituner.storage.adapter import load_adapter
from minituner.storage.files import sha256
from minituner.storage.tensors import weights_sha256
from minituner.train import LoRATrainConfig, fine_tune_full, fine_tune_lora, lora_optimizer


def tune(
    base: MiniGPT, pairs: Sequence[TokenizedPair], out_dir: Path, seed: int = 0, **options: Any
) -> tuple[MiniGPT, list[LogRow]]:
    """Fine-tune a wrapped copy of ``base`` on ``pairs``, four per batch: two steps per pass."""
    model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, seed=seed)
    config = LoRATrainConfig(**{"learning_rate": 1e-2, "batch_size": 4, "seed": seed, **options})
    loader = Loader(
        completion_examples(pairs), config.batch_size, PAD_ID, generator(seed, "batches")
    )
    val_loader = Loader(completion_examples(pairs[:2]), 2, PAD_ID)
    control = text_examples([pair.prompt_ids + pair.target_ids for pair in pairs[4:]])
    log = fine_tune_lora(
        model, loader, val_loader, config, out_dir, Loader(control, 2, PAD_ID), show_progress=False
    )
    return model, log


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "train_log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_fine_tune_lora_writes_the_same_bytes_for_a_seed(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    for folder, seed in (("one", 0), ("two", 0), ("other", 1)):
        tune(base, pairs, tmp_path / folder, seed)
        torch.rand(3)  # torch's own stream plays no part
    for file in ("adapter_final.pt", "adapter_final.safetensors", "train_log.csv"):
        one, two, other = (sha256(tmp_path / x / file) for x in ("one", "two", "other"))
        assert one == two != other
    assert {path.name for path in (tmp_path / "one").iterdir()} == {
        "adapter_final.pt",
        "adapter_final.safetensors",
        "train_log.csv",
    }


def test_fine_tune_lora_leaves_the_base_byte_for_byte(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    model, _ = tune(base, pairs, tmp_path)
    assert weights_sha256(base_state_dict(model)) == weights_sha256(base.state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_saved_adapter_is_the_trained_model(
    base: MiniGPT, pairs: list[TokenizedPair], ids: Tensor, tmp_path: Path
) -> None:
    model, _ = tune(base, pairs, tmp_path)
    for kind in ("pt", "safetensors"):
        loaded = load_adapter(tmp_path / f"adapter_final.{kind}", copy.deepcopy(base))
        assert torch.equal(loaded(ids), model(ids))
        assert not torch.equal(loaded(ids), base(ids))


def test_adapters_learn_a_few_pairs_by_heart(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    _, log = tune(base, pairs, tmp_path, epochs=40, learning_rate=3e-2)
    losses = [row.train_loss for row in log[1:] if row.train_loss is not None]
    assert len(losses) == 80
    assert max(losses[-4:]) < 0.4 * min(losses[:2])
    assert log[0].val_loss is not None and log[-1].val_loss is not None
    assert log[-1].val_loss < 0.4 * log[0].val_loss


def test_log_measures_at_the_start_every_interval_and_the_end(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    _, log = tune(base, pairs, tmp_path, epochs=4, validate_every=3, control_every=5)
    rows = read_log(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(9))
    assert [int(row["step"]) for row in rows if row["train_loss"]] == list(range(1, 9))
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [0, 3, 6, 8]
    assert [int(row["step"]) for row in rows if row["control_perplexity"]] == [0, 5, 8]
    assert [row.step for row in log] == list(range(9))


def test_log_starts_with_the_base_and_ends_with_the_tuned_model(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    model, _ = tune(base, pairs, tmp_path)
    rows = read_log(tmp_path)
    for row, measured in ((rows[0], base), (rows[-1], model)):
        answers, whole = [], []
        for pair in pairs:
            text = torch.tensor([pair.prompt_ids + pair.target_ids])
            logs = measured(text[:, :-1])[0].log_softmax(-1)
            losses = -logs.gather(1, text[0, 1:, None])[:, 0]
            answers.append(losses[-len(pair.target_ids) :])
            whole.append(losses)
        val_loss = torch.cat(answers[:2]).mean().item()  # of the answers alone
        perplexity = math.exp(torch.cat(whole[4:]).mean().item())  # of every token
        assert float(row["val_loss"]) == pytest.approx(val_loss, rel=1e-4)
        assert float(row["control_perplexity"]) == pytest.approx(perplexity, rel=1e-4)
    assert rows[0]["val_loss"] != rows[-1]["val_loss"]


def test_measuring_does_not_change_the_training(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    tune(base, pairs, tmp_path / "often", validate_every=1, control_every=1)
    tune(base, pairs, tmp_path / "seldom", validate_every=99, control_every=99)
    often, seldom = (sha256(tmp_path / x / "adapter_final.pt") for x in ("often", "seldom"))
    assert often == seldom


def test_dropout_acts_in_training_after_a_measurement_too(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    logs = []
    for dropout in (0.0, 0.5):
        model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, dropout=dropout, seed=0).eval()
        loader = Loader(completion_examples(pairs), 6, PAD_ID)
        config = LoRATrainConfig(learning_rate=1e-2, validate_every=1)
        log = fine_tune_lora(model, loader, loader, config, tmp_path, show_progress=False)
        logs.append([row.train_loss for row in log])
    assert logs[0][1] == logs[1][1]  # B is zero in the first step
    assert logs[0][2] != logs[1][2] and logs[0][3] != logs[1][3]


# --- the optimizer ------------------------------------------------------------------------------


def test_lora_optimizer_holds_every_adapter_tensor_and_no_other(base: MiniGPT) -> None:
    for use_dora in (False, True):
        model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, seed=0, use_dora=use_dora)
        config = LoRATrainConfig(learning_rate=2e-3, loraplus_lr_ratio=8.0, weight_decay=0.3)
        groups = lora_optimizer(model, config).param_groups
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        parameters = named_lora_parameters(model)
        assert rates == {
            id(p): 8 * 2e-3 if name.endswith("lora_B") else 2e-3 for name, p in parameters.items()
        }
        assert sum(len(group["params"]) for group in groups) == len(parameters)
        assert {group["weight_decay"] for group in groups} == {0.3}


def test_lora_optimizer_takes_the_step_of_adamws_paper(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    """Loshchilov and Hutter 2019, algorithm 2, with B's rate four times as high."""
    model = wrap_minigpt_with_lora(base.double(), 4, dropout=0.0, seed=0)
    config = LoRATrainConfig(learning_rate=1e-2, loraplus_lr_ratio=4.0, weight_decay=0.1)
    optimizer = lora_optimizer(model, config)
    (batch,) = Loader(completion_examples(pairs), 6, PAD_ID)
    frozen = bytes_of(base_state_dict(model))
    expected = {n: (p.detach().clone(), 0.0, 0.0) for n, p in named_lora_parameters(model).items()}
    for step in (1, 2, 3):
        token_losses(model, batch).mean().backward()
        for name, parameter in named_lora_parameters(model).items():
            weight, mean, square = expected[name]
            gradient = parameter.grad
            assert gradient is not None
            lr = 4e-2 if name.endswith("lora_B") else 1e-2
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            unbiased_mean, unbiased_square = mean / (1 - 0.9**step), square / (1 - 0.999**step)
            weight = (
                weight - lr * 0.1 * weight - lr * unbiased_mean / (unbiased_square.sqrt() + 1e-8)
            )
            expected[name] = weight, mean, square
        optimizer.zero_grad()
        train_step(model, batch, optimizer)
    for name, parameter in named_lora_parameters(model).items():
        torch.testing.assert_close(parameter.detach(), expected[name][0], rtol=1e-7, atol=1e-9)
    assert bytes_of(base_state_dict(model)) == frozen


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("merged", [False, True])
def test_fine_tune_lora_refuses_a_model_without_adapters_to_train(
    base: MiniGPT, tuned: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path, merged: bool
) -> None:
    if merged:
        merge_(tuned)
    loader = Loader(completion_examples(pairs), 4, PAD_ID)
    with pytest.raises(UserError, match="merged into the base" if merged else "has no adapters"):
        fine_tune_lora(tuned if merged else base, loader, loader, LoRATrainConfig(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("merged", [False, True])
def test_fine_tune_full_refuses_a_model_with_adapters_before_it_trains(
    tuned: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path, merged: bool
) -> None:
    if merged:
        merge_(tuned)
    before = bytes_of(tuned.state_dict())
    loader = Loader(completion_examples(pairs), 4, PAD_ID)
    with pytest.raises(UserError, match=r"^model: is not fine-tuned: the model has adapters"):
        fine_tune_full(tuned, loader, loader, LoRATrainConfig(), tmp_path)
    assert not list(tmp_path.iterdir())
    assert bytes_of(tuned.state_dict()) == before
    trained = {name for name, p in tuned.named_parameters() if p.requires_grad}
    assert trained == set(named_lora_parameters(tuned))


def test_loss_that_is_not_finite_stops_and_writes_nothing(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    with torch.no_grad():
        base.ln_f.bias[0] = math.nan
    with pytest.raises(UserError, match=r"^training step 1 of 6: the loss is no longer finite"):
        tune(base, pairs, tmp_path)
    assert not list(tmp_path.iterdir())


def test_diverging_training_stops_at_the_next_step(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"^training step [23] of 6: the loss is no longer finite"):
        tune(base, pairs, tmp_path, learning_rate=1e30)
    assert not list(tmp_path.iterdir())


def test_training_that_diverges_in_its_last_step_writes_nothing(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no longer finite"):
        tune(base, pairs, tmp_path, batch_size=6, epochs=1, learning_rate=1e30)
    assert not list(tmp_path.iterdir())
