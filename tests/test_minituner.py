"""The model, its adapters and their files: LoRA's invariants, and every file that is refused."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from minituner.fast.optim import AdamW
from project import ROOT
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from minituner.adapter_tensors import (
    base_state_dict,
    load_lora_state_dict,
    lora_parameter_count,
    lora_parameters,
    lora_state_dict,
)
from minituner.data.filter import pair_of_row
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.rows import COLUMNS, Row, base_text
from minituner.data.tokenize import tokenize_pair
from minituner.data.verbs import load_verbs
from minituner.errors import UserError
from minituner.evaluate import Questions, judge, replies
from minituner.lora import (
    LoRALinear,
    lora_layers,
    merge_,
    reset_adapters,
    unmerge_,
    wrap_minigpt_with_lora,
)
from minituner.model import Layout, MiniGPT, MiniGPTConfig, init_weights, parameter_count
from minituner.statistics.audit import effective_rank, scale_audit
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.checkpoint import load_base, save_base
from minituner.storage.tensors import (
    load_safetensors,
    save_safetensors,
    save_tensors,
    weights_sha256,
)
from minituner.train import completion_examples

PAD_ID = 2

RANKS = (2, 4, 8, 16, 32)
ALL_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "mlp.fc1", "mlp.fc2")
ATTENTION = tuple(f"attn.{name}_proj" for name in "qkvo")
LINEARS = (*ATTENTION, "mlp.fc1", "mlp.fc2")


def wrapped(base: MiniGPT, **options: Any) -> MiniGPT:
    """A wrapped copy of ``base``."""
    return wrap_minigpt_with_lora(copy.deepcopy(base), **{"seed": 0, **options})


def give_b_values(model: nn.Module) -> None:
    """Make every adapter one that does something."""
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B)


def bytes_of(state: dict[str, Tensor]) -> dict[str, bytes]:
    """Each tensor's bytes: equal only if every bit is, NaN and the sign of zero included."""
    return {name: tensor.detach().numpy().tobytes() for name, tensor in state.items()}


# --- the model ----------------------------------------------------------------------------------


def reference_logits(model: MiniGPT, ids: Tensor) -> Tensor:
    """MiniGPT written out with plain tensor operations, from its weights' names alone."""
    w, heads, T = model.state_dict(), model.config.n_heads, ids.shape[1]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    future = torch.ones(T, T).triu(diagonal=1).bool()
    x = w["token_embedding.weight"][ids] + w["position_embedding.weight"][:T]
    for i in range(model.config.n_layers):
        at = f"blocks.{i}"
        h = norm(x, f"{at}.ln_1")
        q, k, v = (
            linear(h, f"{at}.attn.{name}_proj").unflatten(-1, (heads, -1)).transpose(1, 2)
            for name in "qkv"
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(future, -1e9).exp()
        mixed = weights / weights.sum(-1, keepdim=True) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"{at}.attn.o_proj")
        h = linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.fc1")
        h = h * (1 + torch.erf(h / math.sqrt(2))) / 2  # the exact GELU: tanh's differs by 1e-4
        x = x + linear(h, f"{at}.mlp.fc2")
    return norm(x, "ln_f") @ w["token_embedding.weight"].T


@torch.no_grad()
def test_the_model_equals_an_independent_implementation(base: MiniGPT, ids: Tensor) -> None:
    base.double()
    torch.testing.assert_close(base(ids), reference_logits(base, ids), rtol=0, atol=1e-9)


@torch.no_grad()
def test_a_later_token_does_not_change_earlier_logits(base: MiniGPT, ids: Tensor) -> None:
    changed = ids.clone()
    changed[:, 5] = (changed[:, 5] + 1) % base.config.vocab_size
    before, after = base(ids), base(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-6)
    assert ((after - before).abs().amax(-1)[:, 5:] > 1e-3).all()


@torch.no_grad()
def test_right_padding_does_not_change_the_logits_of_real_tokens(
    base: MiniGPT, ids: Tensor
) -> None:
    padded = torch.cat([ids, torch.full((3, 6), 2)], dim=1)
    torch.testing.assert_close(base(padded)[:, :8], base(ids), rtol=0, atol=1e-5)


@torch.no_grad()
def test_wanted_tokens_alone_are_returned_and_padding_is_never_read(
    base: MiniGPT, tuned: MiniGPT, ids: Tensor
) -> None:
    lengths = (8, 3, 5)
    real = torch.arange(8) < torch.tensor(lengths)[:, None]
    wanted = real & (torch.arange(8) % 3 > 0)
    for model, alone in ((base.double(), reference_logits), (tuned.double(), MiniGPT.__call__)):
        features = model.features(ids, Layout.of(real), wanted)
        one_by_one = [
            alone(model, row[None, :length])[0][chosen[:length]]
            for row, length, chosen in zip(ids, lengths, wanted, strict=True)
        ]
        expected = torch.cat(one_by_one)
        torch.testing.assert_close(model.head(features), expected, rtol=0, atol=1e-9)
        assert torch.equal(model.features(ids.where(real, 7), Layout.of(real), wanted), features)


