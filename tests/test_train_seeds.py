"""One setting, all its seeds: each as if it were alone, on the batches of every other setting."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import PAD_ID

from minituner.data.pairs import TokenizedPair, pair_rows
from minituner.errors import UserError
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT, parameter_count
from minituner.storage.adapter import read_adapter
from minituner.storage.checkpoint import load_base, save_base
from minituner.storage.files import sha256, write_jsonl
from minituner.storage.tensors import load_safetensors
from minituner.tokenizer import TextTokenizer, save_tokenizer
from minituner.train import LoRATrainConfig
from minituner.train_seeds import train_adapters, train_full, train_setting


@pytest.fixture
def splits(pairs: list[TokenizedPair]) -> dict[str, list[TokenizedPair]]:
    """Enough pairs for five steps per pass."""
    return {"train": pairs * 3, "val": pairs[:2], "control": pairs[4:]}


def train(
    base: MiniGPT,
    splits: Mapping[str, Sequence[TokenizedPair]],
    out_dir: Path,
    r: int = 4,
    seeds: Sequence[int] = (0,),
    targets: tuple[str, ...] = ("q_proj", "v_proj"),
    **options: Any,
) -> Mapping[str, Any]:
    """:func:`train_adapters` over a copy of ``base``, four pairs per batch, one pass."""
    config = LoRATrainConfig(**{"batch_size": 4, "epochs": 1, **options})
    lora = LoRAConfig(r, dropout=0.1, target_modules=targets)
    return train_adapters(copy.deepcopy(base), splits, lora, config, seeds, PAD_ID, out_dir)


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "train_log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_train_adapters_counts_as_the_closed_forms_do(
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
        "steps": 2 * 5,  # 18 pairs, 4 per batch
    }
    json.dumps(summary, allow_nan=False)
    assert len(read_log(tmp_path / "seed-0")) == 11


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("mlp.fc2",)])
def test_result_of_a_seed_does_not_depend_on_the_seeds_before_it(
    base: MiniGPT,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
    targets: tuple[str, ...],
) -> None:
    train(base, splits, tmp_path / "all", seeds=(0, 1), targets=targets)
    train(base, splits, tmp_path / "alone", seeds=(1,), targets=targets)
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["seed-0", "seed-1"]
    for file in ("adapter_final.pt", "train_log.csv"):
        alone, first, second = (
            (tmp_path / folder / file).read_bytes()
            for folder in ("alone/seed-1", "all/seed-0", "all/seed-1")
        )
        assert alone == second != first
    assert torch.load(tmp_path / "alone/seed-1/adapter_final.pt")["config"]["seed"] == 1


@pytest.mark.parametrize("count", [13, 14, 17])
def test_result_of_a_seed_does_not_depend_on_the_batches_of_others(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path, count: int
) -> None:
    """The last bits of a hidden state depend on the batch that it is computed in, so what seeds
    share must not come from one of their batches."""
    train_pairs = [
        replace(pair, prompt_ids=[*pair.prompt_ids[:2], *[20 + i] * (i % 5), *pair.prompt_ids[2:]])
        for i, pair in enumerate(splits["train"][:count])
    ]
    distinct = {**splits, "train": train_pairs}
    for name, seeds in (("all", (0, 1)), ("alone", (1,))):
        train(base, distinct, tmp_path / name, seeds=seeds, targets=("mlp.fc2",))
    one, other = (tmp_path / name / "seed-1/adapter_final.pt" for name in ("all", "alone"))
    assert one.read_bytes() == other.read_bytes()


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


def test_ranks_differ_once_they_learn(
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


def test_held_out_verb_is_not_trained_on(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    kept = [pair for pair in splits["train"] if pair.group != "walk"]
    assert 0 < len(kept) < len(splits["train"])
    summary = train(base, splits, tmp_path / "held-out", held_out_verb="walk")
    expected = train(base, {**splits, "train": kept}, tmp_path / "without")
    assert summary == expected
    files = [tmp_path / f"{x}/seed-0/adapter_final.pt" for x in ("held-out", "without")]
    assert files[0].read_bytes() == files[1].read_bytes()
    only = {**splits, "train": [pair for pair in splits["train"] if pair.group == "walk"]}
    for some, verb in ((only, "walk"), (splits, "see")):
        with pytest.raises(UserError, match="excludes all training pairs, or none"):
            train(base, some, tmp_path / "none", held_out_verb=verb)


def tune_fully(
    base: MiniGPT,
    splits: dict[str, list[TokenizedPair]],
    out_dir: Path,
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> Mapping[str, Any]:
    config = LoRATrainConfig(**{"batch_size": 4, "epochs": 1, **options})
    return train_full(copy.deepcopy(base), splits, config, seeds, PAD_ID, out_dir)


def test_train_full_moves_every_weight_and_starts_each_seed_from_the_base(
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


def test_train_full_takes_the_batches_of_train_adapters(
    base: MiniGPT, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    # At a learning rate of zero the log is the base's loss on each batch in turn.
    tune_fully(base, splits, tmp_path / "full", learning_rate=0.0)
    train(base, splits, tmp_path / "lora", learning_rate=0.0)
    assert read_log(tmp_path / "full/seed-0") == read_log(tmp_path / "lora/seed-0")


@pytest.mark.parametrize("rank", [4, None])
def test_train_setting_writes_every_seed_and_the_summary(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
    rank: int | None,
) -> None:
    inputs = {name: tmp_path / f"{name}.jsonl" for name in splits}
    for name, path in inputs.items():
        write_jsonl(path, pair_rows(splits[name]))
    inputs |= {"base": tmp_path / "best.pt", "tokenizer": tmp_path / "tokenizer.json"}
    save_tokenizer(tokenizer, inputs["tokenizer"])
    save_base(inputs["base"], base, inputs["tokenizer"])
    lora = {
        **{"alpha": 12.0, "dropout": 0.1, "use_rslora": True},
        **{"target_modules": ["q_proj"], "layers": [1]},
    }
    options = {"epochs": 1, "batch_size": 4}
    config = {"lora": lora, "train": options, "seeds": [0, 3], "compute": {}}
    train_setting(inputs, config, rank, tmp_path / "out" / "training.json")
    summary = json.loads((tmp_path / "out" / "training.json").read_text())
    assert summary["steps"] == 5
    for seed in (0, 3):
        folder = tmp_path / "out" / f"seed-{seed}"
        assert len(read_log(folder)) == 6
        if rank is None:
            assert load_base(folder / "model_final.pt", inputs["tokenizer"]).config == base.config
            continue
        found, _ = read_adapter(folder / "adapter_final.pt")
        assert (found.seed, found.lora.r, found.lora.alpha, found.lora.use_rslora) == (
            seed, 4, 12.0, True
        )  # fmt: skip
        assert found.lora.target_modules == ("blocks.1.attn.q_proj",)
        _, texts = load_safetensors(folder / "adapter_final.safetensors")
        for name in ("tokenizer", "train"):
            assert texts[f"{name}_sha256"] == sha256(inputs[name])
