"""MiniGPT: a small decoder-only transformer (Vaswani et al. 2017; Radford et al. 2019).

Pre-layer-norm, learned positions, biases everywhere, exact GELU, output head tied to the token
embedding. Shapes below: B sequences, T tokens, d = ``d_model``, V = ``vocab_size``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is no multiple of n_heads {self.n_heads}")


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

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d). Padding stands on the right, so the causal mask hides it too."""
        B, T, d = x.shape

        def heads(projected: Tensor) -> Tensor:
            return projected.view(B, T, self.n_heads, d // self.n_heads).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x)), is_causal=True
        )  # (B, heads, T, d / heads)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(B, T, d))
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

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)"""
        x = x + self.attn(self.ln_1(x))
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

    def features(self, input_ids: Tensor) -> Tensor:
        """The last hidden states, normed: (B, T) ids -> (B, T, d).

        Raises:
            ValueError: T exceeds the context length.
        """
        T = input_ids.shape[1]
        if self.config.context_length < T:
            raise ValueError(f"{T} tokens exceed the context of {self.config.context_length}")
        x = self.token_embedding(input_ids) + self.position_embedding.weight[:T]
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.ln_f(x)
        return out

    def head(self, features: Tensor) -> Tensor:
        """Next-token logits: (..., d) -> (..., V), through the tied embedding."""
        return F.linear(features, self.token_embedding.weight)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Next-token logits: (B, T) ids -> (B, T, V)."""
        return self.head(self.features(input_ids))


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
