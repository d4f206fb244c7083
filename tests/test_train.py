"""The optimizer against torch's, batches and losses by hand, and both trainings' promises."""

from __future__ import annotations

import copy
import csv
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from minituner.fast.optim import AdamW, cosine_learning_rate
from tokenizers import Tokenizer
from torch import Tensor, nn

from minituner.adapter_tensors import base_state_dict, lora_parameters
from minituner.batches import IGNORE_INDEX, Batch, Example, Loader, pad, text_examples
from minituner.data.pairs import TokenizedPair
from minituner.data.rows import COLUMNS, Row
from minituner.errors import UserError
from minituner.loop import LogRow, mean_loss, perplexity, token_losses, train_loop, write_log
from minituner.lora import wrap_minigpt_with_lora
from minituner.model import MiniGPT, MiniGPTConfig, parameter_count
from minituner.pretrain import (
    BestWeights,
    PretrainConfig,
    SavedState,
    describe_corpus,
    pretrain,
    pretrain_on_rows,
)
from minituner.seeding import derive_seed, generator, seed_everything
from minituner.storage.adapter import load_adapter
from minituner.storage.checkpoint import load_base
from minituner.storage.files import sha256
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import PAD, special_id
from minituner.train import (
    LoRATrainConfig,
    completion_examples,
    fine_tune_lora,
    train_adapters,
    train_full,
)

PAD_ID = 2


def test_the_tests_pad_as_the_tokenizer_does(tokenizer: Tokenizer) -> None:
    assert special_id(tokenizer, PAD) == PAD_ID


# --- seeding ------------------------------------------------------------------------------------


def test_derived_seeds_are_the_same_everywhere_and_forever() -> None:
    # `printf 0/dropout | sha256sum`: the first 16 digits, halved.
    assert derive_seed(0, "dropout") == 0xDC566E0B11DBC9BC >> 1
    assert derive_seed(7) == 0x7902699BE42C8A8E >> 1
    assert derive_seed(7, "adapter", "blocks.0.mlp.fc2") == 0x92ECE76B3705DBF8 >> 1


def test_every_name_and_seed_has_its_own_stream() -> None:
    names = ("batches", "dropout", "base init")
    draws = [torch.randint(2**62, (), generator=generator(s, n)) for s in range(3) for n in names]
    assert len({int(draw) for draw in draws}) == 9


def test_seeding_repeats_python_numpy_and_torch() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first, other = draw(1), draw(2)
    assert draw(1) == first
    assert not set(first) & set(other)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


# --- the optimizer ------------------------------------------------------------------------------


def parameters() -> list[nn.Parameter]:
    """Three parameters, always the same: see :func:`give_gradients`."""
    draw = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((7, 5), (5,), (3,))]


def give_gradients(moving: Sequence[nn.Parameter], step: int) -> None:
    """To the first every third step, to the second always, to the last never."""
    draw = torch.Generator().manual_seed(step)
    for i, parameter in enumerate(moving):
        gradient = torch.randn(parameter.shape, generator=draw) * 10.0 ** (step % 5 - 3)
        parameter.grad = gradient if i == 1 or (i == 0 and step % 3 == 1) else None


@pytest.mark.parametrize("weight_decay", [0.0, 0.01, 0.3])
def test_adamw_equals_torchs_bit_for_bit(weight_decay: float) -> None:
    ours, theirs = parameters(), parameters()
    optimizer = AdamW(ours, 1e-2, weight_decay)
    reference = torch.optim.AdamW(theirs, 1e-2, weight_decay=weight_decay, fused=True)
    for step in range(50):
        rate = 1e-2 * (1 - step / 100)
        optimizer.learning_rate = reference.param_groups[0]["lr"] = rate
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    start = parameters()
    assert [torch.equal(a, b) for a, b in zip(ours, start, strict=True)] == [False, False, True]


def test_adamw_does_what_its_paper_says() -> None:
    x, rate, decay, eps = 2.0, 0.1, 0.05, 1e-8
    moving = nn.Parameter(torch.tensor([x]))
    optimizer = AdamW([moving], rate, decay)
    mean = variance = 0.0
    for step, gradient in enumerate((0.5, -2.0, 0.25, 3.0), start=1):
        moving.grad = torch.tensor([gradient])
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        variance = 0.999 * variance + 0.001 * gradient**2
        unbiased_mean, unbiased_variance = mean / (1 - 0.9**step), variance / (1 - 0.999**step)
        x -= rate * (unbiased_mean / (math.sqrt(unbiased_variance) + eps) + decay * x)
        assert moving.item() == pytest.approx(x, rel=1e-6)


