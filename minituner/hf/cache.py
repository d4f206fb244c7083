"""Cached hidden states below the lowest adapter of a transformers model.

The base is frozen and only adapters have dropout, so up to the lowest transformer layer with an
adapter every epoch and every seed computes the same values. Here they are computed once per text,
and the model resumes with them at that layer (:mod:`minituner.hf.resume`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from minituner.batches import Batch
from minituner.causal_lm import check_length
from minituner.hf.lengths import Parts
from minituner.hf.resume import LayeredLM, Resumption, adapted_layers
from minituner.hf.store import Kept, TensorStore


class CachedLM(LayeredLM):
    """A language model that computes neither padding nor what adapters cannot change more than
    once, as far as that can be avoided.

    Attributes:
        cache_file_bytes: The budget for hidden states beyond ``cache_bytes``, in temporary files in
            the folder that ``TMPDIR`` names.
    """

    cache_file_bytes: int = 2**33

    def __init__(self) -> None:
        super().__init__()
        self.cache = ActivationCache()
        self._parts: WeakKeyDictionary[Batch, Parts | None] = WeakKeyDictionary()

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """The width of the hidden states between the layers, d."""

    @property
    def cached_token_bytes(self) -> int:
        """The memory per token of the hidden states that :meth:`precompute` keeps."""
        _, lowest = adapted_layers(self)
        return self.hidden_size * next(self.parameters()).element_size() if lowest else 0

    @abstractmethod
    def run_scored(self, batch: Batch) -> Tensor:
        """The logits at the scored positions: -> (scored tokens, V)"""

    def scored_logits(self, batch: Batch) -> Tensor:
        """The logits at the scored positions: -> (scored tokens, V)

        Raises:
            UserError: T exceeds the context length.
        """
        check_length(batch.input_ids.shape[1], self.context_length)
        parts = self._parts_of(batch)
        if parts is None:
            return self._resumed_logits(batch)
        return torch.cat([self._resumed_logits(part) for part in parts.batches])[parts.order]

    def _resumed_logits(self, batch: Batch) -> Tensor:
        with self.cache.resumed(self, batch):
            return self.run_scored(batch)

    def precompute(self, batches: Iterable[Batch]) -> None:
        """Fill the cache with the texts of ``batches``."""
        for batch in (part for whole in batches for part in self.parts(whole)):
            parts = self._parts_of(batch)
            for part in [batch] if parts is None else parts.batches:
                self.cache.add(self, part)

    def _parts_of(self, batch: Batch) -> Parts | None:
        """A batch in parts by length, the same ones as long as the batch exists."""
        if batch not in self._parts:
            self._parts[batch] = Parts.of(batch)
        return self._parts[batch]


class ActivationCache:
    """The hidden states that enter a model's lowest adapted layer: of the texts that ``add`` was
    given, for batches of any of them, and of every evaluation batch as long as it exists.

    What does not fit into the model's budgets is computed each time. All of it is dropped as soon
    as a weight that it depends on has changed.
    """

    def __init__(self) -> None:
        self.store = TensorStore()
        self._restart(None)

    def _restart(self, resumption: Resumption | None) -> None:
        self._resumption = resumption
        self._texts: dict[tuple[int, ...], tuple[Kept, slice]] = {}
        self._batches: WeakKeyDictionary[Batch, Kept] = WeakKeyDictionary()

    def __deepcopy__(self, memo: object) -> ActivationCache:
        return ActivationCache()  # the copy has weights of its own

    def resumed(self, model: CachedLM, batch: Batch) -> AbstractContextManager[None]:
        """Within it, the model computes the batch's hidden states from the cached ones, where
        there are any."""
        resumption = self._current(model)
        if resumption is None:
            return nullcontext()
        look_up = self._training_batch if model.training else self._evaluation_batch
        hidden = look_up(model, resumption, batch)
        return nullcontext() if hidden is None else resumption.resumed(hidden)

    def add(self, model: CachedLM, batch: Batch) -> None:
        """Cache the texts of a batch, for training, if that is possible."""
        resumption = self._current(model)
        if resumption is None:
            return
        texts = [tuple(text) for text in batch.texts()]
        rows = {text: row for row, text in enumerate(texts) if text not in self._texts}
        if not rows:
            return
        chosen = torch.tensor(list(rows.values()))
        mask = batch.mask[chosen]
        hidden = resumption.hidden_states(model, batch.input_ids[chosen], mask)
        kept = self._keep(model, hidden[mask])
        if kept is not None:
            ends = mask.sum(1).cumsum(0).tolist()
            for text, start, end in zip(rows, [0, *ends], ends, strict=False):
                self._texts[text] = kept, slice(start, end)

    def _keep(self, model: CachedLM, hidden: Tensor) -> Kept | None:
        return self.store.keep(hidden, model.cache_bytes, model.cache_file_bytes)

    def _current(self, model: CachedLM) -> Resumption | None:
        """How the model resumes now, after dropping what another one has computed."""
        layers, lowest = adapted_layers(model)
        if lowest == 0:
            self._restart(None)
        elif self._resumption is None or not self._resumption.is_current(model, layers, lowest):
            self._restart(Resumption(model, layers, lowest))
        found = self._resumption
        return found if found is not None and found.works else None

    def _training_batch(
        self, model: CachedLM, resumption: Resumption, batch: Batch
    ) -> Tensor | None:
        """The hidden states of a batch, (B, T, d); None if none of its texts is known."""
        found = [self._texts.get(tuple(text)) for text in batch.texts()]
        missing = [row for row, known in enumerate(found) if known is None]
        if len(missing) == len(found):
            return None
        device = batch.input_ids.device
        states = [known[0].tensor[known[1]] if known else torch.empty(0) for known in found]
        if missing:
            mask = batch.mask[missing]
            computed = resumption.hidden_states(model, batch.input_ids[missing], mask)
            for row, hidden, its_mask in zip(missing, computed, mask, strict=True):
                states[row] = hidden[its_mask]
        hidden = pad_sequence([state.to(device) for state in states], batch_first=True)
        return nn.functional.pad(hidden, (0, 0, 0, batch.mask.shape[1] - hidden.shape[1]))

    def _evaluation_batch(self, model: CachedLM, resumption: Resumption, batch: Batch) -> Tensor:
        """The hidden states of a batch, (B, T, d)."""
        kept = self._batches.get(batch)
        if kept is None:
            hidden = resumption.hidden_states(model, batch.input_ids, batch.mask)
            kept = self._keep(model, hidden[batch.mask])
            if kept is None:
                return hidden
            self._batches[batch] = kept
        rows = kept.tensor.to(batch.input_ids.device)
        padded = rows.new_zeros(*batch.mask.shape, rows.shape[-1])
        padded[batch.mask] = rows
        return padded
