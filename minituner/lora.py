"""LoRA: low-rank adapters over a frozen base (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

          y (..., out)
          |
          +  <-------- scaling * B --- (..., r) --- A
          |            (out, r)                  (r, in)
    W (out, in), frozen                             |
          |                                      dropout
          +---------------------+-------------------+
                                x (..., in)

Two variants: rsLoRA scales by alpha / sqrt(r) (Kalajdzievski 2023, https://arxiv.org/abs/2312.03732);
DoRA also learns the norm of each output's weights (Liu et al. 2024, https://arxiv.org/abs/2402.09353).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minituner.causal_lm import linear_layers
from minituner.errors import UserError
from minituner.fast.dropout import dropout_mask
from minituner.lora_config import DEFAULT_TARGET_MODULES, LoRAConfig
from minituner.model import MiniGPT
from minituner.seeding import generator
from minituner.target_layers import select_layers

Model = TypeVar("Model", bound=nn.Module)


class LoRALinear(nn.Module):
    """A linear layer with a low-rank update (eq. 3 of the paper).

    ``y = base(x) + scaling * B(A(dropout(x)))`` with ``scaling = alpha / r``; x is (..., in),
    y is (..., out), ``lora_A`` is (r, in), ``lora_B`` is (out, r). B starts at zero, so the layer
    starts as its base.

    With DoRA the result, without the bias, is multiplied by ``magnitude / norm``, both (out,):
    ``norm`` is that of each adapted weight row, ``magnitude`` is trained and starts as the base's.

    Args:
        base: The layer to adapt, used in place and not copied.
        freeze_base: Whether the base's weights are excluded from training.
        r, alpha, dropout, use_rslora, use_dora: As in :class:`LoRAConfig`.

    Raises:
        UserError: r, alpha or dropout is out of range.
    """

    def __init__(
        self,
        base: nn.Linear,
        r: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        freeze_base: bool = True,
        use_rslora: bool = False,
        use_dora: bool = False,
    ) -> None:
        super().__init__()
        self.config = LoRAConfig(r, alpha, dropout, (), use_rslora, use_dora)
        self.config.check_fits(base)
        self.base = base
        self.scaling = self.config.scaling
        self.dropout_rng: torch.Generator | None = None  # None: torch's own
        dtype = torch.promote_types(base.weight.dtype, torch.float32)  # never bfloat16: too coarse
        self.lora_A = nn.Parameter(base.weight.new_empty(r, base.in_features, dtype=dtype))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, r, dtype=dtype))
        self.magnitude = nn.Parameter(row_norms(base.weight.to(dtype))) if use_dora else None
        self._unmerged_weight: Tensor | None = None
        self.reset_parameters()
        if freeze_base:
            base.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        y = self.base(x)
        return y if self.merged else self.adapt(x, y)

    def adapt(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the update to ``y = base(x)``: (..., in), (..., out) -> (..., out)

        Raises:
            RuntimeError: The layer is merged, so ``y`` may hold the update already.
        """
        if self.merged:
            raise RuntimeError("the update is merged into the base: call unmerge_ first")
        z = F.linear(self.drop(x.to(self.lora_A.dtype)), self.lora_A)  # (..., r)
        update = F.linear(self.scaling * z, self.lora_B)  # (..., out)
        if self.magnitude is None:
            return (y + update).to(y.dtype)
        norms = row_norms(self._adapted_weight().detach())  # no gradient (section 4.3 of DoRA)
        bias = 0.0 if self.base.bias is None else self.base.bias
        return (self.magnitude / norms * (y + update - bias) + bias).to(y.dtype)

    def drop(self, x: Tensor) -> Tensor:
        """Dropout, in training only, drawn from ``dropout_rng``."""
        if not self.training or self.config.dropout == 0:
            return x
        return x * dropout_mask(x, self.config.dropout, self.dropout_rng)

    def _adapted_weight(self) -> Tensor:
        """The base's weight with the update, before DoRA's rescaling: (out, in)"""
        return self.original_weight + self.scaling * (self.lora_B @ self.lora_A)

    @property
    def original_weight(self) -> Tensor:
        """The base's own weight, merged or not: (out, in)."""
        return self.base.weight if self._unmerged_weight is None else self._unmerged_weight

    @property
    def delta(self) -> Tensor:
        """The update to the base's weight; ``scaling * B A`` unless DoRA is used: (out, in)"""
        if self.magnitude is None:
            return self.scaling * (self.lora_B @ self.lora_A)
        adapted = self._adapted_weight()
        return (self.magnitude / row_norms(adapted))[:, None] * adapted - self.original_weight

    @property
    def merged(self) -> bool:
        """Whether the base's weight holds the update now."""
        return self._unmerged_weight is not None

    @torch.no_grad()
    def merge_(self) -> None:
        """Add the update to the base's weight; a merged layer stays as it is."""
        if not self.merged:
            self._unmerged_weight = self.base.weight.detach().clone()
            self.base.weight += self.delta

    @torch.no_grad()
    def unmerge_(self) -> None:
        """Restore the base's own weight, byte for byte (subtracting would leave rounding)."""
        if self._unmerged_weight is not None:
            self.base.weight.copy_(self._unmerged_weight)
            self._unmerged_weight = None

    @torch.no_grad()
    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Draw a new A, set B to zero and the magnitude to the base's row norms.

        A is drawn on the CPU row by row by ``kaiming_uniform_(a=sqrt(5))``, whose bound 1/sqrt(in)
        does not depend on r: a generator gives a smaller rank the first rows of a larger one.
        """
        for row in self.lora_A:
            drawn = torch.empty(1, row.numel(), dtype=row.dtype)
            row.copy_(nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=rng)[0])
        self.lora_B.zero_()
        if self.magnitude is not None:
            self.magnitude.copy_(row_norms(self.original_weight.to(self.magnitude.dtype)))


def row_norms(weight: Tensor) -> Tensor:
    """The norm of each row, kept above zero to divide by: (out, in) -> (out,)"""
    return torch.linalg.vector_norm(weight, dim=1).clamp_min(torch.finfo(weight.dtype).tiny)


def wrap_minigpt_with_lora(
    model: MiniGPT,
    r: int = 8,
    alpha: float = 16.0,
    target_modules: Sequence[str] = DEFAULT_TARGET_MODULES,
    dropout: float = 0.05,
    seed: int | None = None,
    use_rslora: bool = False,
    use_dora: bool = False,
) -> MiniGPT:
    """:func:`wrap` with the config's fields as arguments, over all transformer layers."""
    config = LoRAConfig(r, alpha, dropout, tuple(target_modules), use_rslora, use_dora)
    return wrap(model, config, seed)


