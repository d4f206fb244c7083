"""LoRA's invariants: the layer and its variants, wrapping, the start, dropout, merging."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import bytes_of
from torch import Tensor, nn

from minituner.adapter_tensors import (
    base_state_dict,
    load_lora_state_dict,
    lora_parameter_count,
    lora_state_dict,
    named_lora_parameters,
)
from minituner.errors import UserError
from minituner.lora import (
    LoRALinear,
    lora_layers,
    merge_,
    merge_and_unwrap,
    reset_adapters,
    unmerge_,
    unwrap,
    wrap,
    wrap_minigpt_with_lora,
)
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.tensors import weights_sha256

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


# --- the adapted layer ----------------------------------------------------------------------------


def test_layer_computes_what_the_paper_says() -> None:
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
def test_scaling_is_alpha_over_r(r: int) -> None:
    assert LoRALinear(nn.Linear(32, 32), r=r, alpha=12.0).scaling == 12 / r


def test_freeze_base_freezes_weight_and_bias() -> None:
    for freeze in (True, False):
        layer = LoRALinear(nn.Linear(4, 4), r=2, freeze_base=freeze)
        assert layer.base.weight.requires_grad is not freeze
        assert layer.base.bias.requires_grad is not freeze


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"r": 0}, "rank"),
        ({"r": 33}, "rank"),
        ({"r": 2.5}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": math.inf}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(
    base: MiniGPT, options: dict[str, Any], name: str
) -> None:
    with pytest.raises(UserError, match=f"^{name}: out of range"):
        wrap_minigpt_with_lora(base, **options)
    assert not list(lora_layers(base))
    assert all(parameter.requires_grad for parameter in base.parameters())
    with pytest.raises(UserError, match=f"^{name}: out of range"):
        LoRALinear(nn.Linear(32, 64), **options)


def test_layer_without_bias_is_adapted_and_merged_too() -> None:
    for use_dora in (False, True):
        layer = LoRALinear(nn.Linear(4, 3, bias=False), r=2, use_dora=use_dora)
        nn.init.normal_(layer.lora_B)
        x = torch.randn(5, 4)
        y = layer(x)
        torch.testing.assert_close(y, x @ (layer.base.weight + layer.delta).T)
        layer.merge_()
        torch.testing.assert_close(layer(x), y)


# --- the layer's variants -------------------------------------------------------------------------


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
    """Eq. 5: W' = m (W + BA) / |W + BA|, the norm of each output's row; not the bias."""
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


def test_dora_starts_as_its_base_with_one_more_weight_per_output(
    base: MiniGPT, ids: Tensor
) -> None:
    model = wrapped(base, r=4, target_modules=("q_proj", "mlp.fc2"), use_dora=True)
    assert torch.allclose(model(ids), base(ids), atol=1e-5)
    shapes = [(layer.base.out_features, layer.base.in_features) for _, layer in lora_layers(model)]
    counted = sum(p.numel() for p in named_lora_parameters(model).values())
    assert counted == lora_parameter_count(shapes, 4, use_dora=True)
    assert counted == lora_parameter_count(shapes, 4) + 2 * (32 + 32)


def test_variants_survive_saving_merging_and_resetting(
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


# --- wrapping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("r", RANKS)
def test_wrapped_model_starts_bit_for_bit_as_its_base(
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
def test_only_adapters_are_trained(base: MiniGPT, ids: Tensor, adapted: tuple[str, ...]) -> None:
    model = wrapped(base, r=4, target_modules=adapted).train()
    trainable, frozen = expected_names(adapted)
    before = bytes_of(model.state_dict())
    assert sorted(before) == sorted([*trainable, *frozen])

    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(2):  # B is zero in the first step, so A moves by the loss only in the second
        optimizer.zero_grad()
        model(ids).logsumexp(-1).sum().backward()
        optimizer.step()

    gradients = {name for name, p in model.named_parameters() if p.grad is not None}
    assert gradients == trainable
    after = bytes_of(model.state_dict())
    assert {name for name in after if after[name] != before[name]} == trainable


def test_named_lora_parameters_are_those_that_require_a_gradient(base: MiniGPT) -> None:
    model = wrapped(base, r=4, target_modules=("k_proj", "fc1"))
    trained = [(name, id(p)) for name, p in model.named_parameters() if p.requires_grad]
    assert [(name, id(p)) for name, p in named_lora_parameters(model).items()] == trained


@pytest.mark.parametrize("r", RANKS)
@pytest.mark.parametrize(
    ("target_modules", "sides"),  # in + out of the adapted layers of one block, at d = 32
    [
        (("mlp.fc2",), 128 + 32),
        (("q_proj", "v_proj"), 2 * (32 + 32)),
        (ALL_TARGETS, 4 * (32 + 32) + 2 * (128 + 32)),
    ],
)
def test_lora_parameter_count_is_every_trainable_weight(
    base: MiniGPT, r: int, target_modules: tuple[str, ...], sides: int
) -> None:
    model = wrapped(base, r=r, target_modules=target_modules)
    layers = [layer.base for _, layer in lora_layers(model)]
    closed_form = lora_parameter_count([(x.out_features, x.in_features) for x in layers], r)
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert closed_form == counted == 2 * r * sides


def test_unknown_target_is_refused_and_the_model_stays(base: MiniGPT, ids: Tensor) -> None:
    before, logits = bytes_of(base.state_dict()), base(ids)
    with pytest.raises(UserError) as refusal:
        wrap_minigpt_with_lora(base, target_modules=("q_proj", "gate_proj"))
    assert "found:    gate_proj\n" in str(refusal.value)
    assert all(linear in str(refusal.value) for linear in LINEARS)
    assert bytes_of(base.state_dict()) == before
    assert all(parameter.requires_grad for parameter in base.parameters())
    assert torch.equal(base(ids), logits)


def test_part_of_a_name_is_not_a_target(base: MiniGPT) -> None:
    for target in ("proj", "fc", "p.fc2"):
        with pytest.raises(UserError, match="matches no linear layer"):
            wrap_minigpt_with_lora(base, target_modules=(target,))


def test_empty_targets_are_refused(base: MiniGPT) -> None:
    with pytest.raises(UserError, match="an empty list"):
        wrap_minigpt_with_lora(base, target_modules=())


def test_rank_above_any_targeted_layer_is_refused_and_the_model_stays(base: MiniGPT) -> None:
    base.blocks[1].mlp.fc2 = nn.Linear(128, 3)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="1 to 3, the smaller side of a 3 x 128 layer"):
        wrap_minigpt_with_lora(base, 4, target_modules=("q_proj", "mlp.fc2"))
    assert not list(lora_layers(base))
    assert all(parameter.requires_grad for parameter in base.parameters())


def test_wrapping_twice_is_refused(base: MiniGPT) -> None:
    model = wrapped(base, r=4)
    before = bytes_of(model.state_dict())
    with pytest.raises(UserError, match="already has adapters"):
        wrap_minigpt_with_lora(model, r=4)
    assert bytes_of(model.state_dict()) == before
    assert all(p.requires_grad for p in named_lora_parameters(model).values())


@pytest.mark.parametrize("target", ["v_proj", "base"])
def test_wrapping_other_layers_of_a_wrapped_model_is_refused(base: MiniGPT, target: str) -> None:
    model = wrapped(base, r=4, target_modules=("q_proj",))
    with pytest.raises(UserError):
        wrap_minigpt_with_lora(model, r=8, target_modules=(target,))


@torch.no_grad()
def test_wrapping_keeps_the_mode(base: MiniGPT, ids: Tensor) -> None:
    model = wrapped(base.eval(), r=4, dropout=0.5)
    give_b_values(model)
    assert torch.equal(model(ids), model(ids)), "dropout must be off in eval mode"


def test_wrap_takes_the_config_that_the_fixed_signature_spells_out(base: MiniGPT) -> None:
    config = LoRAConfig(4, 12.0, 0.2, ("q_proj", "mlp.fc2"), use_rslora=True, use_dora=True)
    one = wrap(copy.deepcopy(base), config, seed=3)
    other = wrapped(
        base, r=4, alpha=12.0, dropout=0.2, target_modules=["q_proj", "mlp.fc2"], seed=3,
        use_rslora=True, use_dora=True,
    )  # fmt: skip
    assert bytes_of(one.state_dict()) == bytes_of(other.state_dict())
    for (name, layer), (other_name, other_layer) in zip(
        lora_layers(one), lora_layers(other), strict=True
    ):
        assert (name, layer.scaling) == (other_name, other_layer.scaling) == (name, 6.0)
        assert layer.config == other_layer.config


# --- the adapter's start --------------------------------------------------------------------------


@pytest.mark.parametrize("r", RANKS[:-1])
def test_smaller_rank_starts_with_the_first_rows_of_the_largest(base: MiniGPT, r: int) -> None:
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


def test_start_of_a_layer_does_not_depend_on_the_other_targets(base: MiniGPT) -> None:
    alone = lora_state_dict(wrapped(base, target_modules=("mlp.fc2",)))
    among_all = lora_state_dict(wrapped(base, target_modules=ALL_TARGETS))
    assert all(torch.equal(tensor, among_all[name]) for name, tensor in alone.items())


def test_without_a_seed_the_start_is_drawn_from_torchs_generator(base: MiniGPT) -> None:
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


def test_reset_adapters_undoes_training(base: MiniGPT) -> None:
    model = wrapped(base, r=4, seed=2)
    start = bytes_of(lora_state_dict(model))
    give_b_values(model)
    assert bytes_of(lora_state_dict(model)) != start
    reset_adapters(model, 2)
    assert bytes_of(lora_state_dict(model)) == start


# --- dropout --------------------------------------------------------------------------------------


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
def test_dropout_acts_in_training_only(tuned: MiniGPT, ids: Tensor) -> None:
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
def test_dropout_stream_depends_on_the_seed_and_not_on_the_rank(base: MiniGPT, ids: Tensor) -> None:
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


# --- merging and unwrapping -----------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("r", RANKS)
def test_merge_and_unmerge_keep_the_logits_and_the_bytes(
    base: MiniGPT, ids: Tensor, r: int
) -> None:
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
def test_merged_weight_alone_gives_the_logits(base: MiniGPT, tuned: MiniGPT, ids: Tensor) -> None:
    merge_(tuned)
    for name, layer in lora_layers(tuned):
        base.get_submodule(name).weight.copy_(layer.base.weight)
    assert torch.equal(base(ids), tuned(ids))


@torch.no_grad()
def test_merge_is_idempotent(tuned: MiniGPT) -> None:
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


@torch.no_grad()
@pytest.mark.parametrize("use_dora", [False, True])
def test_merge_and_unwrap_gives_a_plain_model_of_the_same_logits(
    make_tuned: Callable[..., MiniGPT], base: MiniGPT, ids: Tensor, use_dora: bool
) -> None:
    model = make_tuned(*ALL_TARGETS, use_dora=use_dora).double()
    logits = model(ids)
    plain = merge_and_unwrap(model)
    assert plain is model and not list(lora_layers(plain))
    assert list(plain.state_dict()) == list(base.state_dict())
    torch.testing.assert_close(plain(ids), logits, rtol=1e-9, atol=1e-9)
    again = wrap_minigpt_with_lora(plain, 4, target_modules=("q_proj",), seed=0)
    torch.testing.assert_close(again(ids), logits, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_unwrap_gives_back_the_base(base: MiniGPT, tuned: MiniGPT, ids: Tensor) -> None:
    plain = unwrap(tuned)
    assert bytes_of(plain.state_dict()) == bytes_of(base.state_dict())
    assert list(plain.state_dict()) == list(base.state_dict())
    assert torch.equal(plain(ids), base(ids))
    assert unwrap(plain) is plain  # nothing to take off


# --- the tensors of an adapted model --------------------------------------------------------------


def test_base_state_dict_is_the_bases(base: MiniGPT, tuned: MiniGPT) -> None:
    for change in (None, merge_, unmerge_, unwrap):
        if change is not None:
            change(tuned)
        inside = base_state_dict(tuned)
        assert list(inside) == list(base.state_dict())
        assert bytes_of(inside) == bytes_of(base.state_dict())
        assert weights_sha256(inside) == weights_sha256(base.state_dict())


def test_load_lora_state_dict_loads_all_or_nothing(tuned: MiniGPT) -> None:
    before = bytes_of(tuned.state_dict())
    state = {name: torch.zeros_like(tensor) for name, tensor in lora_state_dict(tuned).items()}
    with pytest.raises(UserError, match=r"missing[\s\S]*blocks\.1\.mlp\.fc2\.lora_B"):
        load_lora_state_dict(tuned, dict(list(state.items())[:-1]))
    assert bytes_of(tuned.state_dict()) == before
