"""Cached activations: used where they can be, and never stale."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import PAD_ID, tuned_copy
from torch import Tensor, nn

from minituner.batches import Batch, Example, completion_examples, pad
from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair
from minituner.fast.cache import lowest_adapted_fc2, sum_of_bits, weights_below
from minituner.fast.minigpt import FastMiniGPT
from minituner.fast.packed import PackedIndex, blocks_of
from minituner.loop import token_losses, train_step
from minituner.lora import LoRALinear, lora_layers, merge_, reset_adapters, unmerge_, unwrap, wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def base(make_base: Callable[..., MiniGPT]) -> MiniGPT:
    """Three layers, in float64."""
    return make_base(n_layers=3).double()


@pytest.fixture
def batch(pairs: list[TokenizedPair]) -> Batch:
    """The pairs as they are trained on."""
    return pad(completion_examples(pairs), PAD_ID)


class Calls:
    """Counts the calls of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        self.count = 0
        layer.register_forward_hook(self._called)

    def _called(self, *_: Any) -> None:
        self.count += 1


def attention_calls(model: MiniGPT, block: int = 0) -> Calls:
    """The calls of a block's attention: none where its activations come from the cache."""
    return Calls(blocks_of(model)[block].attn.k_proj)


def assert_fresh(model: MiniGPT, batch: Batch) -> None:
    """The logits are those of the textbook, which has no cache."""
    with torch.no_grad():
        found, expected = model.scored_logits(batch), CausalLM.scored_logits(model, batch)
    torch.testing.assert_close(found, expected, **TOLERANCE)


# --- used -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "block"),
    [
        (["mlp.fc2"], 0),
        (["blocks.0.mlp.fc2"], 0),
        (["blocks.1.mlp.fc2"], 1),
        (["blocks.1.mlp.fc2", "blocks.2.attn.q_proj"], 1),
        (["mlp.fc1", "mlp.fc2"], None),  # block 0 has one on fc1, below its fc2
        (["q_proj"], None),
        (["blocks.1.mlp.fc2", "blocks.0.attn.v_proj"], None),
        (["blocks.2.mlp.fc2"], None),  # the last block computes only the scored tokens
    ],
)
def test_lowest_adapter_decides_what_is_cached(
    base: MiniGPT, batch: Batch, targets: list[str], block: int | None
) -> None:
    model = tuned_copy(base, targets)
    assert lowest_adapted_fc2(model) == block
    model.precompute([batch])
    calls = [attention_calls(model, i) for i in range(3)]
    for training in (True, False, True, False):
        token_losses(model.train(training), batch)
    cached = 0 if block is None else block + 1
    # Once below the adapter, since an evaluation batch is kept as a whole.
    assert [each.count for each in calls] == [1] * cached + [4] * (3 - cached)


def test_base_without_adapters_is_not_cached(base: MiniGPT, batch: Batch) -> None:
    calls = attention_calls(base)
    for _ in range(2):
        base.scored_logits(batch)
    assert lowest_adapted_fc2(base) is None and calls.count == 2


