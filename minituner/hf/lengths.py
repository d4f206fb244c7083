"""A batch in parts of texts of similar length, so that little padding is computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minituner.batches import Batch

# What a part costs in addition to its tokens, in tokens. A larger model takes longer per token, and
# no longer per part; this was measured with 20 million weights.
PART_COST = 64


@dataclass(frozen=True)
class Parts:
    """A batch in parts, and the way back.

    Args:
        batches: Without the columns that are only padding.
        order: For each scored token of the batch, in order, its index among those of the parts.
    """

    batches: list[Batch]
    order: Tensor  # (scored tokens,) int64

    @classmethod
    def of(cls, batch: Batch) -> Parts | None:
        """The parts of a batch that cost least; None if that is the whole batch."""
        lengths = batch.mask.sum(1)
        ordered = lengths.argsort(stable=True)
        ends = cheapest_ends(lengths[ordered].tolist())
        if len(ends) == 1:
            return None
        position = (batch.scored.flatten().cumsum(0) - 1).view(batch.scored.shape)
        batches, positions = [], []
        for start, end in zip([0, *ends], ends, strict=False):
            rows = ordered[start:end]
            columns = slice(int(lengths[rows[-1]]))
            batches.append(
                Batch(
                    batch.input_ids[rows, columns],
                    batch.mask[rows, columns],
                    batch.labels[rows, columns],
                )
            )
            positions.append(position[rows, columns][batches[-1].scored])
        return cls(batches, torch.cat(positions).argsort())


def cheapest_ends(lengths: list[int]) -> list[int]:
    """Where ascending lengths are cut so that the parts cost least: the end of each part.

    A part of n texts costs ``n * its longest text + PART_COST``.
    """
    costs, starts = [0], [0]  # of the cheapest parts of the first n texts
    for end, longest in enumerate(lengths, 1):
        cost, start = min(
            (costs[start] + (end - start) * longest + PART_COST, start) for start in range(end)
        )
        costs.append(cost)
        starts.append(start)
    ends = [len(lengths)]
    while starts[ends[-1]] > 0:
        ends.append(starts[ends[-1]])
    return ends[::-1]
