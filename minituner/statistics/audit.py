"""The scale audit: size and effective rank of each adapted layer's update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from minituner.lora import LoRALinear, lora_layers

if TYPE_CHECKING:
    from minituner.results import LayerAudit


@torch.no_grad()
def scale_audit(model: nn.Module) -> list[LayerAudit]:
    """One row for each adapted layer of a model; no rows if it has no adapters.

    ``relative_norm`` is |delta W| / |W| in Frobenius norms; ``effective_rank`` that of delta W;
    ``largest_b`` is max |B|, the largest change of a weight of B, which starts at zero;
    ``singular_values`` are those of delta W, largest first, to six significant digits.
    """
    rows: list[LayerAudit] = []
    for name, layer in lora_layers(model):
        singular = singular_values(layer)
        norm = float(torch.linalg.vector_norm(layer.original_weight.double()))
        rows.append(
            {
                "layer": name,
                "scaling": layer.scaling,
                "relative_norm": float(torch.linalg.vector_norm(singular)) / norm,
                "effective_rank": effective_rank(singular),
                "largest_b": float(layer.lora_B.abs().max()),
                "singular_values": [float(f"{value:.6g}") for value in singular.tolist()],
            }
        )
    return rows


def singular_values(layer: LoRALinear) -> Tensor:
    """The singular values of a layer's update that can differ from zero, largest first.

    Without DoRA they are computed from an r x r matrix: with B = Q R and A^T = Q' R', the product
    BA has the singular values of R R'^T.

    Returns:
        (r,) float64, or (min(out, in),) with DoRA.
    """
    if layer.config.use_dora:
        update: Tensor = layer.delta.double()
    else:
        left = torch.linalg.qr(layer.lora_B.double()).R
        right = torch.linalg.qr(layer.lora_A.double().T).R
        update = layer.scaling * left @ right.T
    singular: Tensor = torch.linalg.svdvals(update)
    return singular


def effective_rank(singular: Tensor) -> float:
    """exp of the entropy of the singular values' shares (Roy & Vetterli 2007): 1 if only one is
    not zero, n if n are equal; 0 if all are zero."""
    total = singular.sum()
    if total == 0:
        return 0.0
    shares = singular[singular > 0] / total
    return float(torch.exp(-(shares * shares.log()).sum()))
