"""Which tokens are computed, by hand; each packed step against the textbook's step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from models import PAD_ID

from minituner.batches import Batch, Example, pad
from minituner.fast.packed import (
    PackedIndex,
    blocks_of,
    packed_block,
    packed_embedding,
)
from minituner.model import MiniGPT

TEXTS = [[1, 5, 6, 7, 9], [1, 5, 6, 8, 9], [1, 4, 6, 7], [1, 5]]


@pytest.fixture
def batch() -> Batch:
    """Four texts of several lengths with common prefixes; every token but the first is scored."""
    return pad([Example(text, 1) for text in TEXTS], PAD_ID)


def test_index_of_a_mask_skips_padding(batch: Batch) -> None:
    index = PackedIndex.of(batch.mask)
    assert index.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert index.inverse.view(4, 4)[batch.mask].tolist() == list(range(12))


def test_index_of_prefixes_computes_a_common_prefix_once(batch: Batch) -> None:
    index = PackedIndex.of_prefixes(batch)
    # 1 5 6 7, then 8 of the second, then 4 6 of the third.
    assert index.indices.tolist() == [0, 1, 2, 3, 7, 9, 10]
    found = index.inverse.view(4, 4)[batch.mask].tolist()
    assert found == [0, 1, 2, 3, 0, 1, 2, 4, 0, 5, 6, 0]


@pytest.mark.parametrize("index_of", [lambda b: PackedIndex.of(b.mask), PackedIndex.of_prefixes])
def test_pad_and_unpad_are_inverse(batch: Batch, index_of: Callable[..., PackedIndex]) -> None:
    index = index_of(batch)
    x = torch.arange(len(index.indices))[:, None].float()
    assert index.pad(x).shape == (4, 4, 1)
    assert torch.equal(index.unpad(index.pad(x)), x)


def test_select_takes_the_tokens_at_the_needed_positions(batch: Batch) -> None:
    index, needed = PackedIndex.of_prefixes(batch), PackedIndex.of(batch.mask)
    tokens = batch.input_ids.flatten()[index.indices][:, None]
    assert index.select(tokens, needed)[:, 0].tolist() == batch.input_ids[batch.mask].tolist()
    assert index.select(tokens, index) is tokens


@torch.no_grad()
@pytest.mark.parametrize("prefixes", [False, True])
def test_packed_block_equals_the_textbook_block(
    base: MiniGPT, batch: Batch, prefixes: bool
) -> None:
    base.double()
    index = PackedIndex.of_prefixes(batch) if prefixes else PackedIndex.of(batch.mask)
    some = torch.tensor([[0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]).bool()
    x = base.token_embedding(batch.input_ids) + base.position_embedding(torch.arange(4))
    packed = packed_embedding(base, batch, index)
    assert torch.equal(packed, index.unpad(x))
    block = blocks_of(base)[0]
    y = block(x)
    for needed, mask in ((index, batch.mask), (PackedIndex.of(some), some)):
        found = packed_block(block, packed, index, needed)
        assert len(found) == len(needed.indices)
        torch.testing.assert_close(needed.pad(found)[mask], y[mask], rtol=1e-11, atol=1e-11)
