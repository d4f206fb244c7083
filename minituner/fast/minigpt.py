"""The entry point of the fast path: a MiniGPT that computes the same logits, up to rounding, with
less work."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from torch import Tensor

from minituner.batches import Batch
from minituner.causal_lm import check_length
from minituner.fast.cache import ActivationCache, cached_token_bytes, lowest_adapted_fc2
from minituner.fast.packed import PackedIndex, blocks_of, packed_block, packed_embedding
from minituner.model import MiniGPT, MiniGPTConfig


def new_minigpt(config: MiniGPTConfig) -> MiniGPT:
    """The model that training and evaluation use, with torch's default initial weights."""
    return FastMiniGPT(config)


class FastMiniGPT(MiniGPT):
    """A MiniGPT whose ``scored_logits`` uses packed tokens and cached activations."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__(config)
        self._cache = ActivationCache()
        self._prefixes = PrefixIndices()

    def scored_logits(self, batch: Batch) -> Tensor:
        """-> (number of scored tokens, V)"""
        check_length(batch.input_ids.shape[1], self.context_length)
        # Shared prefixes would share their dropout, so in training every text has its own tokens.
        index = PackedIndex.of(batch.mask) if self.training else self._prefixes.of(batch)
        needed = PackedIndex.of(batch.scored)
        x, done = self._cache.resume(self, batch, index) or (
            packed_embedding(self, batch, index),
            0,
        )
        blocks = blocks_of(self)
        for block in blocks[done:-1]:
            x = packed_block(block, x, index, index)
        x = packed_block(blocks[-1], x, index, needed)  # (M, d)
        return self.head(self.ln_f(x))

    @property
    def cached_token_bytes(self) -> int:
        return 0 if lowest_adapted_fc2(self) is None else cached_token_bytes(self)

    def precompute(self, batches: Iterable[Batch]) -> None:
        """Fill the cache with the texts of ``batches``."""
        for batch in batches:
            for part in self.parts(batch):
                self._cache.add(self, part)


class PrefixIndices:
    """Keeps the index of each batch as long as the batch exists: making it takes a loop over all
    tokens, and validation batches are used many times."""

    def __init__(self) -> None:
        self._indices: WeakKeyDictionary[Batch, PackedIndex] = WeakKeyDictionary()

    def __deepcopy__(self, memo: object) -> PrefixIndices:
        return PrefixIndices()

    def of(self, batch: Batch) -> PackedIndex:
        """The index in which common prefixes are computed once."""
        if batch not in self._indices:
            self._indices[batch] = PackedIndex.of_prefixes(batch)
        return self._indices[batch]
