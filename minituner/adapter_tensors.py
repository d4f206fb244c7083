"""The tensors of an adapted model: those of the adapter, and those of the base below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from minituner.errors import UserError
from minituner.lora import LoRALinear, lora_layers
from minituner.storage.tensors import check_tensors


def named_lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trained tensors, in the model's order: ``<layer>.lora_A`` (r, in), ``<layer>.lora_B``
    (out, r), and with DoRA ``<layer>.magnitude`` (out,)."""
    return {
        f"{name}.{part}": parameter
        for name, layer in lora_layers(model)
        for part, parameter in layer.named_parameters(recurse=False)
    }


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the adapter's tensors on the CPU, under the names of
    :func:`named_lora_parameters`."""
    return {name: p.detach().clone().cpu() for name, p in named_lora_parameters(model).items()}


def load_lora_state_dict(
    model: nn.Module, state: Mapping[str, Tensor], where: str = "the adapter"
) -> None:
    """Load an adapter's tensors; names and shapes must be exactly the model's.

    Raises:
        UserError: A tensor is missing, unknown, of another shape or not finite; nothing is loaded.
    """
    own = named_lora_parameters(model)
    check_tensors(state, {name: tuple(p.shape) for name, p in own.items()}, where)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


def base_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The base's tensors inside a wrapped model, merged or not, under their unwrapped names."""
    layers = dict(lora_layers(model))
    adapter = named_lora_parameters(model)
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        owner, _, part = name.rpartition(".")
        layer = owner.removesuffix(".base")
        if owner.endswith(".base") and layer in layers:
            weight = layers[layer].original_weight if part == "weight" else tensor
            state[f"{layer}.{part}"] = weight.detach()
        elif name not in adapter:
            state[name] = tensor.detach()
    return state


def lora_parameter_count(shapes: Sequence[tuple[int, int]], r: int, use_dora: bool = False) -> int:
    """The adapter's size in closed form: r (in + out) for each adapted (out, in) weight, plus out
    with DoRA."""
    return sum(r * (n_out + n_in) + use_dora * n_out for n_out, n_in in shapes)


def refuse_adapters(model: nn.Module, where: str | Path, what: str) -> None:
    """Refuse a model with adapters, merged or not.

    Args:
        where: The file or argument that the message names.
        what: What is refused, such as ``is not fine-tuned``.

    Raises:
        UserError: It has adapters; the message names one of the adapted layers.
    """
    for name, _ in lora_layers(model):
        raise UserError(
            where,
            f"{what}: the model has adapters",
            found=f"LoRA layers such as {name}",
            expected="a plain model",
            fix="save the adapter with save_adapter, or use the result of merge_and_unwrap(model)",
        )


def require_adapters(layers: Mapping[str, LoRALinear]) -> None:
    """Refuse a model without adapters, and one whose adapters are merged.

    Raises:
        UserError: It is either; the message says which.
    """
    merged = [name for name, layer in layers.items() if layer.merged]
    if merged or not layers:
        raise UserError(
            "model",
            "its adapters are merged into the base" if merged else "has no adapters",
            found=f"merged layers such as {merged[0]}" if merged else "an unwrapped model",
            expected="a model with LoRA layers, unmerged",
            fix="call unmerge_(model) first"
            if merged
            else "call wrap_minigpt_with_lora(model) first",
        )
