"""MiniGPT: a small decoder-only transformer (Vaswani et al. 2017; Radford et al. 2019).

Pre-layer-norm, learned positions, biases everywhere, exact GELU, output head tied to the token
embedding. Shapes below: B sequences of T places, N of them tokens and not padding, d = ``d_model``,
V = ``vocab_size``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minituner.errors import UserError


@dataclass(frozen=True)
class MiniGPTConfig:
    """The shape of a MiniGPT; ``d_model`` must be a multiple of ``n_heads``."""

    vocab_size: int
    context_length: int = 48
    d_model: int = 384
    n_layers: int = 4
    n_heads: int = 6

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_layers", "n_heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1 on, found {value!r}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is no multiple of n_heads {self.n_heads}")


@dataclass(frozen=True)
class Layout:
    """Which N tokens are computed for the B x T places of a batch. Padding never is.

    A token's state depends on what stands before it alone, so one that is computed may stand in
    more than one place: at the same distance from the start of texts that begin alike.
    """

    mask: Tensor  # (B, T) bool, the places that hold a token
    places: Tensor  # (N,) int64, where each token is taken from, counted row by row
    rows: Tensor  # (B * T,) int64, which of the N stands at a place; any at padding

    @classmethod
    def of(cls, mask: Tensor) -> Layout:
        """Each place of a mask has a token of its own: (B, T) bool."""
        places = mask.flatten().nonzero().squeeze(1)
        return cls(mask, places, (mask.flatten().cumsum(0) - 1).clamp_min(0))

    def spread(self, x: Tensor) -> Tensor:
        """(N, d) -> (B, T, d). What stands at padding has no meaning: it comes after the text, so
        that the causal mask hides it."""
        return x.index_select(0, self.rows).view(*self.mask.shape, -1)

    def gather(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (N, d)"""
        return x.flatten(0, 1).index_select(0, self.places)

    def choose(self, x: Tensor, wanted: Layout) -> Tensor:
        """(N, d) -> (M, d): the tokens that stand at the places of another layout."""
        return x if wanted is self else x.index_select(0, self.rows[wanted.places])


@dataclass(frozen=True)
class Entry:
    """Where N tokens enter the model when all that comes before ``fc2`` of a block is known."""

    block: int  # not the last
    residual: Tensor  # (N, d) what the MLP's output is added to
    hidden: Tensor  # (N, 4 d) what enters fc2
    projected: Tensor  # (N, d) what fc2 makes of it, an adapter's update aside

    def choose(self, rows: Tensor) -> Entry:
        """Some of the tokens: (M,) int64 -> M tokens."""
        return Entry(self.block, self.residual[rows], self.hidden[rows], self.projected[rows])


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.q_proj = nn.Linear(d, d)
        self.k_proj = nn.Linear(d, d)
        self.v_proj = nn.Linear(d, d)
        self.o_proj = nn.Linear(d, d)

    def forward(self, x: Tensor, layout: Layout, wanted: Layout) -> Tensor:
        """(N, d) -> (M, d): every token is attended to, the wanted ones are returned."""
        B, T = layout.mask.shape

        def heads(projected: Tensor, at: Layout) -> Tensor:  # (N, d) -> (B, heads, T, d / heads)
            return at.spread(projected).view(B, T, self.n_heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads(self.q_proj(layout.choose(x, wanted)), wanted),
            heads(self.k_proj(x), layout),
            heads(self.v_proj(x), layout),
            is_causal=True,
        )
        out: Tensor = self.o_proj(wanted.gather(mixed.transpose(1, 2).flatten(2)))
        return out


