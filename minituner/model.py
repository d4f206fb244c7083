"""MiniGPT: a small decoder-only transformer (Vaswani et al. 2017; Radford et al. 2019).

Pre-norm, learned position embeddings, biases in every linear layer, exact GELU, output head tied
to the token embedding. Shapes: B texts of T tokens, d = ``d_model``, h heads, V = ``vocab_size``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minituner.causal_lm import CausalLM, check_length


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
                raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")


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

    def forward(self, x: Tensor) -> Tensor:  # (B, T, d) -> (B, T, d)
        q = self.split_heads(self.q_proj(x))  # (B, h, T, d / h)
        k = self.split_heads(self.k_proj(x))  # (B, h, T, d / h)
        v = self.split_heads(self.v_proj(x))  # (B, h, T, d / h)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, h, T, d / h)
        return self.o_proj(y.transpose(1, 2).flatten(2))  # (B, T, d)

    def split_heads(self, x: Tensor) -> Tensor:  # (B, T, d) -> (B, h, T, d / h)
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with a GELU between them; the hidden layer is four times as wide."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, 4 * config.d_model)
        self.fc2 = nn.Linear(4 * config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, d) -> (B, T, d)
        return self.fc2(F.gelu(self.fc1(x)))  # fc1's output: (B, T, 4 d)


class Block(nn.Module):
    """Attention, then MLP, each with a layer norm before it and a residual connection around it."""

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.d_model)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.d_model)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, d) -> (B, T, d)
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class MiniGPT(CausalLM):
    """The language model: embeddings, blocks, a final layer norm, and the tied head."""

    float32_only = True

    def __init__(self, config: MiniGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.d_model)

    @property
    def context_length(self) -> int:
        return self.config.context_length

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def forward(self, input_ids: Tensor) -> Tensor:  # (B, T) -> (B, T, V)
        """Next-token logits.

        Raises:
            UserError: T exceeds the context length.
        """
        T = input_ids.shape[1]
        check_length(T, self.context_length)
        positions = torch.arange(T, device=input_ids.device)
        x = self.token_embedding(input_ids) + self.position_embedding(positions)  # (B, T, d)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))

    def head(self, x: Tensor) -> Tensor:  # (..., d) -> (..., V)
        return F.linear(x, self.token_embedding.weight)


def init_weights(model: MiniGPT, generator: torch.Generator) -> None:
    """GPT-2's: std 0.02, divided by sqrt(2 n_layers) where a residual branch ends; biases 0."""
    residual_std = 0.02 / (2 * model.config.n_layers) ** 0.5
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            std = residual_std if name.endswith(("o_proj", "fc2")) else 0.02
            nn.init.normal_(module.weight, std=std, generator=generator)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def parameter_count(config: MiniGPTConfig) -> int:
    """The number of weights in closed form: 12 d² + 13 d per block, embeddings, final norm."""
    d = config.d_model
    embeddings = (config.vocab_size + config.context_length) * d
    return config.n_layers * (12 * d * d + 13 * d) + embeddings + 2 * d
