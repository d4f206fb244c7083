"""p-values of paired answers, and of several tests together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    from minituner.results import McNemar

Array = NDArray[np.float64]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests by Holm's (1979) step-down procedure."""
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, i in enumerate(order):
        running = max(running, (len(p_values) - position) * p_values[i])
        adjusted[i] = min(1.0, running)
    return adjusted


def mcnemar(before: Array, after: Array) -> McNemar:
    """McNemar's exact test on paired answers (items,), 1 if correct and 0 if not."""
    gained = int(((before == 0) & (after == 1)).sum())
    lost = int(((before == 1) & (after == 0)).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return {"gained": gained, "lost": lost, "p": p}
