"""The memory's closed form against numbers worked out by hand, and its refusal."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import PAD_ID, LinearLM
from tiny_models import tiny_network

from minituner import memory, train_seeds
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.hf.model import TransformersLM
from minituner.lora import unwrap, wrap
from minituner.lora_config import LoRAConfig
from minituner.memory import (
    MemoryEstimate,
    ModelSize,
    Workload,
    cgroup_bytes,
    evaluation_memory,
    require_memory,
    training_memory,
)
from minituner.model import MiniGPT, parameter_count
from minituner.tokenizer import TextTokenizer
from minituner.train import LoRATrainConfig
from minituner.train_seeds import train_adapters, train_full

SIZE = ModelSize(
    weight_bytes=1000,
    trained_weights=10,
    step_token_bytes=50,
    forward_token_bytes=20,
    cached_token_bytes=6,
    vocab_size=100,
)


def test_model_size_of_a_minigpt(base: MiniGPT) -> None:
    d, n = 32, parameter_count(base.config)
    wrap(base, LoRAConfig(8, dropout=0.1, target_modules=("mlp.fc2",)), seed=0)
    # From the first block's fc2 on: 5 d, then a whole block: four times 2 d, twice 5 d. Each fc2
    # keeps its input of 4 d with dropout, and the mask.
    assert ModelSize.of(base) == ModelSize(
        weight_bytes=4 * n,
        trained_weights=2 * 8 * 5 * d,
        step_token_bytes=4 * (5 * d + 18 * d + 2 * 2 * 4 * d),
        forward_token_bytes=2 * 4 * 5 * d,
        cached_token_bytes=4 * 6 * d,
        vocab_size=base.vocab_size,
    )


def test_the_output_head_of_a_transformers_model_counts_only_scored_tokens(
    tokenizer: TextTokenizer,
) -> None:
    model = TransformersLM(tiny_network("llama", tokenizer), context_length=64)
    model.requires_grad_(False)
    d, key_value, hidden = 32, 16, 48
    lora = LoRAConfig(2, dropout=0.0, target_modules=("down_proj",), layers="last 1")
    wrap(model, lora, seed=0)
    assert ModelSize.of(model) == ModelSize(
        weight_bytes=4 * sum(w.numel() for w in tiny_network("llama", tokenizer).parameters()),
        trained_weights=2 * (d + hidden),
        step_token_bytes=4 * (d + hidden),  # the last layer's down_proj
        forward_token_bytes=2 * 4 * (d + hidden),
        cached_token_bytes=4 * d,
        vocab_size=tokenizer.vocab_size + 6,
    )
    unwrap(model)
    wrap(model, replace(lora, target_modules=("all-linear",), layers=None), seed=0)
    size = ModelSize.of(model)
    assert size.step_token_bytes == 2 * 4 * (4 * d + 2 * (d + key_value) + 3 * (d + hidden))
    assert size.cached_token_bytes == 0


def test_model_size_of_other_settings(make_base: Callable[..., MiniGPT]) -> None:
    plain = make_base().requires_grad_(True)
    d, n = 32, parameter_count(plain.config)
    size = ModelSize.of(plain)
    assert (size.weight_bytes, size.trained_weights) == (4 * n, n)
    assert size.step_token_bytes == 4 * 2 * 18 * d
    model = wrap(make_base(), LoRAConfig(4, dropout=0.0, target_modules=("v_proj",)), seed=0)
    size = ModelSize.of(model)
    assert size.step_token_bytes == 4 * (2 * 18 - 4) * d  # not the first block's q and k
    assert size.cached_token_bytes == 0
    half = LinearLM(100, d=16).bfloat16()
    wrap(half, LoRAConfig(2, dropout=0.0, target_modules=("head",)), seed=0)
    size = ModelSize.of(half)
    assert size.weight_bytes == 2 * (100 * 16 + 16 * 32 + 32 + 32 * 100)
    assert size.step_token_bytes == 2 * (32 + 100)
    assert size.trained_weights == 2 * (32 + 100)


def test_workload_is_the_largest_that_can_come(pairs: list[TokenizedPair]) -> None:
    train, control = pairs[:4], pairs[4:]
    longest, longest_control = (max(p.tokens for p in split) for split in (train, control))
    answer = max(len(pair.target_ids) for pair in train)
    work = Workload.of({"train": train, "control": control}, batch_size=3)
    assert work == Workload(
        step_tokens=3 * longest,
        step_scored=3 * answer,
        evaluation_tokens=len(control) * longest_control,
        pairs=len(pairs),
        tokens=sum(pair.tokens for pair in pairs),
    )
    limited = Workload.of({"train": train, "control": control}, 3, max_tokens=longest + 1)
    assert limited.step_tokens == longest + 1
    assert Workload.of({"train": train}, 3, max_tokens=1).step_tokens == longest
    assert Workload.of({"control": control}).step_tokens == 0
    assert Workload.of({"train": train}, 100).step_tokens == len(train) * longest


def test_memory_by_hand() -> None:
    work = Workload(step_tokens=30, step_scored=5, evaluation_tokens=8, pairs=2, tokens=40)
    step = 30 * 50 + 5 * 100 * 12
    pairs = 2 * 1500 + 40 * 60
    estimate = training_memory(SIZE, work, cache_bytes=10**6)
    assert estimate == MemoryEstimate(1000, 16 * 10, 2 * step, 40 * 6, pairs)
    assert estimate.total == 1000 + 160 + 2 * step + 240 + pairs
    assert estimate.to_come == 160 + 2 * step + 240
    more = Workload(step_tokens=30, step_scored=5, evaluation_tokens=80, pairs=2, tokens=40)
    assert training_memory(SIZE, more, 100).batch == 2 * 80 * (20 + 100 * 8)
    assert training_memory(SIZE, more, 100).cache == 100
    scored = evaluation_memory(SIZE, more, 100)
    assert (scored.weights, scored.trained) == (2000, 40)
    assert scored.batch == 80 * (20 + 100 * 20)


def test_too_little_memory_is_refused_with_remedies() -> None:
    require_memory(100, 100, "it")
    with pytest.raises(UserError, match="too little memory for training at rank 8") as refusal:
        require_memory(3_000_000_000, 2_000_000_000, "training at rank 8")
    text = str(refusal.value)
    assert "2,000 MB available" in text and "about 3,000 MB" in text
    for remedy in ("max_tokens_per_batch", "train.batch_size", "--cores", "bfloat16"):
        assert remedy in text


def test_training_refuses_before_the_first_step(
    base: MiniGPT, pairs: list[TokenizedPair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"train": pairs, "val": pairs, "control": pairs}
    config, lora = LoRATrainConfig(epochs=1, batch_size=4), LoRAConfig(4)
    model = wrap(copy.deepcopy(base), lora, seed=0)
    needed = training_memory(ModelSize.of(model), Workload.of(splits, 4), model.cache_bytes).to_come

    def train(available: int) -> None:
        monkeypatch.setattr(train_seeds, "available_bytes", lambda _: available)
        train_adapters(copy.deepcopy(base), splits, lora, config, [0], PAD_ID, tmp_path)

    with pytest.raises(UserError, match="too little memory for training at rank 4"):
        train(needed - 1)
    assert list(tmp_path.iterdir()) == []
    train(needed)
    assert (tmp_path / "seed-0/adapter_final.pt").is_file()
    monkeypatch.setattr(train_seeds, "available_bytes", lambda _: 0)
    with pytest.raises(UserError, match="too little memory for training all weights"):
        train_full(copy.deepcopy(base), splits, config, [0], PAD_ID, tmp_path / "full")


def test_a_control_group_limits_the_memory(tmp_path: Path) -> None:
    assert cgroup_bytes(tmp_path) is None
    for name, text in (
        ("memory.max", "max\n"),
        ("memory.current", "700\n"),
        ("memory.stat", "anon 400\ninactive_file 250\nactive_file 1\n"),
    ):
        (tmp_path / name).write_text(text)
    assert cgroup_bytes(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert cgroup_bytes(tmp_path) == 1000 - 700 + 250


def test_available_memory_is_at_most_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert memory.available_bytes(cpu) > 2**20
    for name, text in (("max", "1000"), ("current", "1"), ("stat", "inactive_file 0")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.available_bytes(cpu) == 999
