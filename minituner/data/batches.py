"""Padded batches of token ids, and the loaders that make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minituner.model import Entry, Layout

IGNORE = -100  # a label that is not scored


@dataclass(frozen=True)
class Batch:
    """B sequences of T tokens, padded on the right.

    ``labels[b, t]`` is the token that follows ``input_ids[b, t]``, or ``IGNORE`` where that token
    is not scored: the shift by one happens here and nowhere else.
    """

    input_ids: Tensor  # (B, T) int64
    layout: Layout
    labels: Tensor  # (B, T) int64
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of which those from ``scored_from`` on are scored (0 < scored_from < length)."""

    ids: list[int]
    scored_from: int
    entry: Entry | None = None  # what a frozen model makes of them, where that is kept


def collate(examples: Sequence[Example], pad_id: int, share: bool = False) -> Batch:
    """Pad examples into one batch; T is the longest's length less one.

    Args:
        share: Whether a beginning that texts have in common is computed once. Not for training:
            dropout would strike it alike in all of them.
    """
    length = max(len(example.ids) for example in examples)
    ids = torch.tensor([[*e.ids, *[pad_id] * (length - len(e.ids))] for e in examples])
    place = torch.arange(length - 1)
    mask = place < torch.tensor([[len(example.ids) - 1] for example in examples])
    scored = mask & (place >= torch.tensor([[example.scored_from - 1] for example in examples]))
    input_ids = ids[:, :-1].where(mask, pad_id)
    labels = ids[:, 1:].where(scored, IGNORE)
    layout = Layout.of(mask)
    entry = _join([example.entry for example in examples])
    if share:
        shared = shared_layout(mask, [example.ids[:-1] for example in examples])
        entry = entry and entry.choose(layout.rows[shared.places])
        layout = shared
    return Batch(input_ids, layout, labels, entry)


def shared_layout(mask: Tensor, texts: Sequence[Sequence[int]]) -> Layout:
    """The layout in which tokens with the same text up to and with them are one."""
    T = mask.shape[1]
    known: dict[tuple[int, int], int] = {}  # (row of the token before, token) -> row
    places: list[int] = []
    rows = [0] * mask.numel()
    for b, text in enumerate(texts):
        row = -1
        for place, token in enumerate(text, start=b * T):
            if (row, token) not in known:
                known[row, token] = len(places)
                places.append(place)
            row = known[row, token]
            rows[place] = row
    return Layout(mask, torch.tensor(places), torch.tensor(rows))


def _join(entries: Sequence[Entry | None]) -> Entry | None:
    """The entry of a batch from those of its examples; none if one lacks it."""
    known = [entry for entry in entries if entry is not None]
    if len(known) < len(entries):
        return None
    return Entry(
        known[0].block,
        torch.cat([entry.residual for entry in known]),
        torch.cat([entry.hidden for entry in known]),
        torch.cat([entry.projected for entry in known]),
    )


def text_examples(texts: Sequence[list[int]]) -> list[Example]:
    """Texts with every token scored but the first."""
    return [Example(ids, 1) for ids in texts]


class Loader:
    """Goes over ``examples`` in batches, again at every ``iter``.

    With a generator the order is drawn anew each time. The last batch may be smaller.

    Args:
        share: As in :func:`collate`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        batch_size: int,
        pad_id: int,
        generator: torch.Generator | None = None,
        share: bool = False,
    ) -> None:
        self.examples = examples
        self.batch_size = batch_size
        self.pad_id = pad_id
        self.generator = generator
        self.share = share

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = list(range(len(self.examples)))
        if self.generator is not None:
            order = torch.randperm(len(order), generator=self.generator).tolist()
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield collate([self.examples[i] for i in chosen], self.pad_id, self.share)
