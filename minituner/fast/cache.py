"""Cached activations below the lowest adapter.

The base is frozen and only adapters have dropout, so up to the lowest adapter every epoch and every
seed computes the same values. Here they are computed once. The cache is used if the lowest
adapter is on the ``fc2`` of any block but the last, as in the study; everything below that adapter
is then skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from minituner.batches import Batch
from minituner.fast.packed import (
    PackedIndex,
    blocks_of,
    mlp_hidden,
    packed_attend,
    packed_block,
    packed_embedding,
)
from minituner.model import MiniGPT


class AdaptedLinear(Protocol):
    """The part of ``lora.LoRALinear`` that is used here.

    Pretraining imports this module: if it imported ``lora`` too, every edit of ``lora`` would
    pretrain the base again.
    """

    base: nn.Linear
    merged: bool

    def adapt(self, x: Tensor, y: Tensor) -> Tensor: ...


def adapted_layers(model: MiniGPT) -> Iterator[tuple[str, AdaptedLinear]]:
    """The layers with an adapter and their names, in order."""
    for name, module in model.named_modules():
        if hasattr(module, "adapt"):
            yield name, cast(AdaptedLinear, module)


@dataclass(frozen=True)
class CachedActivations:
    """The state of N tokens just before the lowest adapter, which is on an ``fc2``."""

    residual: Tensor  # (N, d), what the MLP's output is added to
    hidden: Tensor  # (N, 4 d), the input of fc2
    base_output: Tensor  # (N, d), fc2's output without the adapter

    def rows(self, which: Tensor) -> CachedActivations:
        """Some of the tokens: (M,) int64 -> M tokens."""
        return CachedActivations(self.residual[which], self.hidden[which], self.base_output[which])

    @classmethod
    def concatenate(cls, parts: Sequence[CachedActivations]) -> CachedActivations:
        """The tokens of all parts, in order."""
        return cls(
            torch.cat([part.residual for part in parts]),
            torch.cat([part.hidden for part in parts]),
            torch.cat([part.base_output for part in parts]),
        )

    @property
    def size_bytes(self) -> int:
        """The memory of the tensors."""
        return sum(
            t.numel() * t.element_size() for t in (self.residual, self.hidden, self.base_output)
        )


def cached_token_bytes(model: MiniGPT) -> int:
    """The memory of one token's activations: d + 4 d + d numbers."""
    return 6 * model.config.d_model * model.token_embedding.weight.itemsize