def test_precomputed_texts_are_known_in_every_training_batch(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    model = tuned_copy(base, dropout=0.0).train()
    examples = completion_examples(pairs)
    model.precompute([pad(examples, PAD_ID)])
    calls = attention_calls(model)
    for some in (examples[::-1], examples[2:3], [*examples, examples[1]]):
        assert_fresh(model, pad(some, PAD_ID))
    assert calls.count == 3  # the textbook's
    new = Example([*examples[0].ids[:-1], 5, 5], 3)
    assert_fresh(model, pad([new, *examples], PAD_ID))
    assert calls.count == 5


def test_evaluation_batch_is_kept_as_long_as_it_exists(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    model = tuned_copy(base)
    batch = pad(completion_examples(pairs), PAD_ID)
    for _ in range(2):
        assert_fresh(model, batch)
    assert held_bytes(model) > 0
    del batch
    assert held_bytes(model) == 0


def test_seeds_share_what_is_cached(base: MiniGPT, batch: Batch) -> None:
    model = tuned_copy(base, dropout=0.0)
    model.scored_logits(batch)
    calls = attention_calls(model)
    reset_adapters(model, 1)
    first = model.scored_logits(batch)
    unwrap(model)
    wrap(model, LoRAConfig(r=8), seed=2)
    second = model.scored_logits(batch)
    assert calls.count == 0
    # An adapter at its start is the base.
    expected = CausalLM.scored_logits(base, batch)
    torch.testing.assert_close(first, expected, **TOLERANCE)
    torch.testing.assert_close(second, expected, **TOLERANCE)


def test_training_steps_do_not_drop_what_is_cached(base: MiniGPT, batch: Batch) -> None:
    model = tuned_copy(base, dropout=0.0).train()
    model.precompute([batch])
    calls = attention_calls(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-2, fused=True)
    for _ in range(3):
        train_step(model, batch, optimizer)
    assert calls.count == 0
    assert_fresh(model, batch)


def test_precompute_fills_the_cache_for_any_batch(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    examples = completion_examples(pairs)
    found = []
    for order in (examples, examples[::-1]):
        model = tuned_copy(base, dropout=0.0).float().train()
        model.precompute([pad(examples, PAD_ID)])
        calls = attention_calls(model)
        # Bit for bit the same, whatever is computed first.
        logits = {tuple(e.ids): model.scored_logits(pad([e], PAD_ID)) for e in order}
        assert calls.count == 0
        found.append([logits[tuple(example.ids)] for example in examples])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    base.precompute([pad(examples, PAD_ID)])  # nothing to cache


# --- bounded --------------------------------------------------------------------------------------


def held_bytes(model: MiniGPT) -> int:
    """What the cache of a model takes, tensor by tensor."""
    assert isinstance(model, FastMiniGPT)
    tensors = [
        tensor
        for found in (*model._cache._texts.values(), *model._cache._batches.values())
        for tensor in (found.residual, found.hidden, found.base_output)
    ]
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors), "views of more"
    return sum(tensor.nbytes for tensor in tensors)


def test_cache_stays_within_its_bytes(base: MiniGPT, pairs: list[TokenizedPair]) -> None:
    examples = completion_examples(pairs)
    batch = pad(examples, PAD_ID)
    tokens = [len(example.ids) - 1 for example in examples]
    distinct = len(PackedIndex.of_prefixes(batch).indices)
    per_token = 8 * 6 * base.config.d_model  # residual d, hidden 4 d, fc2's output d

    def after_both(limit: int) -> tuple[int, int]:
        """The bytes of the texts and of the batch that a model keeps."""
        model = tuned_copy(base, dropout=0.0)
        model.cache_bytes = limit
        model.precompute([batch])
        texts = held_bytes(model)
        for _ in range(2):
            assert_fresh(model, batch)
            assert_fresh(model.train(), batch)
            model.eval()
        return texts, held_bytes(model) - texts

    texts, shared = per_token * sum(tokens), per_token * distinct
    assert after_both(texts + shared) == (texts, shared)
    assert after_both(texts + shared - 1) == (texts, 0)
    assert after_both(per_token * sum(tokens[:2]))[0] == per_token * sum(tokens[:2])
    assert after_both(0) == (0, 0)


# --- never stale ----------------------------------------------------------------------------------


def full_fine_tuning(model: MiniGPT, batch: Batch, logits_of: Callable[..., Tensor]) -> None:
    """One step of every weight with a fused optimizer, which torch's version counts do not see."""
    config = next(layer for _, layer in lora_layers(model)).config
    unwrap(model).requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, fused=True)
    logits_of(model, batch).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    wrap(model, LoRAConfig(r=config.r, dropout=0.0, target_modules=("mlp.fc2",)), seed=1)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B)


def set_data(model: MiniGPT) -> None:
    """A change that torch's version counts do not see."""
    model.token_embedding.weight.data *= 1.5


def edit_in_place(weight: Tensor) -> None:
    with torch.no_grad():
        weight *= 1.5


def swap_rows(model: MiniGPT) -> None:
    with torch.no_grad():
        model.token_embedding.weight.copy_(model.token_embedding.weight.flip(0))


def load_another(model: MiniGPT, assign: bool) -> None:
    state = {name: tensor * 1.5 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=assign)


def replace_layer(model: MiniGPT) -> None:
    layer = nn.Linear(32, 128).double().requires_grad_(False)
    blocks_of(model)[0].mlp.fc1 = layer


def wrap_others(model: MiniGPT, *targets: str) -> None:
    unwrap(model)
    wrap(model, LoRAConfig(dropout=0.0, target_modules=targets), seed=3)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B)


