"""Order by hash: a shuffle in which editing one pair moves no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from minituner.data.pairs import Pair
from minituner.data.prompts import BLANK


def seeded_hash(seed: int, text: str) -> str:
    """A hash to sort by: a shuffle in which the place of a text does not depend on the others."""
    return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()


def seeded_shuffle(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """The pairs, shuffled by a seeded hash of each prompt (without a blank, of the
    sentence): editing one pair moves no other."""
    return sorted(pairs, key=lambda pair: shuffle_key(pair, seed))


def shuffle_key(pair: Pair, seed: int) -> tuple[str, str]:
    """The key that a seeded shuffle sorts a pair by."""
    text = pair.prompt if BLANK in pair.prompt else pair.sentence
    return seeded_hash(seed, text), pair.correct
