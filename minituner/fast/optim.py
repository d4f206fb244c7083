"""AdamW (Loshchilov & Hutter 2019) and a cosine schedule.

The update is the kernel behind ``torch.optim.AdamW(fused=True)`` and equals it bit for bit (a test
compares them). It is called here because constructing that class imports torch's compiler, which
takes over a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class AdamW:
    """Adam with decoupled weight decay over ``parameters``; those without a gradient rest.

    Args:
        rate_ratios: What each parameter's learning rate is multiplied by; 1 for all by default.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        learning_rate: float,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        rate_ratios: Sequence[float] | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.betas = betas
        self.eps = eps
        self.rate_ratios = list(rate_ratios or [1.0] * len(self.parameters))
        self.steps = [torch.zeros(()) for _ in self.parameters]
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.variances = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update from the gradients that stand in the parameters."""
        moving = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for ratio in sorted({self.rate_ratios[i] for i in moving}):
            self._update([i for i in moving if self.rate_ratios[i] == ratio], ratio)

    def _update(self, moving: Sequence[int], rate_ratio: float) -> None:
        steps = [self.steps[i] for i in moving]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            [self.parameters[i] for i in moving],
            [gradient for i in moving if (gradient := self.parameters[i].grad) is not None],
            [self.means[i] for i in moving],
            [self.variances[i] for i in moving],
            [],
            steps,
            lr=self.learning_rate * rate_ratio,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: the step counts and both moments."""
        return {"steps": self.steps, "means": self.means, "variances": self.variances}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.steps = [tensor.clone() for tensor in state["steps"]]
        self.means = [tensor.clone() for tensor in state["means"]]
        self.variances = [tensor.clone() for tensor in state["variances"]]


def cosine_learning_rate(step: int, total_steps: int, peak: float, warmup_steps: int) -> float:
    """Linear warm-up to ``peak``, then half a cosine down to a tenth of it."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))