def test_the_context_may_be_filled_but_not_exceeded(make_base: Callable[..., MiniGPT]) -> None:
    model = make_base(context_length=8)
    assert model(torch.zeros(1, 8, dtype=torch.int64)).shape == (1, 8, model.config.vocab_size)
    with pytest.raises(ValueError, match="9 tokens\n  expected: at most 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))


@torch.no_grad()
def test_the_head_is_the_token_embedding(base: MiniGPT, ids: Tensor) -> None:
    features = base.features(ids)
    base.token_embedding.weight[7] *= 2
    doubled = base.head(features)[..., 7]
    torch.testing.assert_close(doubled, features @ base.token_embedding.weight[7])
    assert not [name for name, _ in base.named_parameters() if "head" in name]


@pytest.mark.parametrize("shape", [{}, {"d_model": 24, "n_heads": 3, "n_layers": 5}])
def test_the_closed_form_counts_every_weight(
    make_base: Callable[..., MiniGPT], shape: dict[str, int]
) -> None:
    model = make_base(**shape)
    assert parameter_count(model.config) == sum(p.numel() for p in model.parameters())


def test_a_base_starts_as_gpt2_does(config: MiniGPTConfig) -> None:
    models = [MiniGPT(config) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        init_weights(model, torch.Generator().manual_seed(seed))
    first, again, other = (weights_sha256(model.state_dict()) for model in models)
    assert first == again != other
    for name, weight in models[0].state_dict().items():
        if "ln_" in name:
            assert (weight == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert (weight == 0).all()
        else:
            residual = "o_proj" in name or "fc2" in name
            std = 0.02 / math.sqrt(2 * config.n_layers) if residual else 0.02
            assert weight.std().item() == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("wrong", [{"n_heads": 5}, {"n_layers": 0}, {"vocab_size": 0}])
def test_an_impossible_shape_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MiniGPTConfig(**{"vocab_size": 9, "d_model": 32, "n_heads": 4, **wrong})


# --- the adapted layer --------------------------------------------------------------------------


def test_the_layer_computes_what_the_paper_says() -> None:
    linear = nn.Linear(3, 2)
    layer = LoRALinear(linear, r=2, alpha=4.0)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0, 2], [0, 1, -1]]))
        linear.bias.copy_(torch.tensor([0.5, -0.5]))
        layer.lora_A.copy_(torch.tensor([[1.0, 2, 0], [0, 1, 1]]))
        layer.lora_B.copy_(torch.tensor([[3.0, 0], [-1, 2]]))
    # W x + b = (3.5, -0.5); A x = (3, 2); B A x = (9, 1); alpha / r = 2
    assert layer(torch.ones(3)).tolist() == [3.5 + 2 * 9, -0.5 + 2 * 1]
    assert layer.delta.tolist() == [[6, 12, 0], [-2, 0, 4]]


@pytest.mark.parametrize("r", RANKS)
def test_the_scaling_is_alpha_over_r(r: int) -> None:
    assert LoRALinear(nn.Linear(32, 32), r=r, alpha=12.0).scaling == 12 / r


def test_the_base_is_frozen_only_if_asked() -> None:
    for freeze in (True, False):
        layer = LoRALinear(nn.Linear(4, 4), r=2, freeze_base=freeze)
        assert layer.base.weight.requires_grad is not freeze
        assert layer.base.bias.requires_grad is not freeze


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"r": 0}, "rank"),
        ({"r": 33}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_a_hyperparameter_out_of_range_is_refused_and_the_model_stays(
    base: MiniGPT, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(UserError, match=f"^{name}: out of range"):
        wrap_minigpt_with_lora(base, **options)
    assert not list(lora_layers(base))
    assert all(parameter.requires_grad for parameter in base.parameters())
    with pytest.raises(UserError, match=f"^{name}: out of range"):
        LoRALinear(nn.Linear(32, 64), **options)


# --- the layer's variants -----------------------------------------------------------------------


@pytest.mark.parametrize("r", RANKS)
def test_rslora_scales_by_alpha_over_the_root_of_r(r: int) -> None:
    layer = LoRALinear(nn.Linear(32, 32), r=r, alpha=12.0, use_rslora=True)
    assert layer.scaling == pytest.approx(12 * r**-0.5)
    nn.init.ones_(layer.lora_B)
    plain = LoRALinear(layer.base, r=r, alpha=12.0)
    with torch.no_grad():
        plain.lora_A.copy_(layer.lora_A)
        plain.lora_B.copy_(layer.lora_B)
    assert torch.allclose(layer.delta, plain.delta * r**0.5)


def dora(generator_seed: int = 0, **options: Any) -> LoRALinear:
    """A DoRA layer, 5 to 3, all of whose weights are drawn."""
    torch.manual_seed(generator_seed)
    layer = LoRALinear(nn.Linear(5, 3), r=2, alpha=4.0, use_dora=True, **options)
    nn.init.normal_(layer.lora_B)
    with torch.no_grad():
        assert layer.magnitude is not None
        layer.magnitude.mul_(torch.tensor([0.5, 2.0, 1.0]))
    return layer


def test_dora_computes_what_its_paper_says() -> None:
    """Eq. 5: W' = m (W + BA) / |W + BA|, the norm of each output's row; the bias stands apart."""
    layer = dora()
    magnitude = layer.magnitude
    assert magnitude is not None
    direction = layer.base.weight + 2.0 * layer.lora_B @ layer.lora_A
    weight = magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)
    x = torch.randn(4, 5)
    assert torch.allclose(layer(x), x @ weight.T + layer.base.bias, atol=1e-6)
    assert torch.allclose(layer.base.weight + layer.delta, weight, atol=1e-6)
    assert torch.allclose(weight.norm(dim=1), magnitude, atol=1e-6)


def test_dora_over_a_dead_output_stays_finite() -> None:
    linear = nn.Linear(5, 3)
    nn.init.zeros_(linear.weight)
    layer = LoRALinear(linear, r=2, use_dora=True)
    y = layer(torch.ones(2, 5))
    assert torch.equal(y, linear.bias.expand(2, 3))
    y.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters() if p.grad is not None)


def test_dora_treats_the_norm_as_a_constant_in_the_gradient() -> None:
    layer = dora()
    assert layer.magnitude is not None
    x = torch.randn(4, 5)
    layer(x).sum().backward()
    with torch.no_grad():
        direction = layer.base.weight + 2.0 * layer.lora_B @ layer.lora_A
        ratio = layer.magnitude / direction.norm(dim=1)
        of_outputs = ratio.expand(4, 3)  # d sum / d (B A x), the norm held fixed
        expected_b = 2.0 * of_outputs.T @ (x @ layer.lora_A.T)
        expected_m = (x @ direction.T / direction.norm(dim=1)).sum(0)
    assert layer.lora_B.grad is not None and layer.magnitude.grad is not None
    assert torch.allclose(layer.lora_B.grad, expected_b, atol=1e-5)
    assert torch.allclose(layer.magnitude.grad, expected_m, atol=1e-5)
    assert layer.base.weight.grad is None


