"""The section `compute`: batches in parts are the same batches, a bfloat16 base has float32
adapters, and a GPU is refused where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from models import PAD_ID, LinearLM, bytes_of

from minituner import compute
from minituner.adapter_tensors import base_state_dict, lora_state_dict, named_lora_parameters
from minituner.batches import completion_examples, pad, text_examples, text_slices
from minituner.compute import ComputeSettings, place, require_gpu
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.evaluate import ScoringBatches, score_pairs
from minituner.greedy import next_token_logits
from minituner.loop import mean_loss, train_step
from minituner.lora import merge_, unmerge_, wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.storage.adapter import load_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer
from minituner.train import LoRATrainConfig
from minituner.train_seeds import train_adapters

LIMITS = [1, 20, 33, 60]  # tokens; every text of `pairs` has more than 1
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "expected"),
    [
        ([3, 3, 3], None, [(0, 3)]),
        ([3, 3, 3], 9, [(0, 3)]),
        ([3, 3, 3], 8, [(0, 2), (2, 3)]),
        ([2, 5, 2, 2], 6, [(0, 1), (1, 2), (2, 4)]),  # 2 x 5 with padding is above 6
        ([9, 1, 1], 4, [(0, 1), (1, 3)]),  # longer than the limit: alone
        ([1, 9], 4, [(0, 1), (1, 2)]),
        ([5], 1, [(0, 1)]),
    ],
)
def test_text_slices_count_the_padding(
    lengths: list[int], max_tokens: int | None, expected: list[tuple[int, int]]
) -> None:
    found = text_slices(lengths, max_tokens)
    assert [(part.start, part.stop) for part in found] == expected


def test_parts_hold_the_batch_in_order_and_within_the_limit(pairs: list[TokenizedPair]) -> None:
    examples = completion_examples(pairs)
    batch = pad(examples, PAD_ID)
    assert list(batch.parts(None, CPU)) == [batch] == list(batch.parts(10**6, CPU))
    for limit in LIMITS:
        parts = batch.parts(limit, CPU)
        assert all(x is y for x, y in zip(parts, batch.parts(limit, CPU), strict=True))
        assert all(p.input_ids.numel() <= limit or len(p.input_ids) == 1 for p in parts)
        start = 0
        for part in parts:
            expected = pad(examples[start : start + len(part.mask)], PAD_ID)
            start += len(part.mask)
            for name in ("input_ids", "mask", "labels"):
                assert torch.equal(getattr(part, name), getattr(expected, name))
        assert start == len(examples)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("targets", [("q_proj",), ("mlp.fc2",)])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(
    base: MiniGPT, pairs: list[TokenizedPair], limit: int, targets: Sequence[str]
) -> None:
    config = LoRAConfig(4, dropout=0.0, target_modules=tuple(targets))
    batch = pad(completion_examples(pairs), PAD_ID)
    results = []
    for max_tokens in (None, limit):
        model = wrap(copy.deepcopy(base).double(), config, seed=0).train()
        model.max_tokens_per_batch = max_tokens
        optimizer = torch.optim.SGD(named_lora_parameters(model).values(), lr=0.5)
        losses = [train_step(model, batch, optimizer) for _ in range(3)]
        assert len(model.parts(batch)) == 1 or max_tokens is not None
        results.append((losses, lora_state_dict(model)))
    (whole, tensors), (parts, others) = results
    assert parts == pytest.approx(whole, rel=1e-12)
    assert whole[0] > whole[-1], "a step that changes nothing shows nothing"
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, others[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("limit", LIMITS)
def test_evaluation_in_parts_is_that_of_whole_batches(
    make_tuned: Callable[..., MiniGPT],
    pairs: list[TokenizedPair],
    tokenizer: TextTokenizer,
    limit: int,
) -> None:
    whole = make_tuned("mlp.fc2").double()
    parts = copy.deepcopy(whole)
    parts.max_tokens_per_batch = limit
    texts = [pair.prompt_ids for pair in pairs]
    batches = [pad(text_examples(texts), PAD_ID)]
    for _ in range(2):  # the second time from the cache
        assert mean_loss(parts, batches) == pytest.approx(mean_loss(whole, batches), rel=1e-12)
    split = ScoringBatches.of(pairs, tokenizer.pad_id)
    for one, other in zip(score_pairs(whole, split), score_pairs(parts, split), strict=True):
        assert torch.allclose(one.text, other.text, rtol=1e-9)
        assert one.margin == pytest.approx(other.margin, rel=1e-9)
        assert one.greedy_prefix == other.greedy_prefix
    one, other = (next_token_logits(model, texts, PAD_ID) for model in (whole, parts))
    assert torch.allclose(one, other, rtol=1e-9)


def test_place_sets_the_limits_and_changes_nothing_else(base: MiniGPT) -> None:
    before = bytes_of(base.state_dict())
    settings = ComputeSettings(device="cpu", max_tokens_per_batch=100, cache_bytes=7)
    assert place(base, settings) is base
    assert (base.max_tokens_per_batch, base.cache_bytes, base.device) == (100, 7, CPU)
    assert bytes_of(base.state_dict()) == before


def test_a_minigpt_is_never_bfloat16(base: MiniGPT) -> None:
    before = bytes_of(base.state_dict())
    with pytest.raises(UserError, match=r"compute.dtype: is not for a MiniGPT"):
        place(base, ComputeSettings(dtype="bfloat16"))
    assert bytes_of(base.state_dict()) == before


@pytest.mark.parametrize("variant", [{}, {"use_dora": True}])
def test_a_bfloat16_base_has_float32_adapters(
    pairs: list[TokenizedPair], tokenizer: TextTokenizer, variant: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    exact = LinearLM(tokenizer.vocab_size)
    model = place(copy.deepcopy(exact), ComputeSettings(dtype="bfloat16"))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    config = LoRAConfig(4, dropout=0.1, target_modules=("hidden",), **variant)
    for each in (exact, model):
        wrap(each, config, seed=0)
    assert {weight.dtype for weight in named_lora_parameters(model).values()} == {torch.float32}
    assert torch.equal(model.hidden.lora_A, exact.hidden.lora_A)  # type: ignore[union-attr]

    base = bytes_of({k: t.view(torch.int16) for k, t in base_state_dict(model).items()})
    batch = pad(completion_examples(pairs), PAD_ID)
    losses = []
    for each in (exact, model):
        optimizer = torch.optim.AdamW(named_lora_parameters(each).values(), lr=1e-2)
        each.train()
        losses.append([train_step(each, batch, optimizer) for _ in range(20)])
        each.eval()
    assert model(batch.input_ids).dtype == torch.bfloat16
    assert losses[1] == pytest.approx(losses[0], rel=0.02)  # 8 bits of precision
    assert losses[1][-1] < losses[1][0]
    for change in (merge_, unmerge_):
        change(model)
        assert model.hidden.base.weight.dtype == torch.bfloat16  # type: ignore[union-attr]
    after = {k: t.view(torch.int16) for k, t in base_state_dict(model).items()}
    assert bytes_of(after) == base


def test_an_adapter_over_a_rounded_base_belongs_to_the_stored_base(
    pairs: list[TokenizedPair], tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    stored = LinearLM(tokenizer.vocab_size)
    sha256 = weights_sha256(stored.state_dict())
    model = place(copy.deepcopy(stored), ComputeSettings(dtype="bfloat16"))
    lora, config = LoRAConfig(4, target_modules=("hidden",)), LoRATrainConfig(epochs=1)
    splits = {"train": pairs, "val": pairs, "control": pairs}
    train_adapters(model, splits, lora, config, [0], PAD_ID, tmp_path, base_sha256=sha256)
    adapter = tmp_path / "seed-0/adapter_final.safetensors"
    load_adapter(adapter, copy.deepcopy(stored))
    with pytest.raises(UserError, match="was made for another base"):
        load_adapter(adapter, place(stored, ComputeSettings(dtype="bfloat16")))


def test_weights_sha256_takes_bfloat16() -> None:
    weight = torch.tensor([[1.0, -2.5]])
    half = weight.bfloat16()
    hashes = {weights_sha256({"w": w}) for w in (weight, half, half.float(), half.flatten())}
    assert len(hashes) == 3  # 1 and -2.5 are exact in both
    assert weights_sha256({"w": half}) == weights_sha256({"w": half.clone()})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_without_a_gpu(base: MiniGPT) -> None:
    with pytest.raises(UserError, match=r"compute.device: there is no GPU to compute on"):
        place(base, ComputeSettings(device="cuda"))
    with pytest.raises(UserError, match="device: cpu"):
        require_gpu(ComputeSettings(device="cuda"))
    assert ComputeSettings(device="auto").torch_device() == CPU


def test_require_gpu_asks_the_driver_and_torchs_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(count: int, version: str, device: Any = "cuda") -> str:
        monkeypatch.setattr(compute, "gpu_count", lambda: count)
        monkeypatch.setattr(compute, "version", lambda _: version)
        try:
            require_gpu(ComputeSettings(device=device))
        except UserError as error:
            return str(error)
        return ""

    assert "no GPU that the CUDA driver finds" in refuse(0, "2.13.0")
    assert "torch 2.13.0+cpu, which is built without CUDA" in refuse(1, "2.13.0+cpu")
    assert refuse(1, "2.13.0") == "" == refuse(0, "2.13.0+cpu", "auto") == refuse(0, "", "cpu")


def test_gpu_count_reads_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        def __init__(self, error: int, count: int, _: str) -> None:
            self.error, self.count = error, count

        def cuInit(self, _: int) -> int:
            return self.error

        def cuDeviceGetCount(self, count: Any) -> int:
            count._obj.value = self.count
            return 0

    for error, count, expected in ((0, 2, 2), (100, 2, 0), (0, 0, 0)):
        monkeypatch.setattr(compute.ctypes, "CDLL", partial(Driver, error, count))
        assert compute.gpu_count() == expected

    def missing(_: str) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(compute.ctypes, "CDLL", missing)
    assert compute.gpu_count() == 0