class MLP(nn.Module):
    """Two linear layers, four times as wide in the middle."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, 4 * config.d_model)
        self.fc2 = nn.Linear(4 * config.d_model, config.d_model)

    def hidden(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., 4 d)"""
        return F.gelu(self.fc1(x))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)"""
        out: Tensor = self.fc2(self.hidden(x))
        return out


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and around a residual."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model)
        self.mlp = MLP(config)

    def attend(self, x: Tensor, layout: Layout, wanted: Layout) -> Tensor:
        """The first half: (N, d) -> (M, d), at the wanted tokens"""
        out: Tensor = layout.choose(x, wanted) + self.attn(self.ln_1(x), layout, wanted)
        return out

    def forward(self, x: Tensor, layout: Layout, wanted: Layout) -> Tensor:
        """(N, d) -> (M, d), at the wanted tokens"""
        x = self.attend(x, layout, wanted)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out

    def leave(self, entry: Entry) -> Tensor:
        """What is left to do from an entry on: -> (N, d)"""
        out: Tensor = entry.residual + self.mlp.fc2(entry.hidden, entry.projected)
        return out


class MiniGPT(nn.Module):
    """The language model. ``forward`` is ``head`` after ``features``."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model)

    def features(
        self,
        input_ids: Tensor,
        layout: Layout | None = None,
        wanted: Tensor | None = None,
        entry: Entry | None = None,
    ) -> Tensor:
        """The last hidden states, normed, of the wanted tokens, row by row.

        Args:
            input_ids: (B, T) int64, padded on the right.
            layout: Which places hold a token; all by default.
            wanted: (B, T) bool, which of these are asked for; all by default. The last block
                computes no others after its attention.
            entry: Where to go on from, if what comes before is known for this batch.

        Returns:
            (number of wanted tokens, d)

        Raises:
            UserError: T exceeds the context length.
        """
        T = input_ids.shape[1]
        if self.config.context_length < T:
            raise UserError(
                "input_ids",
                "a text is longer than the model's context",
                found=f"{T} tokens",
                expected=f"at most {self.config.context_length}",
                fix="shorten it; for a base of your own, set base.model.context_length to its own",
            )
        layout = layout or Layout.of(torch.ones_like(input_ids, dtype=torch.bool))
        last = layout if wanted is None else Layout.of(wanted)
        if entry is None:
            x, done = self._embed(input_ids, layout), 0
        else:
            x, done = self.block(entry.block).leave(entry), entry.block + 1
        for block in self.blocks[done:-1]:
            x = block(x, layout, layout)
        out: Tensor = self.ln_f(self.blocks[-1](x, layout, last))
        return out

    def before_fc2(self, input_ids: Tensor, layout: Layout, block: int) -> tuple[Tensor, Tensor]:
        """The ``residual`` and the ``hidden`` of an :class:`Entry` into a block."""
        x = self._embed(input_ids, layout)
        for before in self.blocks[:block]:
            x = before(x, layout, layout)
        entered = self.block(block)
        residual = entered.attend(x, layout, layout)
        return residual, entered.mlp.hidden(entered.ln_2(residual))

    def block(self, index: int) -> Block:
        """One of ``blocks``."""
        block = self.blocks[index]
        assert isinstance(block, Block)
        return block

    def _embed(self, input_ids: Tensor, layout: Layout) -> Tensor:
        """-> (N, d)"""
        T = input_ids.shape[1]
        x: Tensor = self.token_embedding(input_ids.flatten()[layout.places])
        return x + self.position_embedding.weight[layout.places % T]

    def head(self, features: Tensor) -> Tensor:
        """Next-token logits: (..., d) -> (..., V), through the tied embedding."""
        return F.linear(features, self.token_embedding.weight)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Next-token logits: (B, T) ids -> (B, T, V)."""
        return self.head(self.features(input_ids)).view(*input_ids.shape, -1)


def init_weights(model: MiniGPT, generator: torch.Generator) -> None:
    """GPT-2's initialization: N(0, 0.02), biases 0, residual outputs scaled by 1/sqrt(2 layers)."""
    residual_std = 0.02 / (2 * model.config.n_layers) ** 0.5
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            std = residual_std if name.endswith(("o_proj", "fc2")) else 0.02
            nn.init.normal_(module.weight, std=std, generator=generator)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def linear_layers(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Every ``nn.Linear`` by its dotted name, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module


def parameter_count(config: MiniGPTConfig) -> int:
    """The number of weights, in closed form: 12 d² + 13 d a layer, the embeddings and one norm."""
    d = config.d_model
    return (
        config.n_layers * (12 * d * d + 13 * d)
        + (config.vocab_size + config.context_length) * d
        + 2 * d
    )
