"""Names of the savings that savings.py takes out or puts in.

They are in a module of their own, since savings.py imports torch and bench.py must stay small.
"""

from __future__ import annotations

KEPT = (
    "cached activations",
    "last block only where needed",
    "no padding",
    "shared prefixes",
    "dropout from 16 random bits",
)
ALL = "all of these"
NOT_KEPT = ("the optimizer's kernel, called directly",)