def test_a_parameters_rate_ratio_is_that_of_a_group_of_torchs() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = AdamW(ours, 1e-2, rate_ratios=[1.0, 16.0, 1.0])
    reference = torch.optim.AdamW(
        [{"params": theirs[::2], "lr": 1e-2}, {"params": [theirs[1]], "lr": 16e-2}],
        weight_decay=0.01,
        fused=True,
    )
    for step in range(20):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        optimizer.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_resumed_adamw_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    straight, stopped = parameters(), parameters()
    optimizer, first = AdamW(straight, 1e-2), AdamW(stopped, 1e-2)
    for step in range(10):
        give_gradients(straight, step)
        optimizer.step()
    for step in range(4):
        give_gradients(stopped, step)
        first.step()
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    second = AdamW(stopped, 1e-2)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt"))
    for step in range(4, 10):
        give_gradients(stopped, step)
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(straight, stopped, strict=True))


def test_zero_grad_forgets_every_gradient() -> None:
    moving = parameters()
    give_gradients(moving, 0)
    AdamW(moving, 1e-2).zero_grad()
    assert [parameter.grad for parameter in moving] == [None] * 3


def test_adamw_rests_if_there_is_no_gradient_at_all() -> None:
    resting = parameters()
    AdamW(resting, 1e-2).step()
    assert all(torch.equal(a, b) for a, b in zip(resting, parameters(), strict=True))


@pytest.mark.parametrize(
    ("step", "share"),  # ten steps of warm-up, then a hundred of cosine
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (35, 0.55 + 0.45 / 2**0.5), (60, 0.55), (110, 0.1)],
)
def test_the_learning_rate_warms_up_and_falls_to_a_tenth(step: int, share: float) -> None:
    assert cosine_learning_rate(step, 110, 2e-3, 10) == pytest.approx(2e-3 * share)


def test_a_schedule_without_warm_up_starts_at_its_peak() -> None:
    assert cosine_learning_rate(0, 5, 1.0, 0) == pytest.approx(1.0)


# --- batches ------------------------------------------------------------------------------------


def test_labels_are_the_next_tokens_where_they_are_scored() -> None:
    batch = pad([Example([1, 5, 6, 9], 2), Example([1, 7], 1), Example([1, 8, 4], 1)], PAD_ID)
    assert batch.input_ids.tolist() == [[1, 5, 6], [1, PAD_ID, PAD_ID], [1, 8, PAD_ID]]
    assert batch.layout.mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert batch.labels.tolist() == [
        [IGNORE_INDEX, 6, 9],
        [7, IGNORE_INDEX, IGNORE_INDEX],
        [8, 4, IGNORE_INDEX],
    ]


def numbered(n: int) -> list[Example]:
    """Examples that tell which they are by their second token, of several lengths."""
    return [Example([1, 100 + i] + [9] * (i % 3), 1) for i in range(n)]


def seen(loader: Loader) -> list[list[int]]:
    """Which examples stand in each batch of one pass."""
    return [[int(label) - 100 for label in batch.labels[:, 0]] for batch in loader]


def test_without_a_generator_the_loader_keeps_the_order() -> None:
    loader = Loader(numbered(10), 4, PAD_ID)
    assert seen(loader) == seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3


def test_a_pass_covers_every_example_once_in_an_order_of_the_generators() -> None:
    loader = Loader(numbered(10), 4, PAD_ID, generator(0, "batches"))
    first = seen(loader)
    torch.rand(5)  # torch's own stream plays no part
    second = seen(loader)
    for one_pass in (first, second):
        assert [len(batch) for batch in one_pass] == [4, 4, 2]
        assert sorted(i for batch in one_pass for i in batch) == list(range(10))
    assert first != second
    again = Loader(numbered(10), 4, PAD_ID, generator(0, "batches"))
    assert [seen(again), seen(again)] == [first, second]
    assert seen(Loader(numbered(10), 4, PAD_ID, generator(1, "batches"))) != first