def test_dora_starts_as_its_base_and_has_one_weight_an_output_more(
    base: MiniGPT, ids: Tensor
) -> None:
    model = wrapped(base, r=4, target_modules=("q_proj", "mlp.fc2"), use_dora=True)
    assert torch.allclose(model(ids), base(ids), atol=1e-5)
    shapes = [(layer.base.out_features, layer.base.in_features) for _, layer in lora_layers(model)]
    counted = sum(p.numel() for p in lora_parameters(model))
    assert counted == lora_parameter_count(shapes, 4, use_dora=True)
    assert counted == lora_parameter_count(shapes, 4) + 2 * (32 + 32)


def test_a_variant_survives_its_file_merging_and_resetting(
    base: MiniGPT, ids: Tensor, tmp_path: Path
) -> None:
    for options in ({"use_dora": True}, {"use_rslora": True}):
        model = wrapped(base, r=4, alpha=12.0, dropout=0.0, **options).eval()
        start = bytes_of(lora_state_dict(model))
        give_b_values(model)
        for _, layer in lora_layers(model):
            if layer.magnitude is not None:
                with torch.no_grad():
                    layer.magnitude += 0.25
        save_adapter(tmp_path / "a.pt", model, weights_sha256(base.state_dict()), seed=0)
        loaded = load_adapter(tmp_path / "a.pt", copy.deepcopy(base))
        assert torch.equal(loaded(ids), model(ids))
        logits = model(ids)
        merge_(model)
        assert torch.allclose(model(ids), logits, atol=1e-4)
        assert bytes_of(base_state_dict(model)) == bytes_of(base.state_dict())
        unmerge_(model)
        assert torch.equal(model(ids), logits)
        reset_adapters(model, 0)
        assert bytes_of(lora_state_dict(model)) == start


# --- the scale audit ----------------------------------------------------------------------------


def test_the_audit_is_that_of_the_whole_update(base: MiniGPT) -> None:
    model = wrapped(base, r=4, alpha=12.0, target_modules=("v_proj", "mlp.fc1"))
    give_b_values(model)
    rows = {row["layer"]: row for row in scale_audit(model)}
    assert list(rows) == [name for name, _ in lora_layers(model)]
    for name, layer in lora_layers(model):
        singular = torch.linalg.svdvals(layer.delta.detach().double())
        row = rows[name]
        assert row["scaling"] == 3.0
        assert row["largest_b"] == layer.lora_B.abs().max().item()
        assert row["relative_norm"] == pytest.approx(
            (layer.delta.norm() / layer.base.weight.norm()).item(), rel=1e-5
        )
        assert row["singular_values"] == pytest.approx(singular[:4].tolist(), rel=1e-4)
        assert singular[4:].max() < 1e-4
        assert 1 < row["effective_rank"] <= 4


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 2.0, 2.0], 3.0), ([5.0, 0.0], 1.0), ([0.0, 0.0], 0.0), ([3.0, 1.0], 1.7547653)],
)
def test_the_effective_rank_is_exp_of_an_entropy(values: list[float], expected: float) -> None:
    # 3/4 and 1/4: exp(0.75 ln(4/3) + 0.25 ln 4)
    assert effective_rank(torch.tensor(values).double()) == pytest.approx(expected)


def test_an_adapter_at_its_start_is_no_update_and_dora_has_an_audit_too(base: MiniGPT) -> None:
    start = scale_audit(wrapped(base, r=4))
    assert {row["relative_norm"] for row in start} == {0.0}
    assert {row["effective_rank"] for row in start} == {0.0}
    assert scale_audit(base) == []
    model = wrapped(base, r=4, use_dora=True)
    give_b_values(model)
    for row, (_, layer) in zip(scale_audit(model), lora_layers(model), strict=True):
        assert row["relative_norm"] == pytest.approx(
            (layer.delta.norm() / layer.base.weight.norm()).item(), rel=1e-4
        )


# --- wrapping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("r", RANKS)
def test_a_wrapped_model_starts_bit_for_bit_as_its_base(
    base: MiniGPT, ids: Tensor, r: int, training: bool
) -> None:
    model = wrapped(base, r=r, target_modules=ALL_TARGETS, dropout=0.5).train(training)
    assert len(list(lora_layers(model))) == 12
    assert torch.equal(model(ids), base(ids))


