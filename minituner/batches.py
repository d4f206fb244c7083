"""Padded batches of token ids, and the loaders that make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = -100  # a label that is not scored


@dataclass(frozen=True)
class Batch:
    """B sequences of T tokens, padded on the right.

    ``labels[b, t]`` is the token that follows ``input_ids[b, t]``, or ``IGNORE`` where that token
    is not scored: the shift by one happens here and nowhere else.
    """

    input_ids: Tensor  # (B, T) int64
    real: Tensor  # (B, T) bool: no padding
    labels: Tensor  # (B, T) int64


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of which those from ``scored_from`` on are scored (0 < scored_from < length)."""

    ids: list[int]
    scored_from: int


def collate(examples: Sequence[Example], pad_id: int) -> Batch:
    """Pad examples into one batch; T is the longest's length less one."""
    T = max(len(example.ids) for example in examples) - 1
    input_ids = torch.full((len(examples), T), pad_id)
    real = torch.zeros((len(examples), T), dtype=torch.bool)
    labels = torch.full((len(examples), T), IGNORE)
    for b, example in enumerate(examples):
        ids = torch.tensor(example.ids)
        input_ids[b, : len(ids) - 1] = ids[:-1]
        real[b, : len(ids) - 1] = True
        labels[b, example.scored_from - 1 : len(ids) - 1] = ids[example.scored_from :]
    return Batch(input_ids, real, labels)


def text_examples(texts: Sequence[list[int]]) -> list[Example]:
    """Texts with every token scored but the first."""
    return [Example(ids, 1) for ids in texts]


class Loader:
    """Goes over ``examples`` in batches, again at every ``iter``.

    With a generator the order is drawn anew each time. The last batch may be smaller.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        batch_size: int,
        pad_id: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.examples = examples
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = list(range(len(self.examples)))
        if self.generator is not None:
            order = torch.randperm(len(order), generator=self.generator).tolist()
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield collate([self.examples[i] for i in chosen], self.pad_id)