def test_only_answers_are_scored_in_fine_tuning(pairs: list[TokenizedPair]) -> None:
    batch = pad(completion_examples(pairs), PAD_ID)
    for pair, input_ids, labels in zip(pairs, batch.input_ids, batch.labels, strict=True):
        text = pair.prompt_ids + pair.target_ids
        assert input_ids.tolist()[: len(text) - 1] == text[:-1]
        prompt, answer = len(pair.prompt_ids) - 1, len(pair.target_ids)
        assert labels[:prompt].tolist() == [IGNORE_INDEX] * prompt
        assert labels[prompt : prompt + answer].tolist() == pair.target_ids
        assert (labels[prompt + answer :] == IGNORE_INDEX).all()


# --- losses -------------------------------------------------------------------------------------


@torch.no_grad()
def test_token_losses_are_minus_log_softmax_of_the_scored_tokens(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    losses = token_losses(base.double(), pad(completion_examples(pairs), PAD_ID))
    expected = []
    for pair in pairs:
        text = pair.prompt_ids + pair.target_ids
        logits = base(torch.tensor([text]))[0]
        for t in range(len(pair.prompt_ids), len(text)):
            before = logits[t - 1]
            expected.append(math.log(before.exp().sum()) - before[text[t]].item())
    assert losses.tolist() == pytest.approx(expected, rel=1e-9)


def test_the_mean_loss_weighs_tokens_alike_over_uneven_batches(bigram: Callable[..., Any]) -> None:
    model = bigram({(0, 0): 1 / 2, (1, 0): 1 / 10})
    loader = Loader([Example([0, 0, 0, 0, 0], 1), Example([1, 0], 1)], 1, PAD_ID)
    for training in (True, False):
        model.train(training)
        assert mean_loss(model, loader) == pytest.approx((4 * math.log(2) + math.log(10)) / 5)
        assert model.training is training
    assert model.modes == [False] * 4


def test_a_perplexity_is_the_exponential_and_infinite_rather_than_an_error() -> None:
    assert perplexity(math.log(7)) == pytest.approx(7)
    assert perplexity(1e4) == math.inf


def test_a_log_is_written_with_empty_cells_where_nothing_was_measured(tmp_path: Path) -> None:
    write_log(tmp_path / "log.csv", [LogRow(0, None, 2.5, 7.0), LogRow(1, 1 / 3)])
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "step,train_loss,val_loss,control_perplexity",
        "0,,2.500000,7.000000",
        "1,0.333333,,",
    ]


# --- fine-tuning --------------------------------------------------------------------------------


def tune(
    base: MiniGPT, pairs: Sequence[TokenizedPair], out_dir: Path, seed: int = 0, **options: Any
) -> tuple[MiniGPT, list[LogRow]]:
    """Fine-tune a wrapped copy of ``base`` on ``pairs``, four a batch: two steps a pass."""
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