def expected_names(adapted: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """The names of a two-layer model's trainable and frozen parameters, written out."""
    trainable, frozen = set(), {"token_embedding.weight", "position_embedding.weight"}
    for part in ("weight", "bias"):
        frozen |= {f"ln_f.{part}"}
        for i in range(2):
            frozen |= {f"blocks.{i}.ln_1.{part}", f"blocks.{i}.ln_2.{part}"}
            for linear in LINEARS:
                inside = ".base" if linear in adapted else ""
                frozen.add(f"blocks.{i}.{linear}{inside}.{part}")
    for i in range(2):
        trainable |= {f"blocks.{i}.{linear}.lora_{x}" for linear in adapted for x in "AB"}
    return trainable, frozen


@pytest.mark.parametrize("adapted", [("mlp.fc2",), ("attn.q_proj", "attn.v_proj"), LINEARS])
def test_only_adapters_learn_and_everything_else_stays_byte_for_byte(
    base: MiniGPT, ids: Tensor, adapted: tuple[str, ...]
) -> None:
    model = wrapped(base, r=4, target_modules=adapted).train()
    trainable, frozen = expected_names(adapted)
    before = bytes_of(model.state_dict())
    assert sorted(before) == sorted([*trainable, *frozen])

    optimizer = AdamW(lora_parameters(model), 1e-2)
    for _ in range(2):  # B is zero in the first step, so A moves by the loss only in the second
        optimizer.zero_grad()
        model(ids).logsumexp(-1).sum().backward()
        optimizer.step()

    gradients = {name for name, p in model.named_parameters() if p.grad is not None}
    assert gradients == trainable
    after = bytes_of(model.state_dict())
    assert {name for name in after if after[name] != before[name]} == trainable


def test_lora_parameters_are_exactly_those_that_want_a_gradient(base: MiniGPT) -> None:
    model = wrapped(base, r=4, target_modules=("k_proj", "fc1"))
    wanting = [p for p in model.parameters() if p.requires_grad]
    assert [id(p) for p in lora_parameters(model)] == [id(p) for p in wanting]


@pytest.mark.parametrize("r", RANKS)
@pytest.mark.parametrize(
    ("target_modules", "sides"),  # in + out of the adapted layers of one block, at d = 32
    [
        (("mlp.fc2",), 128 + 32),
        (("q_proj", "v_proj"), 2 * (32 + 32)),
        (ALL_TARGETS, 4 * (32 + 32) + 2 * (128 + 32)),
    ],
)
def test_the_adapter_has_as_many_weights_as_its_closed_form(
    base: MiniGPT, r: int, target_modules: tuple[str, ...], sides: int
) -> None:
    model = wrapped(base, r=r, target_modules=target_modules)
    layers = [layer.base for _, layer in lora_layers(model)]
    closed_form = lora_parameter_count([(x.out_features, x.in_features) for x in layers], r)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert closed_form == counted == 2 * r * sides


def test_an_unknown_target_is_refused_and_the_model_stays(base: MiniGPT, ids: Tensor) -> None:
    before, logits = bytes_of(base.state_dict()), base(ids)
    with pytest.raises(UserError) as refusal:
        wrap_minigpt_with_lora(base, target_modules=("q_proj", "gate_proj"))
    assert "found:    gate_proj\n" in str(refusal.value)
    assert all(linear in str(refusal.value) for linear in LINEARS)
    assert bytes_of(base.state_dict()) == before
    assert all(parameter.requires_grad for parameter in base.parameters())
    assert torch.equal(base(ids), logits)


def test_half_a_name_is_no_target(base: MiniGPT) -> None:
    for target in ("proj", "fc", "p.fc2"):
        with pytest.raises(UserError, match="matches no linear layer"):
            wrap_minigpt_with_lora(base, target_modules=(target,))


def test_no_target_at_all_is_refused(base: MiniGPT) -> None:
    with pytest.raises(UserError, match="an empty list"):
        wrap_minigpt_with_lora(base, target_modules=())


def test_wrapping_the_same_layers_twice_is_refused(base: MiniGPT) -> None:
    model = wrapped(base, r=4)
    before = bytes_of(model.state_dict())
    with pytest.raises(UserError, match="has adapters already"):
        wrap_minigpt_with_lora(model, r=4)
    assert bytes_of(model.state_dict()) == before
    assert all(p.requires_grad for p in lora_parameters(model))


@pytest.mark.parametrize("target", ["v_proj", "base"])
def test_wrapping_other_layers_of_a_wrapped_model_is_refused(base: MiniGPT, target: str) -> None:
    model = wrapped(base, r=4, target_modules=("q_proj",))
    with pytest.raises(UserError):
        wrap_minigpt_with_lora(model, r=8, target_modules=(target,))


@torch.no_grad()
def test_wrapping_keeps_the_mode_of_the_model(base: MiniGPT, ids: Tensor) -> None:
    model = wrapped(base.eval(), r=4, dropout=0.5)
    give_b_values(model)
    assert torch.equal(model(ids), model(ids)), "dropout is live in a model in eval mode"


# --- the adapter's start ------------------------------------------------------------------------


@pytest.mark.parametrize("r", RANKS[:-1])
def test_a_smaller_rank_starts_with_the_first_rows_of_the_largest(base: MiniGPT, r: int) -> None:
    small = dict(lora_layers(wrapped(base, r=r, target_modules=ALL_TARGETS, seed=3)))
    large = dict(lora_layers(wrapped(base, r=32, target_modules=ALL_TARGETS, seed=3)))
    assert len(small) == 12
    for name, layer in small.items():
        assert torch.equal(layer.lora_A, large[name].lora_A[:r])
        assert not layer.lora_B.any()


def test_layers_and_seeds_start_differently(base: MiniGPT) -> None:
    starts = [
        layer.lora_A.detach().numpy().tobytes()
        for seed in (0, 1)
        for _, layer in lora_layers(wrapped(base, r=2, target_modules=ATTENTION, seed=seed))
    ]
    assert len(starts) == 16
    assert len(set(starts)) == 16


def test_a_seed_starts_a_layer_alike_whatever_else_is_adapted(base: MiniGPT) -> None:
    alone = lora_state_dict(wrapped(base, target_modules=("mlp.fc2",)))
    among_all = lora_state_dict(wrapped(base, target_modules=ALL_TARGETS))
    assert all(torch.equal(tensor, among_all[name]) for name, tensor in alone.items())


def test_without_a_seed_the_start_follows_torch_and_is_drawn_anew(base: MiniGPT) -> None:
    torch.manual_seed(4)
    first, second = (lora_state_dict(wrapped(base, seed=None)) for _ in range(2))
    torch.manual_seed(4)
    again = lora_state_dict(wrapped(base, seed=None))
    assert bytes_of(first) == bytes_of(again) != bytes_of(second)


def test_a_is_uniform_within_the_kaiming_bound(base: MiniGPT) -> None:
    for _, layer in lora_layers(wrapped(base, r=32, target_modules=ALL_TARGETS)):
        bound = 1 / math.sqrt(layer.base.in_features)
        assert 0.95 * bound < layer.lora_A.abs().max().item() <= bound
        assert layer.lora_A.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_resetting_undoes_training(base: MiniGPT) -> None:
    model = wrapped(base, r=4, seed=2)
    start = bytes_of(lora_state_dict(model))
    give_b_values(model)
    assert bytes_of(lora_state_dict(model)) != start
    reset_adapters(model, 2)
    assert bytes_of(lora_state_dict(model)) == start


# --- dropout ------------------------------------------------------------------------------------


def dropout_revealed(r: int, dropout: float) -> LoRALinear:
    """A layer that returns its dropped-out inputs: zero base, B A the identity of rank r."""
    linear = nn.Linear(8, 8)
    layer = LoRALinear(linear, r, float(r), dropout)
    layer.dropout_rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (linear.weight, linear.bias):
            parameter.zero_()
        layer.lora_A.copy_(torch.eye(8)[:r])
        layer.lora_B.copy_(torch.eye(8)[:, :r])
    return layer


@torch.no_grad()
def test_dropout_zeroes_its_share_of_inputs_and_scales_up_the_rest() -> None:
    x = torch.rand(500, 8) + 1
    y = dropout_revealed(8, 0.25).train()(x)
    kept = y != 0
    assert kept.double().mean().item() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(y[kept], (x / 0.75)[kept])


@torch.no_grad()
def test_dropout_is_live_in_training_only(tuned: MiniGPT, ids: Tensor) -> None:
    calm = tuned(ids)
    assert torch.equal(tuned(ids), calm)
    tuned.train()
    first, second = tuned(ids), tuned(ids)
    assert not torch.equal(first, second)
    assert not torch.equal(first, calm)
    assert torch.equal(tuned.eval()(ids), calm)


@torch.no_grad()
@pytest.mark.parametrize("r", [1, 2, 4])
def test_every_rank_drops_the_same_inputs(r: int) -> None:
    small, large = dropout_revealed(r, 0.5).train(), dropout_revealed(8, 0.5).train()
    for _ in range(3):
        assert torch.equal(small(torch.ones(20, 8))[:, :r], large(torch.ones(20, 8))[:, :r])


@torch.no_grad()
def test_a_models_dropout_stream_depends_on_the_seed_and_not_on_the_rank(
    base: MiniGPT, ids: Tensor
) -> None:
    states = []
    for r, seed in ((2, 0), (32, 0), (2, 1)):
        model = wrapped(base, r=r, seed=seed, dropout=0.5).train()
        model(ids)
        generators = {id(layer.dropout_rng) for _, layer in lora_layers(model)}
        layer = next(layer for _, layer in lora_layers(model))
        assert len(generators) == 1 and layer.dropout_rng is not None
        states.append(layer.dropout_rng.get_state().numpy().tobytes())
    assert states[0] == states[1] != states[2]


@torch.no_grad()
def test_dropout_leaves_the_base_path_alone(base: MiniGPT) -> None:
    layer = LoRALinear(base.blocks[0].mlp.fc1, r=4, dropout=0.9).train()
    x = torch.randn(5, 32)
    before = layer(x) - layer.base(x)
    assert not before.any()  # B is zero: all that dropout could touch is nothing
    nn.init.normal_(layer.lora_B)
    assert (layer(x) - layer.base(x)).any()


# --- merging ------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("r", RANKS)
def test_merged_equals_unmerged_again_and_again(base: MiniGPT, ids: Tensor, r: int) -> None:
    model = wrapped(base, r=r, target_modules=ALL_TARGETS).eval()
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, std=0.01)
    plain, adapted = base(ids), model(ids)
    assert (adapted - plain).abs().max() > 1e-2, "the adapter must do something first"
    weights = bytes_of(model.state_dict())
    for _ in range(3):
        merge_(model)
        assert all(layer.merged for _, layer in lora_layers(model))
        torch.testing.assert_close(model(ids), adapted, rtol=0, atol=1e-5)
        unmerge_(model)
        assert bytes_of(model.state_dict()) == weights
        assert torch.equal(model(ids), adapted)


