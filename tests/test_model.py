"""The model against an independent implementation, its closed forms, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from models import PAD_ID, reference_logits
from torch import Tensor

from minituner.errors import UserError
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPT, MiniGPTConfig, init_weights, parameter_count
from minituner.storage.tensors import weights_sha256


@torch.no_grad()
@pytest.mark.parametrize("shape", [{}, {"d_model": 24, "n_heads": 3, "n_layers": 5}])
def test_forward_equals_an_independent_implementation(
    make_base: Callable[..., MiniGPT], ids: Tensor, shape: dict[str, int]
) -> None:
    base = make_base(**shape).double()
    torch.testing.assert_close(base(ids), reference_logits(base, ids), rtol=0, atol=1e-9)


def test_gradients_equal_those_of_an_independent_implementation(base: MiniGPT, ids: Tensor) -> None:
    base.double()
    target = torch.randn(3, 8, base.vocab_size, dtype=torch.float64)
    (base(ids) * target).sum().backward()
    weights = {name: p.detach().clone().requires_grad_() for name, p in base.named_parameters()}

    class Named:
        config = base.config

        @staticmethod
        def state_dict() -> dict[str, Tensor]:
            return weights

    (reference_logits(Named, ids) * target).sum().backward()  # type: ignore[arg-type]
    for name, parameter in base.named_parameters():
        torch.testing.assert_close(parameter.grad, weights[name].grad, rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_attention_is_causal(base: MiniGPT, ids: Tensor) -> None:
    changed = ids.clone()
    changed[:, 5] = (changed[:, 5] + 1) % base.config.vocab_size
    before, after = base(ids), base(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-6)
    assert ((after - before).abs().amax(-1)[:, 5:] > 1e-3).all()


@torch.no_grad()
def test_right_padding_changes_no_logits(base: MiniGPT, ids: Tensor) -> None:
    padded = torch.cat([ids, torch.full((3, 6), PAD_ID)], dim=1)
    torch.testing.assert_close(base(padded)[:, :8], base(ids), rtol=0, atol=1e-5)


def test_context_length_may_be_filled_but_not_exceeded(make_base: Callable[..., MiniGPT]) -> None:
    model = make_base(context_length=8)
    assert model(torch.zeros(1, 8, dtype=torch.int64)).shape == (1, 8, model.config.vocab_size)
    with pytest.raises(UserError, match="9 tokens\n  expected: at most 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))


@torch.no_grad()
def test_head_is_the_token_embedding(base: MiniGPT) -> None:
    x = torch.randn(5, base.config.d_model)
    before = base.head(x)
    base.token_embedding.weight[7] *= 2
    after = base.head(x)
    torch.testing.assert_close(after[:, 7], 2 * before[:, 7])
    assert torch.equal(after[:, :7], before[:, :7])
    assert not [name for name, _ in base.named_parameters() if "head" in name]


@pytest.mark.parametrize("shape", [{}, {"d_model": 24, "n_heads": 3, "n_layers": 5}])
def test_parameter_count_is_every_weight(
    make_base: Callable[..., MiniGPT], shape: dict[str, int]
) -> None:
    model = make_base(**shape)
    assert parameter_count(model.config) == sum(p.numel() for p in model.parameters())


def test_init_weights_is_gpt2s(config: MiniGPTConfig) -> None:
    models = [MiniGPT(config), new_minigpt(config), MiniGPT(config)]
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


@pytest.mark.parametrize(
    "wrong", [{"n_heads": 5}, {"n_layers": 0}, {"vocab_size": 0}, {"d_model": 32.0}]
)
def test_config_refuses_an_impossible_shape(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MiniGPTConfig(**{"vocab_size": 9, "d_model": 32, "n_heads": 4, **wrong})