class ActivationCache:
    """The activations below a model's lowest adapter: of the texts that ``add`` was given, for
    batches of any of them, and of every evaluation batch as long as it exists.

    Those that do not fit into the model's ``cache_bytes`` are computed again each time. All are
    dropped as soon as a weight that they depend on has changed.
    """

    def __init__(self) -> None:
        self._clear([])

    def _clear(self, weights: list[tuple[int, int]]) -> None:
        self._texts: dict[tuple[int, ...], CachedActivations] = {}
        self._text_bytes = 0
        self._batches: WeakKeyDictionary[Batch, CachedActivations] = WeakKeyDictionary()
        self._weights = weights

    def __deepcopy__(self, memo: object) -> ActivationCache:
        return ActivationCache()  # the copy has weights of its own

    def resume(self, model: MiniGPT, batch: Batch, index: PackedIndex) -> tuple[Tensor, int] | None:
        """The hidden states (N, d) after the block of the lowest adapter, and the next block's
        index; None where nothing can be cached."""
        lowest = lowest_adapted_fc2(model)
        if lowest is None:
            return None
        self._drop_if_changed(model, lowest)
        look_up = self._training_batch if model.training else self._evaluation_batch
        at = look_up(model, batch, index, lowest)
        fc2 = cast(AdaptedLinear, blocks_of(model)[lowest].mlp.fc2)
        return at.residual + fc2.adapt(at.hidden, at.base_output), lowest + 1

    def add(self, model: MiniGPT, batch: Batch) -> None:
        """Cache the texts of a batch, for training, where that can be done."""
        lowest = lowest_adapted_fc2(model)
        if lowest is None:
            return
        self._drop_if_changed(model, lowest)
        shared = PackedIndex.of_prefixes(batch)
        found = activations_before_fc2(model, batch, shared, lowest)
        rows = shared.inverse.view(batch.mask.shape)
        for text, row in zip(batch.texts(), rows, strict=True):
            activations = found.rows(row[: len(text)])
            if tuple(text) not in self._texts and self._fits(model, activations):
                self._texts[tuple(text)] = activations
                self._text_bytes += activations.size_bytes

    def _training_batch(
        self, model: MiniGPT, batch: Batch, index: PackedIndex, lowest: int
    ) -> CachedActivations:
        """The activations of a batch's tokens, in order; joined if all its texts are known."""
        texts = [self._texts.get(tuple(text)) for text in batch.texts()]
        known = [text for text in texts if text is not None]
        if len(known) < len(texts):
            return activations_before_fc2(model, batch, index, lowest)
        return CachedActivations.concatenate(known)

    def _evaluation_batch(
        self, model: MiniGPT, batch: Batch, index: PackedIndex, lowest: int
    ) -> CachedActivations:
        """The activations of a batch's distinct tokens, in order."""
        known = self._batches.get(batch)
        if known is None:
            known = activations_before_fc2(model, batch, index, lowest)
            if self._fits(model, known):
                self._batches[batch] = known
        return known

    def _fits(self, model: MiniGPT, activations: CachedActivations) -> bool:
        batch_bytes = sum(each.size_bytes for each in self._batches.values())
        return self._text_bytes + batch_bytes + activations.size_bytes <= model.cache_bytes

    def _drop_if_changed(self, model: MiniGPT, lowest: int) -> None:
        # torch counts most writes to a tensor in _version, but not those of fused optimizers and
        # of `.data`. The checksum detects those; it takes under 1 % of a training step.
        weights = [(w._version, sum_of_bits(w)) for w in weights_below(model, lowest)]
        if weights != self._weights:
            self._clear(weights)


def sum_of_bits(weight: Tensor) -> int:
    """A checksum: the sum of a tensor's bytes as 64-bit integers, or 16-bit if those do not fit."""
    flat = weight.detach().flatten()
    return int(flat.view(torch.int64 if flat.nbytes % 8 == 0 else torch.int16).sum())


def lowest_adapted_fc2(model: MiniGPT) -> int | None:
    """The index of the block whose ``fc2`` has the lowest adapter, if all weights below are frozen.

    None if the lowest adapter is on another layer, is merged, or is in the last block, which
    computes only the needed positions.
    """
    name, layer = next(adapted_layers(model), ("", None))
    for i in range(model.config.n_layers - 1):
        if layer is not None and name == f"blocks.{i}.mlp.fc2" and not layer.merged:
            frozen = not any(weight.requires_grad for weight in weights_below(model, i))
            return i if frozen else None
    return None


def weights_below(model: MiniGPT, lowest: int) -> list[nn.Parameter]:
    """The weights that the activations before the adapter of a block's ``fc2`` depend on."""
    blocks = blocks_of(model)
    modules: list[nn.Module] = [model.token_embedding, model.position_embedding, *blocks[:lowest]]
    block = blocks[lowest]
    fc2 = cast(AdaptedLinear, block.mlp.fc2)
    modules += [block.ln_1, block.attn, block.ln_2, block.mlp.fc1, fc2.base]
    return [weight for module in modules for weight in module.parameters()]


@torch.no_grad()
def activations_before_fc2(
    model: MiniGPT, batch: Batch, index: PackedIndex, lowest: int
) -> CachedActivations:
    """The activations of the N tokens of an index."""
    x = packed_embedding(model, batch, index)
    blocks = blocks_of(model)
    for block in blocks[:lowest]:
        x = packed_block(block, x, index, index)
    block = blocks[lowest]
    residual = packed_attend(block, x, index, index)
    hidden = mlp_hidden(block.mlp, block.ln_2(residual))
    fc2 = cast(AdaptedLinear, block.mlp.fc2)
    return CachedActivations(residual, hidden, fc2.base(hidden))