CHANGES: dict[str, Callable[[MiniGPT, Batch], object]] = {
    "load_state_dict": lambda m, _: load_another(m, assign=False),
    "load_state_dict(assign)": lambda m, _: load_another(m, assign=True),
    "a token embedding": lambda m, _: edit_in_place(m.token_embedding.weight),
    "a position embedding": lambda m, _: edit_in_place(m.position_embedding.weight),
    "a layer norm": lambda m, _: edit_in_place(blocks_of(m)[0].ln_1.bias),
    "the second layer norm": lambda m, _: edit_in_place(blocks_of(m)[0].ln_2.weight),
    "attention": lambda m, _: edit_in_place(blocks_of(m)[0].attn.o_proj.weight),
    "fc1": lambda m, _: edit_in_place(blocks_of(m)[0].mlp.fc1.bias),
    "the base of fc2": lambda m, _: edit_in_place(m.get_parameter("blocks.0.mlp.fc2.base.weight")),
    "rows swapped": lambda m, _: swap_rows(m),
    "data": lambda m, _: set_data(m),
    "fused optimizer": lambda m, b: full_fine_tuning(m, b, FastMiniGPT.scored_logits),
    "fused optimizer, textbook": lambda m, b: full_fine_tuning(m, b, CausalLM.scored_logits),
    "another layer": lambda m, _: replace_layer(m),
    "other targets": lambda m, _: wrap_others(m, "q_proj"),
    "other targets above": lambda m, _: wrap_others(m, "blocks.1.mlp.fc2"),
    "unwrapped": lambda m, _: unwrap(m),
    "merged": lambda m, _: merge_(m),
    "merged and unmerged": lambda m, _: (merge_(m), unmerge_(m)),
    "merged and unwrapped": lambda m, _: (merge_(m), wrap_others(m, "mlp.fc2")),
    "float32 and back": lambda m, _: m.float().double(),
    "above the adapter": lambda m, _: edit_in_place(blocks_of(m)[1].mlp.fc1.bias),
}


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(base: MiniGPT, batch: Batch, change: str, use_dora: bool) -> None:
    model = tuned_copy(base, dropout=0.0, use_dora=use_dora)
    model.precompute([batch])
    for _ in range(2):
        before = model.scored_logits(batch).detach()
    CHANGES[change](model, batch)
    for training in (False, True):
        assert_fresh(model.train(training), batch)
    if change not in ("merged", "merged and unmerged", "float32 and back"):
        assert (model.scored_logits(batch) - before).abs().max() > 1e-3, "must change something"


def test_a_change_of_type_is_seen(base: MiniGPT, batch: Batch) -> None:
    model = tuned_copy(base)
    model.scored_logits(batch)
    model.float()
    found, expected = model.scored_logits(batch), CausalLM.scored_logits(model, batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_activations_that_need_a_gradient_are_not_cached(base: MiniGPT, batch: Batch) -> None:
    model = tuned_copy(base)
    model.scored_logits(batch)
    calls = attention_calls(model)
    weight = blocks_of(model)[0].ln_1.weight.requires_grad_(True)
    for _ in range(2):
        token_losses(model, batch).sum().backward()
    assert calls.count == 2
    assert weight.grad is not None and weight.grad.abs().min() > 0


@pytest.mark.parametrize("block", [0, 1])
def test_weights_below_are_those_that_a_change_of_moves_the_activations(
    base: MiniGPT, batch: Batch, block: int
) -> None:
    model = tuned_copy(base, [f"blocks.{block}.mlp.fc2"]).requires_grad_(True)
    found = {id(weight) for weight in weights_below(model, block)}
    seen: list[Tensor] = []
    fc2 = blocks_of(model)[block].mlp.fc2
    hook = fc2.register_forward_hook(lambda _, x, y: seen.extend([x[0], y]))
    before_mlp = blocks_of(model)[block].ln_2.register_forward_hook(
        lambda _, x, __: seen.append(x[0])
    )
    CausalLM.scored_logits(model, batch)
    sum(tensor.square().sum() for tensor in seen).backward()  # type: ignore[union-attr]
    hook.remove()
    before_mlp.remove()
    names = {name for name, p in model.named_parameters() if p.grad is not None}
    adapters = {name for name in names if "lora_" in name}
    assert {n for n, p in model.named_parameters() if id(p) in found} == names - adapters


def test_sum_of_bits_sees_every_element_and_type() -> None:
    for dtype in (torch.float32, torch.float64, torch.float16):
        for n in (1, 2, 3, 8):
            weight = torch.arange(1.0, n + 1).to(dtype)
            before = sum_of_bits(weight)
            assert sum_of_bits(weight.clone()) == before
            for i in range(n):
                changed = weight.clone()
                changed[i] = torch.nextafter(changed[i], changed[i] + 1)
                assert sum_of_bits(changed) != before


def test_adapt_refuses_a_merged_layer() -> None:
    layer = LoRALinear(nn.Linear(3, 4), r=2)
    x = torch.ones(3)
    y = layer.base(x)
    layer.merge_()
    with pytest.raises(RuntimeError, match="call unmerge_ first"):
        layer.adapt(x, y)
    layer.unmerge_()
    assert torch.equal(layer.adapt(x, y), layer(x))


def test_deepcopy_has_its_own_cache(base: MiniGPT, batch: Batch) -> None:
    model = tuned_copy(base)
    model.scored_logits(batch)
    held = held_bytes(model)
    other = copy.deepcopy(model)
    assert held_bytes(other) == 0
    edit_in_place(other.token_embedding.weight)
    assert_fresh(other, batch)
    assert held_bytes(other) == held_bytes(model) == held
    assert_fresh(model, batch)