@torch.no_grad()
def test_the_merged_weight_alone_does_the_work(base: MiniGPT, tuned: MiniGPT, ids: Tensor) -> None:
    merge_(tuned)
    for name, layer in lora_layers(tuned):
        base.get_submodule(name).weight.copy_(layer.base.weight)
    assert torch.equal(base(ids), tuned(ids))


@torch.no_grad()
def test_merging_twice_is_merging_once(tuned: MiniGPT) -> None:
    before = bytes_of(tuned.state_dict())
    merge_(tuned)
    once = bytes_of(tuned.state_dict())
    merge_(tuned)
    assert bytes_of(tuned.state_dict()) == once != before
    unmerge_(tuned)
    unmerge_(tuned)
    assert bytes_of(tuned.state_dict()) == before


@torch.no_grad()
def test_train_and_eval_neither_merge_nor_unmerge(tuned: MiniGPT, ids: Tensor) -> None:
    apart = bytes_of(tuned.state_dict())
    tuned.train().eval()
    assert bytes_of(tuned.state_dict()) == apart
    merge_(tuned)
    merged, logits = bytes_of(tuned.state_dict()), tuned(ids)
    tuned.train()
    assert bytes_of(tuned.state_dict()) == merged
    assert torch.equal(tuned(ids), logits)  # nor does dropout touch a merged adapter
    tuned.eval()
    assert bytes_of(tuned.state_dict()) == merged != apart


# --- what is saved ------------------------------------------------------------------------------


def test_the_base_comes_out_of_a_wrapped_model_as_it_went_in(base: MiniGPT, tuned: MiniGPT) -> None:
    inside = base_state_dict(tuned)
    assert list(inside) == list(base.state_dict())
    assert bytes_of(inside) == bytes_of(base.state_dict())
    assert weights_sha256(inside) == weights_sha256(base.state_dict())


