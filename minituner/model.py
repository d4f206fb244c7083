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
    """Where the N tokens that are computed stand among B x T places. Padding is never computed."""

    mask: Tensor  # (B, T) bool
    places: Tensor  # (N,) int64, the mask's true places counted row by row

    @classmethod
    def of(cls, mask: Tensor) -> Layout:
        """The layout of a mask: (B, T) bool."""
        return cls(mask, mask.flatten().nonzero().squeeze(1))

    def spread(self, x: Tensor) -> Tensor:
        """(N, d) -> (B, T, d), zero where nothing was computed."""
        B, T = self.mask.shape
        return x.new_zeros(B * T, x.shape[1]).index_copy(0, self.places, x).view(B, T, -1)

    def gather(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (N, d)"""
        return x.flatten(0, 1).index_select(0, self.places)

    def choose(self, x: Tensor, wanted: Layout) -> Tensor:
        """(N, d) -> (M, d): of these tokens, those of a layout that is part of this one."""
        if wanted is self:
            return x
        return x.index_select(0, torch.searchsorted(self.places, wanted.places))


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
        """(N, d) -> (M, d): every token is attended to, the wanted ones are returned.

        Padding stands on the right, so the causal mask hides it from the tokens before it.
        """
        B, T = layout.mask.shape

        def heads(projected: Tensor) -> Tensor:  # (N, d) -> (B, heads, T, d / heads)
            return layout.spread(projected).view(B, T, self.n_heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x)), is_causal=True
        )
        out: Tensor = self.o_proj(wanted.gather(mixed.transpose(1, 2).flatten(2)))
        return out


class MLP(nn.Module):
    """Two linear layers, four times as wide in the middle."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, 4 * config.d_model)
        self.fc2 = nn.Linear(4 * config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)"""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and around a residual."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, layout: Layout, wanted: Layout) -> Tensor:
        """(N, d) -> (M, d), at the wanted tokens"""
        x = layout.choose(x, wanted) + self.attn(self.ln_1(x), layout, wanted)
        out: Tensor = x + self.mlp(self.ln_2(x))
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
        self, input_ids: Tensor, real: Tensor | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """The last hidden states, normed, of the wanted tokens, row by row.

        Args:
            input_ids: (B, T) int64, padded on the right.
            real: (B, T) bool, which of them are no padding; all by default.
            wanted: (B, T) bool, which of the real ones are asked for; all by default. The last
                block computes no others after its attention.

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
                mend="shorten it; for a base of your own, set base.model.context_length to its own",
            )
        layout = Layout.of(torch.ones_like(input_ids, dtype=torch.bool) if real is None else real)
        last = layout if wanted is None else Layout.of(wanted)
        x = self.token_embedding(input_ids.flatten()[layout.places])
        x = x + self.position_embedding.weight[layout.places % T]
        for block in self.blocks[:-1]:
            x = block(x, layout, layout)
        out: Tensor = self.ln_f(self.blocks[-1](x, layout, last))
        return out

    def head(self, features: Tensor) -> Tensor:
        """Next-token logits: (..., d) -> (..., V), through the tied embedding."""
        return F.linear(features, self.token_embedding.weight)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Next-token logits: (B, T) ids -> (B, T, V)."""
        return self.head(self.features(input_ids)).view(*input_ids.shape, -1)


def init_weights(model: MiniGPT, generator: torch.Generator) -> None:
    """GPT-2's initialisation: N(0, 0.02), biases 0, residual outputs scaled by 1/sqrt(2 layers)."""
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
