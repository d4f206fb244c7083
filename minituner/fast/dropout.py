"""Dropout's mask from few random numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout_mask(x: Tensor, p: float, rng: torch.Generator | None) -> Tensor:
    """A mask of x's shape: 0 with probability ``p``, else 1 / (1 - p).

    16 random bits decide an element, so the probability is met to 1/65536. Four elements come from
    one draw of 64 bits, which is several times as fast as ``bernoulli_``. They are compared as
    floats, which is as exact and twice as fast as converting a comparison of integers. They are
    drawn on the CPU and moved, so a seed drops the same inputs on every device.
    """
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
    draws.random_(-(2**63), None, generator=rng)
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape).to(x.device)  # -32768 to 32767
    dropped_below = round(65536 * p) - 32768
    return bits.float().ge_(dropped_below).to(x.dtype).div_(1.0 - p)