def test_the_hash_of_weights_sees_names_shapes_and_bytes() -> None:
    x = torch.arange(6.0)
    states = [{"a": x}, {"b": x}, {"a": x.view(2, 3)}, {"a": -x}, {"a": x.double()}, {}]
    assert len({weights_sha256(state) for state in states}) == len(states)
    assert weights_sha256({"a": x, "b": -x}) == weights_sha256({"b": -x, "a": x})


def test_a_base_survives_its_file_bit_for_bit(base: MiniGPT, ids: Tensor, tmp_path: Path) -> None:
    save_base(tmp_path / "best.pt", base.train())
    loaded = load_base(tmp_path / "best.pt")
    assert loaded.config == base.config
    assert bytes_of(loaded.state_dict()) == bytes_of(base.state_dict())
    assert torch.equal(loaded(ids), base(ids))
    assert not loaded.training
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_the_same_model_is_saved_as_the_same_bytes(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        save_base(tmp_path / name / "best.pt", copy.deepcopy(base))
        save_adapter(tmp_path / name / "adapter.pt", copy.deepcopy(tuned), "0" * 64, seed=5)
    for file in ("best.pt", "adapter.pt"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    before = (tmp_path / "one" / "best.pt").read_bytes()
    with torch.no_grad():
        base.ln_f.bias[0] += 1
    save_base(tmp_path / "one" / "best.pt", base)
    assert (tmp_path / "one" / "best.pt").read_bytes() != before


def test_a_base_file_holds_its_weights_and_nothing_else(base: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    assert set(torch.load(path, weights_only=True)) == {
        "format",
        "config",
        "tokenizer_sha256",
        "weights",
    }
    weights = 4 * parameter_count(base.config)
    assert weights < path.stat().st_size < 1.2 * weights


KINDS = pytest.mark.parametrize("kind", ["pt", "safetensors"])


@KINDS
def test_an_adapter_survives_its_file(
    base: MiniGPT, tuned: MiniGPT, ids: Tensor, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"adapter.{kind}"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    logits, plain = tuned(ids), base(ids)
    loaded = load_adapter(path, base.train())
    assert not torch.equal(logits, plain)
    assert torch.equal(loaded(ids), logits)
    assert bytes_of(lora_state_dict(loaded)) == bytes_of(lora_state_dict(tuned))
    layers = dict(lora_layers(loaded))
    assert set(layers) == {f"blocks.{i}.{x}" for i in range(2) for x in ("attn.q_proj", "mlp.fc2")}
    assert {(x.r, x.alpha, x.dropout, x.scaling) for x in layers.values()} == {(4, 12.0, 0.1, 3.0)}


def test_the_safetensors_say_where_they_are_from(tuned: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, tuned, "ab" * 32, seed=5, provenance={"tokenizer_sha256": "cd" * 32})
    with safe_open(path, framework="pt") as stream:  # the library's own reader
        said = stream.metadata()
        names = set(stream.keys())
        assert all(stream.get_tensor(name).any() for name in names if name.endswith("lora_A"))
    assert names == set(lora_state_dict(tuned))
    layers = [f"blocks.{i}.{x}" for i in range(2) for x in ("attn.q_proj", "mlp.fc2")]
    assert said | {"target_modules": json.loads(said["target_modules"])} == {
        "format": "pt",
        "minituner_format": "minituner-lora-1",
        "base_sha256": "ab" * 32,
        "r": "4",
        "alpha": "12.0",
        "dropout": "0.1",
        "target_modules": layers,
        "seed": "5",
        "use_rslora": "false",
        "use_dora": "false",
        "scaling": "3.0",
        "tokenizer_sha256": "cd" * 32,
    }


def test_metadata_stand_in_the_order_given(tmp_path: Path) -> None:
    # The library's own order differs from run to run, and so would the bytes.
    path = tmp_path / "t.safetensors"
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    for names in ([f"key {i}" for i in range(20)], [f"key {i}" for i in reversed(range(20))]):
        save_safetensors(path, tensors, dict.fromkeys(names, "ä"))
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        assert size % 8 == 0
        assert list(json.loads(content[8 : 8 + size])["__metadata__"]) == names
        loaded, said = load_safetensors(path)
        assert said == dict.fromkeys(names, "ä")
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("damage", ["cut short", "no config", "a word for a number", "not there"])
def test_safetensors_that_are_no_adapter_are_refused(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    tensors, said = load_safetensors(path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "no config":
        save_safetensors(path, tensors, {"format": "pt"})
    elif damage == "a word for a number":
        save_safetensors(path, tensors, said | {"r": "four"})
    else:
        path.unlink()
    with pytest.raises(UserError) as refusal:
        load_adapter(path, base)
    assert str(refusal.value).startswith(f"{path}: ")


def test_a_loaded_adapter_is_ready_to_evaluate(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    save_adapter(tmp_path / "adapter.pt", tuned, weights_sha256(base.state_dict()), seed=5)
    loaded = load_adapter(tmp_path / "adapter.pt", base.train())
    assert not any(module.training for module in loaded.modules())
    wanting = {name for name, p in loaded.named_parameters() if p.requires_grad}
    assert wanting == set(lora_state_dict(loaded))


def test_a_second_adapter_is_not_put_over_the_first(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    base_sha256 = weights_sha256(base.state_dict())
    save_adapter(tmp_path / "adapter.pt", tuned, base_sha256, seed=5)
    once = load_adapter(tmp_path / "adapter.pt", base)
    with pytest.raises(UserError):
        load_adapter(tmp_path / "adapter.pt", once)
    with pytest.raises(UserError):
        load_adapter(tmp_path / "adapter.pt", once, base_sha256)


def test_a_broken_adapter_is_not_saved_over_a_good_one(tuned: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, "0" * 64, seed=5)
    before = path.read_bytes()
    with torch.no_grad():
        lora_parameters(tuned)[-1][0, 0] = math.nan
    with pytest.raises(UserError, match=r"not finite[\s\S]*blocks\.1\.mlp\.fc2\.lora_B"):
        save_adapter(path, tuned, "0" * 64, seed=5)
    assert path.read_bytes() == before


def test_tensors_that_do_not_fit_load_nothing(tuned: MiniGPT) -> None:
    before = bytes_of(tuned.state_dict())
    state = {name: torch.zeros_like(tensor) for name, tensor in lora_state_dict(tuned).items()}
    with pytest.raises(UserError, match=r"missing[\s\S]*blocks\.1\.mlp\.fc2\.lora_B"):
        load_lora_state_dict(tuned, dict(list(state.items())[:-1]))
    assert bytes_of(tuned.state_dict()) == before


# --- what is refused ----------------------------------------------------------------------------


def test_an_unwrapped_or_merged_model_has_no_adapter_to_save(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has no adapters"):
        save_adapter(tmp_path / "a.pt", base, "0" * 64, seed=0)
    merge_(tuned)
    with pytest.raises(UserError, match="merged into the base"):
        save_adapter(tmp_path / "a.pt", tuned, "0" * 64, seed=0)
    assert not (tmp_path / "a.pt").exists()


@pytest.mark.parametrize(("key", "value"), [("d_model", 32.0), ("n_layers", "2"), ("n_heads", 0)])
def test_a_base_whose_shape_is_no_whole_number_is_refused(
    base: MiniGPT, tmp_path: Path, key: str, value: object
) -> None:
    save_base(tmp_path / "best.pt", base)
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    content["config"][key] = value
    save_tensors(tmp_path / "best.pt", content)
    with pytest.raises(UserError, match=f"its config cannot be used(.|\n)*{key} must be a whole"):
        load_base(tmp_path / "best.pt")


def refusal_of(load: Callable[[], object], path: Path) -> str:
    """The message of the UserError that ``load`` raises; it names the path and a way to fix it."""
    with pytest.raises(UserError) as refusal:
        load()
    assert str(refusal.value).startswith(f"{path}: ")
    assert str(refusal.value).rpartition("fix:")[2].strip()
    return str(refusal.value)


def _rename(mapping: dict[str, Any], old: str, new: str) -> None:
    mapping[new] = mapping.pop(old)


BASE_DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing tensor": (lambda v: v["weights"].pop("ln_f.bias"), "missing.*ln_f.bias"),
    "an extra tensor": (lambda v: v["weights"].update(bonus=torch.ones(1)), "unknown.*bonus"),
    "a wrong shape": (
        lambda v: v["weights"].update({"ln_f.bias": torch.ones(3)}),
        r"shape.*ln_f.bias \(3,\).*ln_f.bias \(32,\)",
    ),
    "a NaN": (lambda v: v["weights"]["ln_f.bias"].fill_(math.nan), "not finite.*ln_f.bias"),
    "an infinity": (lambda v: v["weights"]["ln_f.bias"].fill_(math.inf), "not finite.*ln_f.bias"),
    "a misspelt key": (lambda v: _rename(v["config"], "d_model", "d_modle"), "config.*d_modle"),
    "an impossible shape": (lambda v: v["config"].update(n_heads=5), "config.*n_heads 5"),
    "another width": (lambda v: v["config"].update(d_model=16), "shape.*expected.*16"),
    "no config": (lambda v: v.pop("config"), "config"),
    "another format": (lambda v: v.update(format="gpt2"), "another format.*gpt2.*minigpt-1"),
    "no format": (lambda v: v.pop("format"), "another format.*minigpt-1"),
}


@pytest.mark.parametrize("damage", BASE_DAMAGES)
def test_a_base_that_does_not_fit_is_refused(base: MiniGPT, tmp_path: Path, damage: str) -> None:
    change, expected = BASE_DAMAGES[damage]
    path = tmp_path / "best.pt"
    save_base(path, base)
    value = torch.load(path)
    change(value)
    save_tensors(path, value)
    message = refusal_of(lambda: load_base(path), path)
    assert re.search(expected, message, re.DOTALL), message


def test_a_base_of_another_kind_of_file_is_refused(base: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    assert "no such file" in refusal_of(lambda: load_base(path), path)
    save_base(path, base)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", b"no checkpoint at all\n" * 99):
        path.write_bytes(damaged)
        assert "cannot be read" in refusal_of(lambda: load_base(path), path)
    save_tensors(path, {"ln_f.bias": torch.ones(32)})  # a bare state_dict
    assert "another format" in refusal_of(lambda: load_base(path), path)


def test_base_and_adapter_are_not_taken_for_each_other(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    best, adapter = tmp_path / "best.pt", tmp_path / "adapter.pt"
    save_base(best, base)
    save_adapter(adapter, tuned, weights_sha256(base.state_dict()), seed=5)
    assert "minituner-lora-1" in refusal_of(lambda: load_base(adapter), adapter)
    assert "minigpt-1" in refusal_of(lambda: load_adapter(best, base), best)


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.victim), "w")


@pytest.mark.parametrize("kind", ["a pickle", "a checkpoint"])
def test_code_in_a_file_is_never_run(base: MiniGPT, tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "best.pt", tmp_path / "victim"
    value = {"format": "minigpt-1", "config": {}, "weights": {"x": Payload(victim)}}
    if kind == "a pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
        pickle.loads(path.read_bytes())["weights"]["x"].close()
    else:
        torch.save(value, path)
        torch.load(path, weights_only=False)["weights"]["x"].close()
    assert victim.exists(), "the payload must be live, or the test shows nothing"
    victim.unlink()
    for load in (lambda: load_base(path), lambda: load_adapter(path, base)):
        assert "nothing in it was executed" in refusal_of(load, path)
    assert not victim.exists()


ADAPTER_DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing tensor": (
        lambda v: v["weights"].pop("blocks.0.mlp.fc2.lora_A"),
        r"missing.*blocks\.0\.mlp\.fc2\.lora_A",
    ),
    "an extra tensor": (lambda v: v["weights"].update(bonus=torch.ones(1)), "unknown.*bonus"),
    "another rank": (lambda v: v["config"].update(r=8), r"shape.*lora_A \(4, "),
    "a NaN": (
        lambda v: v["weights"]["blocks.0.mlp.fc2.lora_B"].fill_(math.nan),
        r"not finite.*blocks\.0\.mlp\.fc2\.lora_B",
    ),
    "a misspelt key": (lambda v: _rename(v["config"], "alpha", "aplha"), "config.*aplha"),
    "no alpha": (lambda v: v["config"].pop("alpha"), "config.*alpha"),
    "no targets": (lambda v: v["config"].pop("target_modules"), "config.*target_modules"),
    "another format": (lambda v: v.update(format="minituner-lora-0"), "format.*minituner-lora-1"),
}


@pytest.mark.parametrize("damage", ADAPTER_DAMAGES)
def test_an_adapter_that_does_not_fit_is_refused(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, damage: str
) -> None:
    change, expected = ADAPTER_DAMAGES[damage]
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    value = torch.load(path)
    change(value)
    save_tensors(path, value)
    message = refusal_of(lambda: load_adapter(path, base), path)
    assert re.search(expected, message, re.DOTALL), message


@pytest.mark.parametrize(
    "values",
    [{"r": 0}, {"r": "4"}, {"alpha": -1.0}, {"target_modules": ["gate"]}, {"base_sha256": None}],
)
def test_a_value_in_an_adapter_that_cannot_be_is_refused_naming_the_file(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    value = torch.load(path)
    value["config"] |= values
    save_tensors(path, value)
    refusal_of(lambda: load_adapter(path, base), path)


@pytest.mark.parametrize("tensor", [3, torch.ones(32).half(), torch.ones(32).long()])
def test_a_base_tensor_of_another_type_is_refused(
    base: MiniGPT, ids: Tensor, tmp_path: Path, tensor: object
) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    value = torch.load(path)
    value["weights"]["ln_f.bias"] = tensor
    save_tensors(path, value)
    refusal_of(lambda: load_base(path)(ids), path)


@KINDS
def test_an_adapter_of_another_base_is_refused_by_name(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"adapter.{kind}"
    own = weights_sha256(base.state_dict())
    save_adapter(path, tuned, own, seed=5)
    with torch.no_grad():
        base.ln_f.bias[0] += 1e-6  # one weight, one bit or so
    other = weights_sha256(base.state_dict())
    message = refusal_of(lambda: load_adapter(path, base), path)
    assert f"found:    base {own[:12]}\n" in message
    assert f"expected: base {other[:12]}\n" in message
    assert not list(lora_layers(base))


# --- what is judged and what is taught ------------------------------------------------------------


def test_come_does_not_beat_comed_by_being_its_prefix(
    bigram: Callable[..., MiniGPT], pairs: list[TokenizedPair]
) -> None:
    ask, come, d, end = range(10, 14)
    answer = [come, end]
    pair = replace(
        pairs[2],
        prompt_ids=[0, ask],
        target_ids=answer,
        correct_ids=answer,
        wrong_ids=[come, d, end],
    )
    # Without the end, come would have P = 1/2 and comed 1/2 * 0.9. With it, 1/2 * 0.05 and
    # 1/2 * 0.9 * 0.8.
    model = bigram({(ask, come): 0.5, (come, end): 0.05, (come, d): 0.9, (d, end): 0.8})
    (reply,) = replies(model, Questions.of([pair], PAD_ID))
    judgment = judge(reply)
    assert judgment.margin == pytest.approx(math.log(0.05) - math.log(0.9 * 0.8))
    assert not judgment.correct


def test_the_spanish_never_enters_a_judgment(
    base: MiniGPT, tokenizer: Tokenizer, raw_pairs: list[Pair]
) -> None:
    plain = [replace(raw, spanish="fue") for raw in raw_pairs]
    changed = [replace(raw, spanish="otra cosa muy larga") for raw in raw_pairs]
    one, other = (
        [
            judge(reply).margin
            for reply in replies(
                base.double(),
                Questions.of([tokenize_pair(raw, tokenizer) for raw in some], PAD_ID),
            )
        ]
        for some in (plain, changed)
    )
    assert one == pytest.approx(other, rel=1e-12)


def correction(written: str) -> Row:
    """One half of a correction pair."""
    wrong = written == "goed"
    values: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "id": f"corrections-{written}",
        "text": f"He {written} home.",
        "verb_lemma": "go",
        "tense": "past_simple",
        "person": "3sg",
        "english_regularity": "irregular",
        "label": "mis_conjugated" if wrong else "correct",
        "mis_conjugation_type": "over_regularized" if wrong else None,
        "correct_form": "went" if wrong else None,
        "prompt": "He __ home.",
        "target": "went / fue",
    }
    return Row(**values, path="corrections.jsonl", line=1)


def test_the_wrong_side_of_a_correction_pair_is_never_the_target(tokenizer: Tokenizer) -> None:
    verbs = load_verbs(ROOT / "data" / "raw" / "verbs.yaml")
    wrong, right = (pair_of_row(correction(form), verbs) for form in ("goed", "went"))
    assert replace(wrong, id="") == replace(right, id="")
    assert (wrong.english, wrong.wrong) == ("went", "goed")
    pair = tokenize_pair(wrong, tokenizer)
    assert tokenizer.decode(pair.target_ids) == " went / fue"
    (example,) = completion_examples([pair])
    assert tokenizer.decode(example.ids) == "He __ home. => went / fue"
    # The base, though, reads what the learner wrote.
    assert base_text(correction("goed")) == "He __ home. => goed / fue"
