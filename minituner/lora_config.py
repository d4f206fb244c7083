"""The hyperparameters of a LoRA adapter, and the layers that it is attached to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from minituner.errors import UserError
from minituner.target_layers import FORMAT, Layers, is_layers

# The best on the validation split of the choices that keep the adapter under 1 % of the base.
DEFAULT_TARGET_MODULES = ("mlp.fc2",)


@dataclass(frozen=True)
class LoRAConfig:
    """An adapter's hyperparameters, the same for every layer.

    Args:
        r: The rank, from 1 to the smaller side of the layer.
        alpha: The numerator of the scaling, above 0.
        dropout: The probability of dropping each of the update's inputs in training, in [0, 1).
        target_modules: Names of linear layers or their dotted endings, such as ``q_proj`` or
            ``mlp.fc2``; ``all-linear`` is every linear layer except the output head.
        use_rslora: Whether the scaling is ``alpha / sqrt(r)`` (rsLoRA) instead of ``alpha / r``.
        use_dora: Whether the magnitudes, the norms of the weight's rows, are trained too (DoRA).
        layers: The transformer layers that get adapters: ``last 8``, ``first 2``, a sequence of
            numbers counted from 0, or None for all.

    Raises:
        UserError: r, alpha or dropout is out of range, or ``layers`` is none of those.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    target_modules: tuple[str, ...] = DEFAULT_TARGET_MODULES
    use_rslora: bool = False
    use_dora: bool = False
    layers: Layers = None

    def __post_init__(self) -> None:
        targets = self.target_modules
        as_tuple = (targets,) if isinstance(targets, str) else tuple(targets)
        object.__setattr__(self, "target_modules", as_tuple)
        if isinstance(self.layers, list):
            object.__setattr__(self, "layers", tuple(self.layers))
        checks = [
            (
                "rank",
                self.r,
                isinstance(self.r, int) and self.r >= 1,
                "a whole number of at least 1",
                "choose e.g. 8; in a config, under ranks",
            ),
            ("alpha", self.alpha, 0 < self.alpha < math.inf, "a number above 0", "choose e.g. 16"),
            (
                "dropout",
                self.dropout,
                0 <= self.dropout < 1,
                "at least 0, below 1",
                "choose e.g. 0.05",
            ),
            ("layers", self.layers, is_layers(self.layers), FORMAT, "choose e.g. `last 8`"),
        ]
        for name, value, fits, expected, fix in checks:
            if not fits:
                raise UserError(name, "out of range", found=value, expected=expected, fix=fix)

    @property
    def scaling(self) -> float:
        """The factor that the update ``B A`` is multiplied by."""
        return self.alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def check_fits(self, layer: nn.Linear) -> None:
        """Refuse a rank above the smaller side of a layer.

        Raises:
            UserError: The rank is too large; the message gives the largest that fits.
        """
        n_out, n_in = layer.weight.shape
        if self.r > min(n_out, n_in):
            raise UserError(
                "rank",
                "out of range",
                found=self.r,
                expected=f"1 to {min(n_out, n_in)}, the smaller side of a {n_out} x {n_in} layer",
                fix="choose a rank in that range; in a config, under ranks",
            )
