"""The interface that training, evaluation and prediction expect of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from minituner.batches import Batch
from minituner.errors import UserError

DEFAULT_CACHE_BYTES = 2**28


class CausalLM(nn.Module, ABC):
    """A decoder-only language model over token ids.

    ``forward`` gives the next-token logits of every position. The only other assumption is that the
    layers to adapt are ``nn.Linear``.

    Attributes:
        max_tokens_per_batch: A batch of more tokens, padding included, is computed in parts; None
            sets no limit.
        float32_only: Whether the weights cannot have a lower precision.
        cache_bytes: The memory for activations that are kept from batch to batch.
    """

    float32_only: bool = False
    max_tokens_per_batch: int | None = None
    cache_bytes: int = DEFAULT_CACHE_BYTES

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so where batches have to be."""
        return next((weight.device for weight in self.parameters()), torch.device("cpu"))

    def parts(self, batch: Batch) -> Sequence[Batch]:
        """A batch as the model computes it: on its device, in parts within its limit."""
        return batch.parts(self.max_tokens_per_batch, self.device)

    @property
    @abstractmethod
    def context_length(self) -> int:
        """The largest number of tokens that the model can read at once."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of token ids, V."""

    @property
    def output_head(self) -> nn.Module | None:
        """The layer that computes the logits, which gets no adapter; None if it is not a layer.

        It is often the token embedding itself.
        """
        return None

    @abstractmethod
    def forward(self, input_ids: Tensor) -> Tensor:
        """Next-token logits: (B, T) int64 -> (B, T, V)."""

    def scored_logits(self, batch: Batch) -> Tensor:
        """The logits at the positions whose next token is scored: -> (scored tokens, V).

        A model that can compute these with less work overrides it (``fast.minigpt``).
        """
        logits: Tensor = self(batch.input_ids)
        return logits[batch.scored]

    @property
    def cached_token_bytes(self) -> int:
        """The memory per token of the activations that :meth:`precompute` keeps."""
        return 0

    def precompute(self, batches: Iterable[Batch]) -> None:
        """Compute once what training the adapters cannot change, for the texts of ``batches``.

        The rounding of a value depends on the batch that it is computed in; computed here, it does
        not depend on the order of the batches in training. A model without a cache does nothing.
        """


def linear_layers(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every ``nn.Linear`` except the output head by its dotted name, in the model's order."""
    head = model.output_head if isinstance(model, CausalLM) else None
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            yield name, module


def check_length(tokens: int, context_length: int) -> None:
    """Refuse a text that is longer than the model can read.

    Raises:
        UserError: ``tokens`` exceeds the context length.
    """
    if tokens > context_length:
        raise UserError(
            "input_ids",
            "a text is longer than the model's context",
            found=f"{tokens} tokens",
            expected=f"at most {context_length}",
            fix="shorten it; for your own base, set base.model.context_length to the base's",
        )
