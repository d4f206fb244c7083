"""The scale audit against the update itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from minituner.lora import lora_layers, merge_, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.statistics.audit import effective_rank, scale_audit


def test_scale_audit_is_that_of_the_whole_update(
    make_tuned: Callable[..., MiniGPT],
) -> None:
    model = make_tuned("v_proj", "mlp.fc1")
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
def test_effective_rank_is_exp_of_an_entropy(values: list[float], expected: float) -> None:
    # 3/4 and 1/4: exp(0.75 ln(4/3) + 0.25 ln 4)
    assert effective_rank(torch.tensor(values).double()) == pytest.approx(expected)


def test_scale_audit_of_an_adapter_at_its_start_is_zero(base: MiniGPT) -> None:
    assert scale_audit(base) == []
    start = scale_audit(wrap_minigpt_with_lora(base, r=4, seed=0))
    assert {row["relative_norm"] for row in start} == {0.0}
    assert {row["effective_rank"] for row in start} == {0.0}


@pytest.mark.parametrize("merged", [False, True])
def test_scale_audit_of_dora_is_that_of_its_delta(
    make_tuned: Callable[..., MiniGPT], base: MiniGPT, merged: bool
) -> None:
    model = make_tuned("mlp.fc2", use_dora=True)
    if merged:
        merge_(model)
    for row, (name, layer) in zip(scale_audit(model), lora_layers(model), strict=True):
        weight = base.get_parameter(f"{name}.weight")
        relative_norm = (layer.delta.norm() / weight.norm()).item()
        assert row["relative_norm"] == pytest.approx(relative_norm, rel=1e-4)
