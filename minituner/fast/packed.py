"""The transformer without padding: each distinct token of a batch is computed once.

The same submodules and formulas as :mod:`minituner.model`, applied to fewer positions:

- padding is not computed;
- texts that begin alike share the hidden states of their common prefix, since a hidden state
  depends only on the token and what precedes it (not in training: dropout would draw one mask for
  all of them);
- the last block computes only the positions that are needed.

Shapes: a batch has B x T positions, of which N are computed and M of these needed; d = ``d_model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from minituner.batches import Batch
from minituner.model import MLP, Attention, Block, MiniGPT


@dataclass(frozen=True, eq=False)
class PackedIndex:
    """Which N tokens are computed for the B x T positions of a batch."""

    mask: Tensor  # (B, T) bool, False at padding
    indices: Tensor  # (N,) int64, the flat position that each computed token is taken from
    inverse: Tensor  # (B * T,) int64, which of the N is at each position; arbitrary at padding

    @classmethod
    def of(cls, mask: Tensor) -> PackedIndex:
        """Each position of a mask has a token of its own: (B, T) bool."""
        return cls(
            mask, mask.flatten().nonzero().squeeze(1), (mask.flatten().cumsum(0) - 1).clamp_min(0)
        )

    @classmethod
    def of_prefixes(cls, batch: Batch) -> PackedIndex:
        """Positions with the same text up to and including their token share one."""
        T = batch.mask.shape[1]
        known: dict[tuple[int, int], int] = {}  # (index of the prefix, token id) -> index
        indices: list[int] = []
        inverse = [0] * batch.mask.numel()
        for b, text in enumerate(batch.texts()):
            which = -1
            for position, token in enumerate(text, start=b * T):
                if (which, token) not in known:
                    known[which, token] = len(indices)
                    indices.append(position)
                which = known[which, token]
                inverse[position] = which
        device = batch.mask.device
        return cls(
            batch.mask,
            torch.tensor(indices, device=device),
            torch.tensor(inverse, device=device),
        )

    def pad(self, x: Tensor) -> Tensor:
        """(N, d) -> (B, T, d). The values at padding are arbitrary: padding follows the text, so
        the causal mask hides it."""
        return x.index_select(0, self.inverse).unflatten(0, self.mask.shape)

    def unpad(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (N, d)"""
        return x.flatten(0, 1).index_select(0, self.indices)

    def select(self, x: Tensor, needed: PackedIndex) -> Tensor:
        """(N, d) -> (M, d): the tokens at the positions of another index."""
        return x if needed is self else x.index_select(0, self.inverse[needed.indices])


def blocks_of(model: MiniGPT) -> list[Block]:
    """``model.blocks``, with their type."""
    return cast(list[Block], list(model.blocks))


def packed_embedding(model: MiniGPT, batch: Batch, index: PackedIndex) -> Tensor:
    """-> (N, d)"""
    T = batch.input_ids.shape[1]
    tokens = model.token_embedding(batch.input_ids.flatten()[index.indices])
    positions: Tensor = model.position_embedding.weight[index.indices % T]
    return tokens + positions


def packed_attention(
    attention: Attention, x: Tensor, index: PackedIndex, needed: PackedIndex
) -> Tensor:
    """(N, d) -> (M, d): every token is attended to, the needed ones are returned."""
    q = attention.split_heads(needed.pad(attention.q_proj(index.select(x, needed))))
    k = attention.split_heads(index.pad(attention.k_proj(x)))
    v = attention.split_heads(index.pad(attention.v_proj(x)))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, h, T, d / h)
    return attention.o_proj(needed.unpad(y.transpose(1, 2).flatten(2)))


def packed_attend(block: Block, x: Tensor, index: PackedIndex, needed: PackedIndex) -> Tensor:
    """The first line of ``Block.forward``: (N, d) -> (M, d)"""
    return index.select(x, needed) + packed_attention(block.attn, block.ln_1(x), index, needed)


def packed_block(block: Block, x: Tensor, index: PackedIndex, needed: PackedIndex) -> Tensor:
    """``Block.forward``: (N, d) -> (M, d)"""
    x = packed_attend(block, x, index, needed)
    return x + block.mlp(block.ln_2(x))


def mlp_hidden(mlp: MLP, x: Tensor) -> Tensor:
    """The input of ``fc2``: (N, d) -> (N, 4 d)"""
    return F.gelu(mlp.fc1(x))
