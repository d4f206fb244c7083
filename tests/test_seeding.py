"""Seeds: the same everywhere, and a separate stream for every use."""

from __future__ import annotations

import random

import numpy as np
import torch

from minituner.seeding import derive_seed, generator, seed_everything


def test_derive_seed_is_the_same_everywhere() -> None:
    # `printf 0/dropout | sha256sum`: the first 16 digits, halved.
    assert derive_seed(0, "dropout") == 0xDC566E0B11DBC9BC >> 1
    assert derive_seed(7) == 0x7902699BE42C8A8E >> 1
    assert derive_seed(7, "adapter", "blocks.0.mlp.fc2") == 0x92ECE76B3705DBF8 >> 1


def test_generator_has_a_stream_per_name_and_seed() -> None:
    names = ("batches", "dropout", "base init")
    draws = [torch.randint(2**62, (), generator=generator(s, n)) for s in range(3) for n in names]
    assert len({int(draw) for draw in draws}) == 9


def test_seed_everything_repeats_python_numpy_and_torch() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first, other = draw(1), draw(2)
    assert draw(1) == first
    assert not set(first) & set(other)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
