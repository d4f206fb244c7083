"""Models and numbers that several test modules share."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from minituner.causal_lm import CausalLM
from minituner.lora import lora_layers, wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT, MiniGPTConfig

BOS_ID, EOS_ID, PAD_ID = 0, 1, 2


class Bigram(CausalLM):
    """A model whose next-token logits are a row of a table: its answers are worked out by hand.

    Args:
        likely: P(next | token) for the pairs that matter; the rest of each row is shared evenly
            among the others.
    """

    def __init__(self, config: MiniGPTConfig, likely: Mapping[tuple[int, int], float]) -> None:
        super().__init__()
        self.config = config
        V = config.vocab_size
        table = torch.full((V, V), 1 / V, dtype=torch.float64)
        for token in {token for token, _ in likely}:
            row = {after: p for (before, after), p in likely.items() if before == token}
            table[token] = (1 - sum(row.values())) / (V - len(row))
            for after, p in row.items():
                table[token, after] = p
        self.table = table.log()
        self.modes: list[bool] = []  # whether it was in training mode, call by call

    @property
    def context_length(self) -> int:
        return self.config.context_length

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def forward(self, input_ids: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.table[input_ids]


class LinearLM(CausalLM):
    """A language model that is not a MiniGPT: the mean of the embeddings so far, and two layers."""

    def __init__(self, vocab_size: int, context_length: int = 32, d: int = 16) -> None:
        super().__init__()
        self._context_length = context_length
        self.embedding = nn.Embedding(vocab_size, d)
        self.hidden = nn.Linear(d, 2 * d)
        self.head = nn.Linear(2 * d, vocab_size, bias=False)

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def vocab_size(self) -> int:
        return self.embedding.num_embeddings

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        counts = torch.arange(1, x.shape[1] + 1)[:, None]
        logits: Tensor = self.head(torch.tanh(self.hidden(x.cumsum(1) / counts)))
        return logits


def chain(*token_ids: int, p: float = 0.9) -> dict[tuple[int, int], float]:
    """For a :class:`Bigram`: each token followed by the next with probability p."""
    return dict.fromkeys(pairwise(token_ids), p)


def tuned_copy(
    base: MiniGPT, targets: Iterable[str] = ("mlp.fc2",), seed: int = 5, **options: Any
) -> MiniGPT:
    """A copy of ``base`` with an adapter all of whose weights are drawn, in ``eval`` mode.

    Args:
        options: Of :class:`LoRAConfig`; by default rank 4, alpha 12 and dropout 0.1.
    """
    options = {"r": 4, "alpha": 12.0, "dropout": 0.1, **options}
    model = wrap(copy.deepcopy(base), LoRAConfig(target_modules=tuple(targets), **options), seed)
    draw = torch.Generator().manual_seed(seed)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, generator=draw)
        if layer.magnitude is not None:
            nn.init.uniform_(layer.magnitude, 0.5, 2.0, generator=draw)
    return model.eval()


def bytes_of(state: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Each tensor's bytes: equal only if every bit is, NaN and the sign of zero included."""
    return {name: tensor.detach().numpy().tobytes() for name, tensor in state.items()}


def reference_logits(model: MiniGPT, ids: Tensor) -> Tensor:
    """MiniGPT written out with plain tensor operations, from its weights' names alone."""
    w, heads, T = model.state_dict(), model.config.n_heads, ids.shape[1]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    future = torch.ones(T, T).triu(diagonal=1).bool()
    x = w["token_embedding.weight"][ids] + w["position_embedding.weight"][:T]
    for i in range(model.config.n_layers):
        at = f"blocks.{i}"
        h = norm(x, f"{at}.ln_1")
        q, k, v = (
            linear(h, f"{at}.attn.{name}_proj").unflatten(-1, (heads, -1)).transpose(1, 2)
            for name in "qkv"
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).masked_fill(future, -1e9).exp()
        mixed = weights / weights.sum(-1, keepdim=True) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"{at}.attn.o_proj")
        h = linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.fc1")
        h = h * (1 + torch.erf(h / math.sqrt(2))) / 2  # the exact GELU: tanh's differs by 1e-4
        x = x + linear(h, f"{at}.mlp.fc2")
    return norm(x, "ln_f") @ w["token_embedding.weight"].T
