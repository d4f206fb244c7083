"""A batch in parts by length: the cheapest cuts, the same scored tokens in the same order."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from minituner.batches import Batch, Example, pad
from minituner.hf import lengths
from minituner.hf.lengths import Parts, cheapest_ends


def batch_of(*sizes: int) -> Batch:
    """Texts of these lengths, of which the second half is scored; no token occurs twice."""
    ids = iter(range(1, 10_000))
    return pad([Example([next(ids) for _ in range(n + 1)], 1 + n // 2) for n in sizes], 0)


@pytest.mark.parametrize("part_cost", [0, 3, 10, 1000])
def test_cuts_are_the_cheapest_of_all(monkeypatch: pytest.MonkeyPatch, part_cost: int) -> None:
    monkeypatch.setattr(lengths, "PART_COST", part_cost)
    draw = torch.Generator().manual_seed(part_cost)
    for _ in range(20):
        sizes = sorted(torch.randint(1, 20, (7,), generator=draw).tolist())

        def cost(ends: tuple[int, ...], sizes: list[int] = sizes) -> int:
            starts = (0, *ends)
            cuts = zip(starts, ends, strict=False)
            return sum((end - start) * sizes[end - 1] + part_cost for start, end in cuts)

        cuts = [(*chosen, 7) for n in range(7) for chosen in combinations(range(1, 7), n)]
        assert cost(tuple(cheapest_ends(sizes))) == min(map(cost, cuts))


def test_parts_hold_every_text_once_without_its_padding() -> None:
    batch = batch_of(3, 90, 4, 88, 3, 90)
    parts = Parts.of(batch)
    assert parts is not None
    assert [tuple(part.mask.shape) for part in parts.batches] == [(3, 4), (3, 90)]
    assert sum(int(part.mask.sum()) for part in parts.batches) == int(batch.mask.sum())
    labels = torch.cat([part.labels[part.scored] for part in parts.batches])
    assert torch.equal(labels[parts.order], batch.labels[batch.scored])
    for part in parts.batches:
        assert bool((part.input_ids[~part.mask] == 0).all())
        followed = part.labels[part.scored] - part.input_ids[part.scored]
        assert bool((followed == 1).all())  # each label is still the token that follows


def test_texts_of_similar_length_stay_together() -> None:
    assert Parts.of(batch_of(10, 12, 11)) is None
    assert Parts.of(batch_of(500)) is None
