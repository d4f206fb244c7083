"""Every random number comes from a seed, and every use of one has a stream of its own."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for one named use of ``seed``: streams with different names do not overlap.

    The same arguments give the same number on every machine and Python version.
    """
    key = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator for one named use of ``seed``."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))


def seed_everything(seed: int, threads: int = 1) -> None:
    """Seed Python, NumPy and torch, and fix what else decides a result's bytes.

    Args:
        seed: The seed, 0 or more.
        threads: Torch's thread count. A sum over more threads adds in another order, so the count
            is part of the result and must not follow the machine or ``--cores``.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # As use_deterministic_algorithms does, without its import of torch's compiler: two seconds.
    torch.set_deterministic_debug_mode("error")
    # That also fills every new tensor before it is written to, which nothing here reads.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
