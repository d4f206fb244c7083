"""The tensors of a PEFT adapter under minituner's names, after checks of every one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from minituner.causal_lm import CausalLM, linear_layers
from minituner.errors import UserError
from minituner.interop.opt_export import opt_name
from minituner.interop.peft_config import PeftConfig
from minituner.interop.peft_folder import CONFIG, SAVE_AGAIN, WEIGHTS
from minituner.lora import row_norms
from minituner.model import MiniGPT
from minituner.storage.adapter import PEFT_PREFIX
from minituner.storage.tensors import check_tensors

PARTS = {  # minituner's names and PEFT's
    "lora_A": "lora_A.weight",
    "lora_B": "lora_B.weight",
    "magnitude": "lora_magnitude_vector",
}
# Patterns in the names of other programs' tensors, where they come from, and what to do.
OTHER_NAMES = (
    (r"_orig_mod\.", "torch.compile", "save model._orig_mod with save_pretrained"),
    (r"_fsdp_wrapped_module\.", "FSDP", "save the unwrapped model with save_pretrained"),
    (r"^module\.", "DataParallel or DeepSpeed", "save model.module with save_pretrained"),
    (r"\.lora_[ab]$", "MLX", "train the adapter with PEFT; MLX adapters are different"),
    (
        r"\.lora_[AB]\.\w+\.weight$|\.lora_magnitude_vector\.",
        "a state_dict, as PEFT has it in memory",
        "save the model with save_pretrained instead of its state_dict",
    ),
    (rf"^(?!{re.escape(PEFT_PREFIX)})", f"another program, without {PEFT_PREFIX}", SAVE_AGAIN),
)

# PEFT saves an adapted embedding or head in full, next to its A and B.
_OF_OTHER_LAYERS = re.compile(
    r"\.lora_([AB]\.weight|magnitude_vector|embedding_[AB])$|\.base_layer\."
)


def library_name(layer: str, base: CausalLM) -> str:
    """The name of a layer in transformers: that of the exported OPT model for a MiniGPT's, and its
    own for any other base's."""
    return opt_name(layer) if isinstance(base, MiniGPT) else layer


def peft_name(name: str, base: CausalLM) -> str:
    """PEFT's name of an adapter's tensor:
    ``base_model.model.model.decoder.layers.0.fc2.lora_A.weight`` for ``blocks.0.mlp.fc2.lora_A`` of
    a MiniGPT. DoRA's magnitude is PEFT's ``lora_magnitude_vector``, without a suffix."""
    layer, _, part = name.rpartition(".")
    return f"{PEFT_PREFIX}{library_name(layer, base)}.{PARTS[part]}"


def from_peft(
    folder: Path, weights: Mapping[str, Tensor], config: PeftConfig, base: CausalLM
) -> dict[str, Tensor]:
    """PEFT's tensors under minituner's names, in the order of the base's layers.

    Args:
        folder: Where the weights and the config were read, for messages.

    Raises:
        UserError: They are not exactly the A, the B and, with DoRA, the magnitude of the layers of
            ``base`` that the config selects, of the config's rank and all finite.
    """
    layers = _adapted_layers(folder / WEIGHTS, weights, base)
    _check_rank(folder, config.r, weights, layers)
    _check_layers(folder / CONFIG, config, list(layers), base)
    names: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in layers.items():
        sizes: dict[str, tuple[int, ...]] = {
            "lora_A": (config.r, layer.in_features),
            "lora_B": (layer.out_features, config.r),
            **({"magnitude": (layer.out_features,)} if config.use_dora else {}),
        }
        for part, shape in sizes.items():
            in_peft = peft_name(f"{name}.{part}", base)
            names[f"{name}.{part}"] = in_peft
            shapes[in_peft] = shape
    check_tensors(weights, shapes, str(folder / WEIGHTS))
    return {name: weights[in_peft] for name, in_peft in names.items()}


def changes_nothing(weights: Mapping[str, Tensor], base: CausalLM) -> bool:
    """Whether ``base`` computes the same with an adapter of these tensors as without it."""
    layers = dict(linear_layers(base))
    for name in {name.rpartition(".")[0] for name in weights}:
        if bool(weights[f"{name}.lora_A"].any()) and bool(weights[f"{name}.lora_B"].any()):
            return False
        magnitude = weights.get(f"{name}.magnitude")
        if magnitude is not None and not magnitude.allclose(row_norms(layers[name].weight)):
            return False
    return True


