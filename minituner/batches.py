"""Examples and padded batches: the only place where labels are made.

A token is scored if its loss counts. In a fill-in pair only the answer is scored in training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from minituner.data.pairs import TokenizedPair

IGNORE_INDEX = -100  # the label of a token that is not scored
EVALUATION_BATCH_SIZE = 128  # texts; more than in training, since no gradients are kept


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids; those from ``scored_from`` on are scored (0 < scored_from < length)."""

    ids: list[int]
    scored_from: int


@dataclass(frozen=True, eq=False)
class Batch:
    """B texts of at most T tokens, padded on the right.

    ``labels[b, t]`` is the token that follows ``input_ids[b, t]``, or ``IGNORE_INDEX`` where that
    token is not scored: the shift by one happens in :func:`pad` and nowhere else.
    """

    input_ids: Tensor  # (B, T) int64
    mask: Tensor  # (B, T) bool, False at padding
    labels: Tensor  # (B, T) int64
    _parts: dict[tuple[int | None, torch.device], list[Batch]] = field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def scored(self) -> Tensor:
        """(B, T) bool: where the next token is scored."""
        return self.labels != IGNORE_INDEX

    def texts(self) -> list[list[int]]:
        """The token ids of each text, without padding."""
        lengths = self.mask.sum(1).tolist()
        return [ids[:n] for ids, n in zip(self.input_ids.tolist(), lengths, strict=True)]

    def parts(self, max_tokens: int | None, device: torch.device) -> Sequence[Batch]:
        """The batch on a device, in parts of consecutive texts.

        The same parts each time, because models keep what they have computed by batch; this batch
        itself if it is on the device and within the limit.

        Args:
            max_tokens: The largest B x T of a part, padding included; a longer text is a part of
                its own. None does not split.
        """
        whole = max_tokens is None or self.input_ids.numel() <= max_tokens
        if whole and self.input_ids.device == device:
            return [self]  # not kept: a reference to itself would keep the batch forever
        if (max_tokens, device) not in self._parts:
            texts = [slice(None)] if whole else text_slices(self.mask.sum(1).tolist(), max_tokens)
            self._parts[max_tokens, device] = [self._part(which, device) for which in texts]
        return self._parts[max_tokens, device]

    def _part(self, texts: slice, device: torch.device) -> Batch:
        """Some of the texts, padded to the longest of them."""
        T = int(self.mask[texts].sum(1).max())
        tensors = (self.input_ids, self.mask, self.labels)
        return Batch(*(tensor[texts, :T].to(device) for tensor in tensors))


def pad(examples: Sequence[Example], pad_id: int) -> Batch:
    """One batch of the examples; T is the length of the longest, less one."""
    length = max(len(example.ids) for example in examples)
    ids = torch.tensor([[*e.ids, *[pad_id] * (length - len(e.ids))] for e in examples])
    position = torch.arange(length - 1)
    mask = position < torch.tensor([[len(example.ids) - 1] for example in examples])
    scored = mask & (position >= torch.tensor([[e.scored_from - 1] for e in examples]))
    return Batch(
        input_ids=ids[:, :-1].where(mask, pad_id),
        mask=mask,
        labels=ids[:, 1:].where(scored, IGNORE_INDEX),
    )


def text_slices(lengths: Sequence[int], max_tokens: int | None) -> list[slice]:
    """Texts in groups, in their order, each of at most ``max_tokens`` tokens once it is padded.

    A text that is longer is a group of its own.

    Args:
        lengths: The number of tokens of each text.
        max_tokens: None makes one group.
    """
    limit = math.inf if max_tokens is None else max_tokens
    starts, longest = [0], 0
    for i, length in enumerate(lengths):
        longest = max(longest, length)
        if i > starts[-1] and (i + 1 - starts[-1]) * longest > limit:
            starts.append(i)
            longest = length
    return [slice(start, end) for start, end in pairwise([*starts, len(lengths)])]


def completion_examples(pairs: Sequence[TokenizedPair]) -> list[Example]:
    """Prompt + right answer of each pair, with only the answer's tokens scored."""
    return [Example(p.prompt_ids + p.target_ids, len(p.prompt_ids)) for p in pairs]


def text_examples(texts: Sequence[list[int]]) -> list[Example]:
    """Texts with every token scored except the first."""
    return [Example(ids, 1) for ids in texts]


class Loader:
    """``examples`` in batches, as often as it is iterated over; the last batch may be smaller.

    Args:
        generator: Draws a new order for each pass; without it the order is that of ``examples``.
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
            yield pad([self.examples[i] for i in chosen], self.pad_id)
