"""The mask drops its share, from its own stream, whatever the shape and the type of float."""

from __future__ import annotations

import math

import pytest
import torch

from minituner.fast.dropout import dropout_mask


def mask(
    *shape: int, p: float = 0.3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return dropout_mask(torch.empty(shape, dtype=dtype), p, rng)


@pytest.mark.parametrize("p", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_mask_drops_its_share(p: float, dtype: torch.dtype) -> None:
    found = mask(400, 1001, p=p, dtype=dtype)
    assert found.dtype == dtype
    kept = found != 0
    assert torch.equal(found[kept], torch.full_like(found[kept], 1 / (1 - p)))
    deviation = math.sqrt(p * (1 - p) / kept.numel())
    assert float(kept.double().mean()) == pytest.approx(1 - p, abs=4 * deviation + 1 / 65536)


def test_dropout_mask_keeps_its_neighbors_independent() -> None:
    """Elements come out of one random number in fours."""
    dropped = (mask(100_000, 4, p=0.5) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 4 / math.sqrt(100_000)


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 4)])
def test_dropout_mask_of_any_shape(shape: tuple[int, ...]) -> None:
    assert mask(*shape).shape == shape


def test_dropout_mask_follows_its_seed_and_begins_alike_for_every_size() -> None:
    assert torch.equal(mask(64, seed=1), mask(64, seed=1))
    assert not torch.equal(mask(64, seed=1), mask(64, seed=2))
    assert torch.equal(mask(64, seed=1), mask(128, seed=1)[:64])