def _adapted_layers(
    path: Path, weights: Mapping[str, Tensor], base: CausalLM
) -> dict[str, nn.Linear]:
    """The layers that PEFT's tensors adapt, under minituner's names, in the base's order.

    Raises:
        UserError: There are none, or a tensor does not belong to a layer of the base.
    """
    layers = dict(linear_layers(base))
    names = {name: {peft_name(f"{name}.{part}", base) for part in PARTS} for name in layers}
    known = set().union(*names.values())
    unknown = [name for name in weights if name not in known]
    if unknown or not weights:
        what, found, fix = _problem_with(unknown)
        expected = f"an A and a B for layers of the base, such as {min(known)}"
        raise UserError(path, what, found=found, expected=expected, fix=fix)
    return {name: layers[name] for name, in_peft in names.items() if in_peft & weights.keys()}


def _problem_with(unknown: Sequence[str]) -> tuple[str, str, str]:
    """What is wrong with tensors of unknown names, which they are, and what to do."""
    if not unknown:
        return "holds no adapter", "no tensors", SAVE_AGAIN
    for pattern, source, fix in OTHER_NAMES:
        if matching := [name for name in unknown if re.search(pattern, name)]:
            return f"holds names of {source}", _some(matching), fix
    if matching := [name for name in unknown if _OF_OTHER_LAYERS.search(name)]:
        fix = "train it over that very base, or its export, on linear layers below the output head"
        return "adapts a layer that minituner cannot adapt", _some(matching), fix
    if all(name.endswith(("embed_tokens.weight", "lm_head.weight")) for name in unknown):
        fix = "save it again with save_pretrained(..., save_embedding_layers=False)"
        return "holds the base's embedding in addition to the adapter", _some(unknown), fix
    fix = "train the adapter with plain LoRA, rsLoRA or DoRA, and nothing else"
    return "holds tensors that a minituner adapter does not have", _some(unknown), fix


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _check_rank(
    folder: Path, r: int, weights: Mapping[str, Tensor], layers: Mapping[str, nn.Linear]
) -> None:
    if empty := [name for name, tensor in weights.items() if tensor.numel() == 0]:
        raise UserError(
            folder / WEIGHTS,
            "holds empty tensors",
            found=_some(empty),
            expected="the trained weights",
            fix="with DeepSpeed's ZeRO-3, gather the weights before save_pretrained",
        )
    of_A = [tensor for name, tensor in weights.items() if name.endswith(PARTS["lora_A"])]
    ranks = {tensor.shape[0] for tensor in of_A if tensor.ndim == 2}
    if ranks - {r}:
        raise UserError(
            f"{folder / CONFIG}: r",
            "is not the rank of the tensors",
            found=r,
            expected=f"{', '.join(map(str, sorted(ranks)))}, as in {WEIGHTS}",
            fix=SAVE_AGAIN,
        )
    largest = min(side for layer in layers.values() for side in layer.weight.shape)
    if r > largest:
        raise UserError(
            f"{folder / CONFIG}: r",
            "is too large",
            found=r,
            expected=f"at most {largest}, the smallest dimension of its layers",
            fix="train it with a smaller rank; a conversion to plain LoRA doubles the rank",
        )


def _check_layers(path: Path, config: PeftConfig, layers: list[str], base: CausalLM) -> None:
    """Refuse tensors of layers that the config does not select, and the reverse: PEFT would leave
    some of them out."""
    selected = [name for name, _ in linear_layers(base) if config.selects(library_name(name, base))]
    if config.target_modules and selected != layers:
        differing = [
            library_name(name, base) + (" without tensors" if name in selected else " not selected")
            for name in sorted({*selected} ^ {*layers})
        ]
        raise UserError(
            f"{path}: target_modules",
            "does not select the layers that have tensors",
            found=_some(differing),
            expected=f"the layers of {WEIGHTS}",
            fix=SAVE_AGAIN,
        )
