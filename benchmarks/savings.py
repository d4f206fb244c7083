"""One rank's training or evaluation without one saving of the fast path, or with one not kept.

    python benchmarks/savings.py "shared prefixes" evaluate --out /tmp/out

The fast path itself has no switches: each is put in here, for the measurement alone.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from minituner import batches, evaluate, greedy, lora, train
from minituner.adapter_tensors import named_lora_parameters
from minituner.batches import Batch, Example
from minituner.fast import minigpt, packed
from minituner.fast.cache import ActivationCache
from minituner.fast.packed import PackedIndex
from minituner.model import MiniGPT


def compute_padding() -> None:
    """Treat padding as text. It follows the text, so nothing that is scored changes."""
    without = batches.pad

    def pad(examples: list[Example], pad_id: int) -> Batch:
        batch = without(examples, pad_id)
        return Batch(batch.input_ids, torch.ones_like(batch.mask), batch.labels)

    for module in (batches, evaluate, greedy):
        module.pad = pad  # type: ignore[attr-defined]


def compute_common_prefixes_again() -> None:
    """Give every text hidden states of its own."""

    def of_prefixes(_: type[PackedIndex], batch: Batch) -> PackedIndex:
        return PackedIndex.of(batch.mask)

    packed.PackedIndex.of_prefixes = classmethod(of_prefixes)  # type: ignore[assignment,method-assign]


def compute_the_last_block_everywhere() -> None:
    """Compute all positions in the last block, and choose those that are needed from its output."""
    needed_only = packed.packed_block

    def packed_block(block: Any, x: Any, index: PackedIndex, needed: PackedIndex) -> Any:
        return index.select(needed_only(block, x, index, index), needed)

    minigpt.packed_block = packed_block  # type: ignore[attr-defined]


def compute_activations_again() -> None:
    """Start every text at its embedding."""
    ActivationCache.add = lambda *_: None  # type: ignore[method-assign]
    ActivationCache.resume = lambda *_: None  # type: ignore[method-assign]


def compute_as_the_textbook() -> None:
    """Take all of the fast path out: padded batches through ``MiniGPT.forward``."""
    minigpt.FastMiniGPT.scored_logits = MiniGPT.scored_logits  # type: ignore[method-assign]
    draw_each_element_of_dropout()


def draw_each_element_of_dropout() -> None:
    """Draw the mask with one random number per element, as ``torch.nn.Dropout`` does."""

    def dropout_mask(x: torch.Tensor, p: float, rng: torch.Generator | None) -> torch.Tensor:
        return torch.empty_like(x).bernoulli_(1 - p, generator=rng).div_(1 - p)

    lora.dropout_mask = dropout_mask  # type: ignore[attr-defined]


class AdamWKernel:
    """Not kept: the kernel behind ``torch.optim.AdamW(fused=True)``, called without that class,
    whose construction imports torch's compiler."""

    def __init__(self, model: Any, config: Any) -> None:
        self.config = config
        self.parameters = list(named_lora_parameters(model).values())
        self.exp_avg = [torch.zeros_like(p) for p in self.parameters]
        self.exp_avg_sq = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros(()) for _ in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the parameters' gradients."""
        torch._foreach_add_(self.steps, 1)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        torch._fused_adamw_(
            self.parameters,
            gradients,
            self.exp_avg,
            self.exp_avg_sq,
            [],
            self.steps,
            lr=self.config.learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=self.config.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def call_the_optimizers_kernel() -> None:
    """Put :class:`AdamWKernel` in torch's place."""
    train.lora_optimizer = AdamWKernel  # type: ignore[assignment]


def keep_all() -> None:
    """The fast path as it is."""


KEPT: dict[str, Callable[[], None]] = {
    "cached activations": compute_activations_again,
    "last block only where needed": compute_the_last_block_everywhere,
    "no padding": compute_padding,
    "shared prefixes": compute_common_prefixes_again,
    "dropout from 16 random bits": draw_each_element_of_dropout,
    "all of these": compute_as_the_textbook,
}
NOT_KEPT: dict[str, Callable[[], None]] = {
    "the optimizer's kernel, called directly": call_the_optimizers_kernel,
}

if __name__ == "__main__":
    variant, job = sys.argv[1:3]
    {"as it is": keep_all, **KEPT, **NOT_KEPT}[variant]()
    sys.argv = [f"{job}.py", *sys.argv[3:]]
    script = {"train": "ours.py", "evaluate": "evaluate.py"}[job]
    runpy.run_path(str(Path(__file__).parent / script), run_name="__main__")