def wrap(model: Model, config: LoRAConfig, seed: int | None = None) -> Model:
    """Freeze the whole model (embeddings and norms too) and put adapters on the targeted layers.

    Args:
        model: Changed in place.
        seed: Seeds the adapters' initial values, layer by layer and row by row, so that a smaller
            rank starts as a part of a larger one. ``None`` draws one from torch's own generator.

    Raises:
        UserError: The model is wrapped already, targets or layers do not exist, or a layer is
            smaller than the rank. The model is then as it was.
    """
    for name, _ in lora_layers(model):
        raise UserError(
            "model",
            "already has adapters",
            found=f"layers such as {name}",
            expected="a model without",
            fix="load the base again, or restart its adapters with reset_adapters",
        )
    layers = dict(linear_layers(model))
    targets = select_layers(list(layers), config.target_modules, config.layers)
    for name in targets:
        config.check_fits(layers[name])
    model.requires_grad_(False)
    shared = (config.r, config.alpha, config.dropout, True, config.use_rslora, config.use_dora)
    for name in targets:
        layer = LoRALinear(layers[name], *shared)
        model.set_submodule(name, layer.train(model.training))
    reset_adapters(model, int(torch.randint(2**62, ())) if seed is None else seed)
    return model


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Every adapted layer by its dotted name, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def reset_adapters(model: nn.Module, seed: int) -> None:
    """Reinitialize every adapter from ``seed``, and the dropout stream that all of them share."""
    dropout_rng = generator(seed, "dropout")
    for name, layer in lora_layers(model):
        layer.reset_parameters(generator(seed, "adapter", name))
        layer.dropout_rng = dropout_rng


def merge_(model: nn.Module) -> None:
    """Merge every adapter of ``model`` into its base weight, in place."""
    for _, layer in lora_layers(model):
        layer.merge_()


def unmerge_(model: nn.Module) -> None:
    """Undo :func:`merge_`, byte for byte."""
    for _, layer in lora_layers(model):
        layer.unmerge_()


def unwrap(model: Model) -> Model:
    """Take the adapters off, in place: a plain model with the base's current weights, frozen."""
    for name, layer in list(lora_layers(model)):
        model.set_submodule(name, layer.base)
    return model


def merge_and_unwrap(model: Model) -> Model:
    """Turn an adapted model, in place, into a plain, frozen one whose weights hold the updates."""
    merge_(model)
    return unwrap(model)
