"""The fast path against the textbook: the same logits, losses and gradients, with less work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import PAD_ID, bytes_of, reference_logits, tuned_copy
from torch import Tensor, nn

from minituner.adapter_tensors import named_lora_parameters
from minituner.batches import Batch, Example, completion_examples, pad, text_examples
from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.fast.minigpt import FastMiniGPT
from minituner.fast.packed import PackedIndex, blocks_of
from minituner.loop import token_losses
from minituner.lora import LoRALinear, lora_layers, merge_, merge_and_unwrap, unmerge_
from minituner.model import MiniGPT
from minituner.seeding import generator
from minituner.storage.checkpoint import load_base, save_base

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "mlp.fc1", "mlp.fc2")
TARGETS = [
    *((layer,) for layer in LAYERS),
    ("q_proj", "v_proj"),
    ("o_proj", "mlp.fc1"),
    LAYERS,
    *((f"blocks.{i}.mlp.fc2",) for i in range(3)),
    ("blocks.0.mlp.fc2", "blocks.2.attn.o_proj"),
    ("blocks.1.mlp.fc2", "blocks.2.mlp.fc2", "blocks.2.attn.q_proj"),
    ("blocks.0.attn.v_proj", "blocks.1.mlp.fc2"),
    ("blocks.2.attn.k_proj",),
]
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}
variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def base(make_base: Callable[..., MiniGPT]) -> MiniGPT:
    """Three layers, in float64."""
    return make_base(n_layers=3).double()


@pytest.fixture
def batches(pairs: list[TokenizedPair]) -> dict[str, Batch]:
    """Padded and not, with common prefixes, identical texts, and one token scored."""
    answers = completion_examples(pairs)
    wrong = completion_examples([replace(pair, target_ids=pair.wrong_ids[0]) for pair in pairs])
    ids = answers[0].ids
    some = {
        "answers": answers,
        "whole texts": text_examples([example.ids for example in answers[2:]]),
        "common prefixes": [*answers[:3], *wrong[:3]],
        "identical texts": [answers[1], answers[1], answers[4], answers[1]],
        "one token of one text": [Example(ids, len(ids) - 1)],
        "one token per text": [Example(e.ids, len(e.ids) - 1) for e in answers],
        "one text": [Example(ids, 1)],
        "two tokens": [Example([0, 5], 1), Example(ids, 3)],
    }
    return {name: pad(examples, PAD_ID) for name, examples in some.items()}


def test_batches_are_of_the_kinds_that_matter(batches: dict[str, Batch]) -> None:
    assert not batches["answers"].mask.all() and batches["one text"].mask.all()
    assert int(batches["one token of one text"].scored.sum()) == 1


def results(
    logits_of: Callable[[Any, Batch], Tensor], model: MiniGPT, batch: Batch
) -> dict[str, Tensor]:
    """The logits and losses of a batch, and the gradient of every trainable parameter."""
    logits = logits_of(model, batch)
    losses = F.cross_entropy(logits, batch.labels[batch.scored], reduction="none")
    (losses * torch.arange(1.0, 1 + len(losses))).sum().backward()
    found = {"logits": logits.detach(), "losses": losses.detach()}
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.grad is not None:
            found[name] = parameter.grad
            parameter.grad = None
    return found


def assert_equals_textbook(model: MiniGPT, batch: Batch, times: int = 1) -> None:
    """``scored_logits`` against ``forward`` on the padded batch."""
    assert isinstance(model, FastMiniGPT)
    expected = results(CausalLM.scored_logits, model, batch)
    for _ in range(times):
        found = results(FastMiniGPT.scored_logits, model, batch)
        assert found.keys() == expected.keys()
        for name in expected:
            message = f"{name} differs".format
            torch.testing.assert_close(found[name], expected[name], **TOLERANCE, msg=message)


class FixedDropout:
    """Dropout whose mask depends on the layer, the text and the position alone, however the batch
    is laid out."""

    def __init__(self, model: MiniGPT) -> None:
        self.names = {id(layer): name for name, layer in lora_layers(model)}
        self.batch: Batch

    def drop(self, layer: LoRALinear, x: Tensor) -> Tensor:
        if not layer.training:
            return x
        shape = (*self.batch.mask.shape, x.shape[-1])
        mask = (torch.rand(shape, generator=generator(0, self.names[id(layer)])) > 0.3) / 0.7
        if x.dim() == 2:  # packed: all real tokens, or in the last block the scored ones
            chosen = [m for m in (self.batch.mask, self.batch.scored) if m.sum() == len(x)]
            mask = mask[chosen[0]]
        return x * mask


@pytest.mark.parametrize("targets", TARGETS, ids="+".join)
@variants
def test_adapters_have_the_textbooks_logits_and_gradients(
    base: MiniGPT,
    batches: dict[str, Batch],
    monkeypatch: pytest.MonkeyPatch,
    targets: Iterable[str],
    options: dict[str, Any],
) -> None:
    model = tuned_copy(base, targets, **options)
    dropout = FixedDropout(model)
    monkeypatch.setattr(LoRALinear, "drop", lambda layer, x: dropout.drop(layer, x))
    for batch in batches.values():
        dropout.batch = batch
        for precomputed in (False, True):
            if precomputed:
                model.precompute([batch])
            for training in (True, False):
                # Twice: the second pass finds in the cache what the first has put there.
                assert_equals_textbook(model.train(training), batch, times=2)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(named_lora_parameters(model))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_all_parameters_have_the_textbooks_gradients(
    make_base: Callable[..., MiniGPT], batches: dict[str, Batch], n_layers: int, training: bool
) -> None:
    model = make_base(n_layers=n_layers).double().train(training)
    for batch in batches.values():
        assert_equals_textbook(model, batch)


def test_adapters_over_a_trainable_base_have_the_textbooks_gradients(
    base: MiniGPT, batches: dict[str, Batch]
) -> None:
    model = tuned_copy(base, dropout=0.0).requires_grad_(True).train()
    for batch in batches.values():
        assert_equals_textbook(model, batch, times=2)


@torch.no_grad()
def test_scored_logits_equal_an_independent_implementation(
    base: MiniGPT, batches: dict[str, Batch]
) -> None:
    for batch in batches.values():
        expected = reference_logits(base, batch.input_ids)[batch.scored]
        torch.testing.assert_close(base.scored_logits(batch), expected, **TOLERANCE)


@torch.no_grad()
def test_padding_is_not_read(base: MiniGPT, batches: dict[str, Batch]) -> None:
    batch = batches["answers"]
    other = replace(batch, input_ids=batch.input_ids.where(batch.mask, 7))
    assert torch.equal(base.scored_logits(other), base.scored_logits(batch))


@pytest.mark.parametrize("targets", [LAYERS, ("mlp.fc2",), ("blocks.1.mlp.fc2",)], ids="+".join)
@variants
@torch.no_grad()
def test_merged_and_unmerged_models_have_the_textbooks_logits(
    base: MiniGPT, batches: dict[str, Batch], targets: Iterable[str], options: dict[str, Any]
) -> None:
    model, batch = tuned_copy(base, targets, **options), batches["common prefixes"]
    weights = bytes_of(model.state_dict())
    before = model.scored_logits(batch)
    merge_(model)
    for _ in range(2):
        merged = model.scored_logits(batch)
        torch.testing.assert_close(merged, before, **TOLERANCE)
        torch.testing.assert_close(merged, CausalLM.scored_logits(model, batch), **TOLERANCE)
    unmerge_(model)
    assert bytes_of(model.state_dict()) == weights
    assert torch.equal(model.scored_logits(batch), before)


@variants
@torch.no_grad()
def test_merge_and_unwrap_gives_a_base_that_can_be_saved(
    base: MiniGPT, batches: dict[str, Batch], tmp_path: Path, options: dict[str, Any]
) -> None:
    model, batch = tuned_copy(base, LAYERS, **options), batches["answers"]
    logits = model.scored_logits(batch)
    plain = merge_and_unwrap(model)
    assert list(plain.state_dict()) == list(base.state_dict())
    assert not any(isinstance(module, LoRALinear) for module in plain.modules())
    torch.testing.assert_close(plain.scored_logits(batch), logits, **TOLERANCE)
    expected = reference_logits(plain, batch.input_ids)[batch.scored]
    torch.testing.assert_close(expected, logits, **TOLERANCE)
    save_base(tmp_path / "best.pt", plain.float())
    loaded = load_base(tmp_path / "best.pt")
    assert bytes_of(loaded.state_dict()) == bytes_of(plain.state_dict())
    torch.testing.assert_close(loaded.double().scored_logits(batch), logits, rtol=0, atol=1e-3)


def test_scored_logits_refuse_a_text_beyond_the_context(make_base: Callable[..., MiniGPT]) -> None:
    model = make_base(context_length=4)
    assert len(model.scored_logits(pad([Example([0, 3, 3, 3, 3], 1)], PAD_ID))) == 4
    with pytest.raises(UserError, match="5 tokens\n  expected: at most 4"):
        model.scored_logits(pad([Example([0, 3, 3, 3, 3, 3], 1)], PAD_ID))


class RowCount:
    """The number of rows that a layer is given, call by call."""

    def __init__(self, layer: nn.Module) -> None:
        self.rows: list[int] = []
        layer.register_forward_hook(lambda _, inputs, __: self.rows.append(len(inputs[0])))


def test_only_the_tokens_that_count_are_computed(base: MiniGPT, batches: dict[str, Batch]) -> None:
    batch = batches["common prefixes"]
    real, scored = int(batch.mask.sum()), int(batch.scored.sum())
    texts = [ids[:n] for ids, n in zip(batch.input_ids, batch.mask.sum(1), strict=True)]
    distinct = len({tuple(text[: t + 1].tolist()) for text in texts for t in range(len(text))})
    assert scored < real < batch.mask.numel() and distinct < 0.8 * real
    first = RowCount(blocks_of(base)[0].attn.k_proj)
    last = RowCount(blocks_of(base)[2].mlp.fc1)
    token_losses(base.eval(), batch)
    token_losses(base.train(), batch)  # no common prefixes: texts differ in their dropout
    assert first.rows == [distinct, real]
    assert last.rows == [scored, scored]


def test_prefixes_of_a_batch_are_found_once(
    base: MiniGPT, batches: dict[str, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Batch] = []
    of_prefixes = PackedIndex.of_prefixes

    def spy(batch: Batch) -> PackedIndex:
        found.append(batch)
        return of_prefixes(batch)

    monkeypatch.setattr(PackedIndex, "of_prefixes", spy)
    for _ in range(2):
        for batch in batches.values():
            base.scored_logits(batch)
    copy.deepcopy(base).scored_logits(batches["answers"])  # a copy keeps its own
    assert found == [*batches.values(), batches["answers"]]
