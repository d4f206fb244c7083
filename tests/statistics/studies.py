"""Small studies with a known answer, for the tests of the statistics."""

from __future__ import annotations

import numpy as np

from minituner.statistics.intervals import PairedBootstrap, StatisticsSettings

SETTINGS = StatisticsSettings(bootstrap_draws=2000)
N_VERBS, PER_VERB, N_SEEDS = 8, 8, 5
ITEMS = N_VERBS * PER_VERB
VERBS = [f"verb-{i // PER_VERB}" for i in range(ITEMS)]


def bootstrap(settings: StatisticsSettings = SETTINGS) -> PairedBootstrap:
    return PairedBootstrap(VERBS, N_SEEDS, settings)


def random_answers(share: float) -> np.ndarray:
    """(seeds, items), each correct with the given probability."""
    draws = np.random.default_rng(0).uniform(size=(N_SEEDS, ITEMS))
    return np.asarray(draws < share, dtype=float)


def graded_answers(share: float, shift: float = 0.0) -> np.ndarray:
    """(seeds, items): the easiest items are correct, up to the given share of them, for all seeds.

    Every verb has items of every difficulty.

    Args:
        shift: Turns the order of difficulty, so that other items are correct.
    """
    order = [i % PER_VERB * N_VERBS + i // PER_VERB for i in range(ITEMS)]
    difficulty = (np.array(order) / ITEMS + shift) % 1
    return np.tile((difficulty < share).astype(float), (N_SEEDS, 1))