def test_the_same_seed_writes_the_same_bytes(
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


def test_fine_tuning_leaves_the_base_byte_for_byte(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    model, _ = tune(base, pairs, tmp_path)
    assert weights_sha256(base_state_dict(model)) == weights_sha256(base.state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_the_saved_adapter_is_the_trained_model(
    base: MiniGPT, pairs: list[TokenizedPair], ids: Tensor, tmp_path: Path
) -> None:
    model, _ = tune(base, pairs, tmp_path)
    for kind in ("pt", "safetensors"):
        loaded = load_adapter(tmp_path / f"adapter_final.{kind}", copy.deepcopy(base))
        assert torch.equal(loaded(ids), model(ids))
        assert not torch.equal(loaded(ids), base(ids))


def test_adapters_alone_learn_a_few_pairs_by_heart(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    _, log = tune(base, pairs, tmp_path, epochs=40, learning_rate=3e-2)
    losses = [row.train_loss for row in log[1:] if row.train_loss is not None]
    assert len(losses) == 80
    assert max(losses[-4:]) < 0.4 * min(losses[:2])
    assert log[0].val_loss is not None and log[-1].val_loss is not None
    assert log[-1].val_loss < 0.4 * log[0].val_loss


def test_the_log_measures_at_the_start_at_every_interval_and_at_the_end(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    _, log = tune(base, pairs, tmp_path, epochs=4, validate_every=3, control_every=5)
    rows = read_log(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(9))
    assert [int(row["step"]) for row in rows if row["train_loss"]] == list(range(1, 9))
    assert [int(row["step"]) for row in rows if row["val_loss"]] == [0, 3, 6, 8]
    assert [int(row["step"]) for row in rows if row["control_perplexity"]] == [0, 5, 8]
    assert [row.step for row in log] == list(range(9))


def test_the_log_starts_with_the_base_and_ends_with_the_tuned_model(
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


def test_measuring_changes_nothing_of_the_training(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    tune(base, pairs, tmp_path / "often", validate_every=1, control_every=1)
    tune(base, pairs, tmp_path / "seldom", validate_every=99, control_every=99)
    often, seldom = (sha256(tmp_path / x / "adapter_final.pt") for x in ("often", "seldom"))
    assert often == seldom


def test_dropout_is_live_in_fine_tuning_also_after_a_measurement(
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


def test_the_loop_takes_each_steps_learning_rate_from_its_schedule(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    asked, seen = [], []

    def schedule(step: int) -> float:
        asked.append(step)
        return 1e-3 if step == 2 else 0.0

    def measure(step: int, train_loss: float | None) -> LogRow:
        seen.append(weights_sha256(base.state_dict()))
        return LogRow(step, train_loss)

    batches = [pad(completion_examples(pairs), PAD_ID)] * 4
    optimizer = AdamW(list(base.parameters()), 1.0)
    train_loop(base, batches, optimizer, measure, 4, None, learning_rate=schedule)
    assert asked == [0, 1, 2, 3]
    assert [a == b for a, b in pairwise(seen)] == [True, True, False, True]


def test_a_model_without_adapters_is_refused(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    loader = Loader(completion_examples(pairs), 4, PAD_ID)
    with pytest.raises(UserError, match="has no adapters"):
        fine_tune_lora(base, loader, loader, LoRATrainConfig(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_naming_the_step_and_writes_nothing(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    with torch.no_grad():
        base.ln_f.bias[0] = math.nan
    with pytest.raises(UserError, match=r"^training step 1 of 6: the loss is no longer finite"):
        tune(base, pairs, tmp_path)
    assert not list(tmp_path.iterdir())


def test_training_that_diverges_stops_at_the_step_after(
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


# --- one rank, all its seeds --------------------------------------------------------------------


@pytest.fixture
def splits(pairs: list[TokenizedPair]) -> dict[str, list[TokenizedPair]]:
    """Enough pairs for five steps of one pass each."""
    return {"train": pairs * 3, "val": pairs[:2], "control": pairs[4:]}


def train(
    base: MiniGPT,
    splits: dict[str, list[TokenizedPair]],
    out_dir: Path,
    r: int = 4,
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> dict[str, Any]:
    """:func:`train_adapters` over a copy of ``base``, four pairs a batch, one pass."""
    config = LoRATrainConfig(**{"batch_size": 4, "epochs": 1, **options})
    return train_adapters(
        copy.deepcopy(base),
        splits,
        r=r,
        alpha=16.0,
        dropout=0.1,
        target_modules=("q_proj", "v_proj"),
        config=config,
        seeds=seeds,
        pad_id=PAD_ID,
        out_dir=out_dir,
    )


def test_the_training_summary_counts_as_the_closed_forms_do(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    summary = train(base, splits, tmp_path, r=8, epochs=2)
    trainable = 2 * 2 * 8 * (32 + 32)  # layers, q and v, r (in + out)
    assert summary == {
        "rank": 8,
        "adapted_layers": [f"blocks.{i}.attn.{x}_proj" for i in range(2) for x in "qv"],
        "trainable_parameters": trainable,
        "trainable_parameters_closed_form": trainable,
        "base_parameters": parameter_count(base.config),
        "trainable_ratio": trainable / parameter_count(base.config),
        "steps": 2 * 5,  # 18 pairs, 4 a batch
    }
    json.dumps(summary, allow_nan=False)
    assert len(read_log(tmp_path / "seed-0")) == 11


def test_a_seeds_result_does_not_depend_on_the_seeds_before_it(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    train(base, splits, tmp_path / "all", seeds=(0, 1))
    train(base, splits, tmp_path / "alone", seeds=(1,))
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["seed-0", "seed-1"]
    for file in ("adapter_final.pt", "train_log.csv"):
        alone, first, second = (
            (tmp_path / folder / file).read_bytes()
            for folder in ("alone/seed-1", "all/seed-0", "all/seed-1")
        )
        assert alone == second != first
    assert torch.load(tmp_path / "alone/seed-1/adapter_final.pt")["config"]["seed"] == 1


def test_runs_of_every_rank_see_the_same_batches(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    # At a learning rate of zero B stays zero, so a log is the base's loss on each batch in turn.
    logs = []
    for r, seed in ((2, 0), (8, 0), (32, 0), (8, 1)):
        train(base, splits, tmp_path / f"{r}-{seed}", r, (seed,), learning_rate=0.0, epochs=2)
        logs.append([row["train_loss"] for row in read_log(tmp_path / f"{r}-{seed}/seed-{seed}")])
    assert len(set(logs[0])) > 5, "batches that cannot be told apart show nothing"
    assert logs[0] == logs[1] == logs[2] != logs[3]


def test_ranks_do_differ_once_they_learn(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    for r in (2, 8):
        train(base, splits, tmp_path / str(r), r, learning_rate=1e-2)
    small, large = (read_log(tmp_path / f"{r}/seed-0") for r in (2, 8))
    assert small[:2] == large[:2]  # the start, and the loss of the first step
    assert small[-1] != large[-1]


def test_loraplus_moves_b_faster_and_a_as_before(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    """Adam's first step is the learning rate in size; B starts at zero, so that is where it is."""
    one_step = {"train": splits["train"][:4], "val": splits["val"], "control": splits["control"]}
    for ratio in (1.0, 16.0):
        train(base, one_step, tmp_path / str(ratio), loraplus_lr_ratio=ratio)
    slow, fast = (
        torch.load(tmp_path / f"{ratio}/seed-0/adapter_final.pt", weights_only=True)["weights"]
        for ratio in (1.0, 16.0)
    )
    for name in slow:
        if name.endswith("lora_B"):
            assert slow[name].abs().max() == pytest.approx(1e-4, rel=1e-3)
            assert torch.allclose(fast[name], 16 * slow[name], rtol=1e-3, atol=1e-9)
        else:
            assert torch.equal(fast[name], slow[name])


def test_a_held_out_verb_is_not_trained_on(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    kept = [pair for pair in splits["train"] if pair.verb != "walk"]
    assert 0 < len(kept) < len(splits["train"])
    summary = train(base, splits, tmp_path / "held-out", held_out_verb="walk")
    expected = train(base, {**splits, "train": kept}, tmp_path / "without")
    assert summary == expected
    files = [tmp_path / f"{x}/seed-0/adapter_final.pt" for x in ("held-out", "without")]
    assert files[0].read_bytes() == files[1].read_bytes()
    only = {**splits, "train": [pair for pair in splits["train"] if pair.verb == "walk"]}
    for some, verb in ((only, "walk"), (splits, "see")):
        with pytest.raises(UserError, match="leaves out all training pairs, or none"):
            train(base, some, tmp_path / "none", held_out_verb=verb)


# --- full fine-tuning ---------------------------------------------------------------------------


def tune_fully(
    base: MiniGPT,
    splits: dict[str, list[TokenizedPair]],
    out_dir: Path,
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> dict[str, Any]:
    config = LoRATrainConfig(**{"batch_size": 4, "epochs": 1, **options})
    return train_full(
        copy.deepcopy(base), splits, config=config, seeds=seeds, pad_id=PAD_ID, out_dir=out_dir
    )


def test_full_fine_tuning_moves_every_weight_and_starts_each_seed_from_the_base(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    summary = tune_fully(base, splits, tmp_path / "all", seeds=(0, 1))
    tune_fully(base, splits, tmp_path / "alone", seeds=(1,))
    assert summary == {
        "trainable_parameters": parameter_count(base.config),
        "base_parameters": parameter_count(base.config),
        "trainable_ratio": 1.0,
        "steps": 5,
    }
    alone, first, second = (
        tmp_path / folder / "model_final.pt"
        for folder in ("alone/seed-1", "all/seed-0", "all/seed-1")
    )
    assert alone.read_bytes() == second.read_bytes() != first.read_bytes()
    before, after = base.state_dict(), load_base(first).state_dict()
    unmoved = {name for name in before if torch.equal(before[name], after[name])}
    assert unmoved <= {name for name in before if name.endswith("k_proj.bias")}, (
        "softmax does not see the same number added to every key's score"
    )


def test_full_fine_tuning_takes_the_batches_that_lora_takes(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    # At a learning rate of zero the log is the base's loss on each batch in turn.
    tune_fully(base, splits, tmp_path / "full", learning_rate=0.0)
    train(base, splits, tmp_path / "lora", learning_rate=0.0)
    assert read_log(tmp_path / "full/seed-0") == read_log(tmp_path / "lora/seed-0")


# --- pretraining --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    """Texts of random tokens: there is nothing to learn but them by heart."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(4, 40, (5 + i % 3,), generator=draw).tolist() for i in range(24)]


SHAPE = MiniGPTConfig(40, 8, d_model=16, n_layers=1, n_heads=2)
PRETRAIN = PretrainConfig(
    epochs=6, batch_size=8, learning_rate=3e-2, warmup_steps=2, validate_every=2,
    validation_share=0.25, seed=3,
)  # fmt: skip


def test_pretraining_keeps_the_weights_that_were_best_on_held_out_texts(
    texts: list[list[int]],
) -> None:
    model, log = pretrain(texts, SHAPE, PRETRAIN, PAD_ID)
    assert [row.step for row in log] == list(range(19))  # 18 texts, 8 a batch, 6 epochs
    measured = {row.step: row.val_loss for row in log if row.val_loss is not None}
    assert list(measured) == list(range(0, 19, 2))
    best = min(measured, key=measured.__getitem__)
    assert best != 18 and measured[18] > measured[best] + 0.1, "the last must not be the best"

    order = torch.randperm(24, generator=generator(3, "held out")).tolist()
    held_out = [Example(texts[i], 1) for i in order[:6]]
    assert mean_loss(model, Loader(held_out, 1, PAD_ID)) == pytest.approx(measured[best], abs=1e-5)
    assert not model.training


def test_held_out_texts_are_never_trained_on(
    texts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: Counter[tuple[int, ...]] = Counter()

    def spy(model: MiniGPT, batch: Batch) -> Tensor:
        for row, labels in zip(batch.input_ids, batch.labels, strict=True):
            trained[tuple(row[labels != IGNORE_INDEX].tolist())] += model.training
        return token_losses(model, batch)

    monkeypatch.setattr("minituner.loop.token_losses", spy)
    pretrain(texts, SHAPE, PRETRAIN, PAD_ID)
    order = torch.randperm(24, generator=generator(3, "held out")).tolist()
    assert [trained[tuple(texts[i][:-1])] for i in order] == [0] * 6 + [PRETRAIN.epochs] * 18


def test_the_same_seed_pretrains_the_same_base(texts: list[list[int]]) -> None:
    def hash_of(seed: int) -> str:
        config = replace(PRETRAIN, epochs=1, seed=seed)
        return weights_sha256(pretrain(texts, SHAPE, config, PAD_ID)[0].state_dict())

    first = hash_of(0)
    torch.rand(3)  # torch's own stream plays no part
    assert hash_of(0) == first != hash_of(1)


class Killed(Exception):
    """Stands for a kill that comes right after the state was saved."""


def pretrain_until_saved(texts: list[list[int]], config: PretrainConfig, state: Path) -> None:
    save = SavedState.save

    def save_and_die(self: SavedState, *rest: Any) -> None:
        save(self, *rest)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SavedState, "save", save_and_die)
        pretrain(texts, SHAPE, config, PAD_ID, state)


@pytest.mark.parametrize("save_every", [5, 9, 16, 18])  # within a pass, between two, the last step
def test_a_killed_pretraining_goes_on_to_the_same_bytes(
    texts: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str], save_every: int
) -> None:
    config, state = replace(PRETRAIN, save_every=save_every), tmp_path / "state.pt"
    whole, log = pretrain(texts, SHAPE, config, PAD_ID)
    pretrain_until_saved(texts, config, state)
    capsys.readouterr()
    model, resumed_log = pretrain(texts, SHAPE, config, PAD_ID, state)
    assert f"goes on from step {save_every}\n" in capsys.readouterr().err
    assert resumed_log == log
    assert weights_sha256(model.state_dict()) == weights_sha256(whole.state_dict())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["seed", "rate", "texts", "damaged"])
def test_the_state_of_another_pretraining_is_not_used(
    texts: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    config, state = replace(PRETRAIN, save_every=5), tmp_path / "state.pt"
    pretrain_until_saved(texts, config, state)
    if other == "seed":
        config = replace(config, seed=4)
    elif other == "rate":
        config = replace(config, learning_rate=1e-2)
    elif other == "texts":
        texts = [*texts[:-1], [*texts[-1][:-1], 5]]
    else:
        state.write_bytes(state.read_bytes()[:-100])
    fresh, log = pretrain(texts, SHAPE, config, PAD_ID)
    capsys.readouterr()
    model, other_log = pretrain(texts, SHAPE, config, PAD_ID, state)
    message = capsys.readouterr().err
    assert "goes on from" not in message
    assert ("cannot be used" in message) is (other == "damaged")
    assert other_log == log
    assert weights_sha256(model.state_dict()) == weights_sha256(fresh.state_dict())
    assert not list(tmp_path.iterdir())


def test_the_best_weights_are_a_copy_of_the_first_of_equals(
    make_base: Callable[..., MiniGPT],
) -> None:
    models = [make_base(seed) for seed in range(4)]
    best = BestWeights()
    for loss, model in zip((2.0, 1.0, 1.0, math.nan), models, strict=True):
        best.offer(loss, model)
    kept = weights_sha256(models[1].state_dict())
    with torch.no_grad():
        models[1].ln_f.bias += 1
    assert best.val_loss == 1.0
    assert weights_sha256(best.weights) == kept != weights_sha256(models[1].state_dict())


def row(line: int, written: str = "went", **fields: str) -> Row:
    """A plain row of ``go``, right or over-regularized."""
    wrong = written == "goed"
    values = dict.fromkeys(COLUMNS) | {
        "id": f"r-{line}",
        "text": f"He {written} to school yesterday.",
        "verb_lemma": "go",
        "tense": "past_simple",
        "person": "3sg",
        "english_regularity": "irregular",
        "label": "mis_conjugated" if wrong else "correct",
        "correct_form": "went" if wrong else None,
        **fields,
    }
    return Row(**values, path="base.jsonl", line=line)  # type: ignore[arg-type]


def test_a_sentence_beyond_the_context_is_named_by_file_and_line(tokenizer: Tokenizer) -> None:
    rows = [row(1), row(2, text="He went to school " + "and went home " * 9), row(3)]
    shape = {"context_length": 16, "d_model": 8, "n_layers": 1, "n_heads": 1}
    with pytest.raises(UserError, match=r"^base\.jsonl:2: the sentence is longer"):
        pretrain_on_rows(rows, tokenizer, shape, PretrainConfig())


def test_pretraining_on_rows_says_what_it_read_and_made(tokenizer: Tokenizer) -> None:
    rows = [row(line, "goed" if line % 4 == 0 else "went") for line in range(1, 9)]
    shape = {"context_length": 16, "d_model": 8, "n_layers": 1, "n_heads": 1}
    config = PretrainConfig(epochs=3, batch_size=4, warmup_steps=1, validate_every=1)
    model, log, summary = pretrain_on_rows(rows, tokenizer, shape, config)
    assert summary["corpus"]["over_regularized_share"] == 0.25
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert summary["vocabulary"] == tokenizer.get_vocab_size() == model.config.vocab_size
    assert summary["steps"] == 3 * 2  # 7 texts, 4 a batch
    assert summary["best_val_loss"] == min(row.val_loss for row in log if row.val_loss is not None)
    assert log[summary["best_step"]].val_loss == summary["best_val_loss"]
    words = [tokenizer.encode(r.text).ids for r in rows]
    assert summary["tokens"] == sum(len(ids) + 2 for ids in words)  # and <bos> and <eos>


def test_the_over_regularised_share_is_of_irregular_past_forms_alone() -> None:
    rows = [
        row(1, "goed"),
        row(2),
        row(3, tense="past_participle"),
        row(4, tense="present"),
        row(5, english_regularity="regular"),
        row(6, prompt="He __ to school yesterday.", target="went / fue"),
    ]
    assert describe_corpus(rows) == {
        "sentences": 6,
        "fill_in": 1,
        "irregular_past_forms": 4,
        "over_regularized": 1,
        "over_regularized_share": 0.25,
    }
    assert describe_corpus([row(1, tense="present")])["over_regularized_share"] == 0.0


def test_optimising_adapters_alone_keeps_their_order(base: MiniGPT) -> None:
    model = wrap_minigpt_with_lora(base, 4, seed=0)
    assert [p.shape for p in lora_parameters(model)] == [(4, 128), (32, 4)] * 2
