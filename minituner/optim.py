"""AdamW (Loshchilov & Hutter 2019) and a cosine schedule.

The update equals ``torch.optim.AdamW`` bit for bit (a test compares them); it is written out
because constructing that class imports torch's compiler, which takes over a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class AdamW:
    """Adam with decoupled weight decay over ``parameters``; those without a gradient rest."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.betas = betas
        self.eps = eps
        self.steps = 0
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.variances = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that stand in the parameters."""
        self.steps += 1
        beta1, beta2 = self.betas
        moving = [
            (p, p.grad, mean, variance)
            for p, mean, variance in zip(self.parameters, self.means, self.variances, strict=True)
            if p.grad is not None
        ]
        parameters, gradients, means, variances = map(list, zip(*moving, strict=True))

        torch._foreach_mul_(parameters, 1 - self.learning_rate * self.weight_decay)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(variances, beta2)
        torch._foreach_addcmul_(variances, gradients, gradients, 1 - beta2)

        step_size = self.learning_rate / (1 - beta1**self.steps)
        denominators = torch._foreach_sqrt(variances)
        torch._foreach_div_(denominators, (1 - beta2**self.steps) ** 0.5)
        torch._foreach_add_(denominators, self.eps)
        torch._foreach_addcdiv_(parameters, means, denominators, -step_size)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the step count and both moments."""
        return {"steps": self.steps, "means": self.means, "variances": self.variances}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.steps = state["steps"]
        self.means = [tensor.clone() for tensor in state["means"]]
        self.variances = [tensor.clone() for tensor in state["variances"]]


def cosine_learning_rate(step: int, total_steps: int, peak: float, warmup_steps: int) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to a tenth of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))
