"""LoRA: low-rank adapters over a frozen base (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minituner.checkpoint import check_tensors, load_tensors, save_tensors, weights_sha256
from minituner.errors import UserError
from minituner.model import MiniGPT, linear_layers
from minituner.seeding import derive_seed, generator

ADAPTER_FORMAT = "minituner-lora-1"

# Chosen on the validation split among the choices that keep the adapter under 1 % of the base.
DEFAULT_TARGET_MODULES = ("mlp.fc2",)


class LoRALinear(nn.Module):
    """A linear layer with a low-rank update beside it (eq. 3 of the paper).

    ``y = base(x) + scaling * B(A(dropout(x)))`` with ``scaling = alpha / r``; x is (..., in),
    y is (..., out), ``lora_A`` is (r, in), ``lora_B`` is (out, r). B starts at zero, so the layer
    starts as its base.

    Args:
        base: The layer to adapt; kept as it is.
        r: The rank, from 1 to min(in, out).
        alpha: The numerator of the scaling, above 0.
        dropout: The share of the update's inputs that is dropped in training, in [0, 1).
        freeze_base: Whether the base's weights are taken out of training.

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
    ) -> None:
        super().__init__()
        _check_hyperparameters(base, r, alpha, dropout)
        self.base = base
        self.r = r
        self.alpha = alpha
        self.scaling = alpha / r
        self.dropout = dropout
        self.dropout_generator: torch.Generator | None = None  # None: torch's own
        self.lora_A = nn.Parameter(base.weight.new_empty(r, base.in_features))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self._unmerged_weight: Tensor | None = None
        self.reset_parameters()
        if freeze_base:
            base.requires_grad_(False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw A anew, B to zero.

        A is drawn row by row, by ``kaiming_uniform_(a=sqrt(5))`` (its bound, 1/sqrt(in), does not
        depend on r): from the same generator, a smaller rank gets the first rows of a larger one.
        """
        with torch.no_grad():
            for row in self.lora_A:
                nn.init.kaiming_uniform_(row[None], a=math.sqrt(5), generator=generator)
            self.lora_B.zero_()

    @property
    def delta(self) -> Tensor:
        """The update to the base's weight, ``scaling * B A``: (out, in)."""
        return self.scaling * (self.lora_B @ self.lora_A)

    @property
    def merged(self) -> bool:
        """Whether the update stands in the base's weight now."""
        return self._unmerged_weight is not None

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)"""
        y: Tensor = self.base(x)
        if self.merged:
            return y
        if self.training and self.dropout > 0:
            x = x * self._dropout_mask(x)
        return y + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)

    def _dropout_mask(self, x: Tensor) -> Tensor:
        keep = 1.0 - self.dropout
        mask = torch.empty_like(x).bernoulli_(keep, generator=self.dropout_generator)
        return mask.div_(keep)

    @torch.no_grad()
    def merge_(self) -> None:
        """Add the update to the base's weight; a layer that is merged already stays as it is."""
        if not self.merged:
            self._unmerged_weight = self.base.weight.detach().clone()
            self.base.weight += self.delta

    @torch.no_grad()
    def unmerge_(self) -> None:
        """Put the base's own weight back, byte for byte (subtracting would leave rounding)."""
        if self._unmerged_weight is not None:
            self.base.weight.copy_(self._unmerged_weight)
            self._unmerged_weight = None


def _check_hyperparameters(base: nn.Linear, r: int, alpha: float, dropout: float) -> None:
    largest = min(base.in_features, base.out_features)
    if not 1 <= r <= largest:
        raise UserError(
            "rank",
            "out of range",
            found=r,
            expected=f"1 to {largest}, the smaller side of a {base.out_features} x "
            f"{base.in_features} layer",
            mend="choose a rank in that range",
        )
    if not alpha > 0:
        raise UserError(
            "alpha", "out of range", found=alpha, expected="above 0", mend="choose e.g. 16"
        )
    if not 0 <= dropout < 1:
        raise UserError(
            "dropout",
            "out of range",
            found=dropout,
            expected="at least 0 and below 1",
            mend="choose e.g. 0.05",
        )


def wrap_minigpt_with_lora(
    model: MiniGPT,
    r: int = 8,
    alpha: float = 16.0,
    target_modules: Sequence[str] = DEFAULT_TARGET_MODULES,
    dropout: float = 0.05,
    seed: int | None = None,
) -> MiniGPT:
    """Freeze the whole model (embeddings and norms too) and put adapters on the named layers.

    Args:
        model: Changed in place.
        r, alpha, dropout: As in :class:`LoRALinear`, the same for every layer.
        target_modules: Layer names or their dotted endings, such as ``q_proj`` or ``mlp.fc2``.
        seed: Decides the adapters' start, layer by layer and row by row, so that ranks nest.
            ``None`` draws one from torch's own generator.

    Returns:
        The same model.

    Raises:
        UserError: The model is wrapped already, a target matches no layer, or a hyper-parameter
            is out of range. The model is then as it was.
    """
    if any(True for _ in lora_layers(model)):
        raise UserError(
            "model",
            "has adapters already",
            found=f"LoRA layers such as {next(lora_layers(model))[0]}",
            expected="a model without",
            mend="load the base anew, or start its adapters anew with reset_adapters",
        )
    targets = match_target_modules([name for name, _ in linear_layers(model)], target_modules)
    for name in targets:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        _check_hyperparameters(layer, r, alpha, dropout)
    if seed is None:
        seed = int(torch.randint(2**62, ()).item())
    model.requires_grad_(False)
    for name in targets:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        model.set_submodule(name, LoRALinear(layer, r, alpha, dropout).train(model.training))
    reset_adapters(model, seed)
    return model


def match_target_modules(names: Sequence[str], target_modules: Sequence[str]) -> list[str]:
    """The layers whose name is a target or ends in one, in the model's order.

    Raises:
        UserError: There is no target, or one matches nothing.
    """

    def matches(name: str, target: str) -> bool:
        return name == target or name.endswith(f".{target}")

    unmatched = [t for t in target_modules if not any(matches(name, t) for name in names)]
    if unmatched or not target_modules:
        endings = sorted({".".join(name.split(".")[-2:]) for name in names})
        raise UserError(
            "target_modules",
            "matches no linear layer of the model",
            found=", ".join(unmatched) or "an empty list",
            expected=f"layer names or their endings: {', '.join(endings) or 'none'}",
            mend="name at least one of those",
        )
    return [name for name in names if any(matches(name, t) for t in target_modules)]


def reset_adapters(model: nn.Module, seed: int) -> None:
    """Start every adapter of ``model`` anew from ``seed``, dropout's stream included."""
    dropout = generator(seed, "dropout")
    for name, layer in lora_layers(model):
        layer.reset_parameters(torch.Generator().manual_seed(derive_seed(seed, "adapter", name)))
        layer.dropout_generator = dropout


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Every adapted layer by its dotted name, in the model's order."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """A and B of every adapted layer, in the model's order."""
    return [p for _, layer in lora_layers(model) for p in (layer.lora_A, layer.lora_B)]


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the adapter's tensors: ``<layer>.lora_A`` (r, in), ``<layer>.lora_B`` (out, r)."""
    state = {}
    for name, layer in lora_layers(model):
        state[f"{name}.lora_A"] = layer.lora_A.detach().clone()
        state[f"{name}.lora_B"] = layer.lora_B.detach().clone()
    return state


def load_lora_state_dict(
    model: nn.Module, state: Mapping[str, Tensor], where: str = "the adapter"
) -> None:
    """Load an adapter's tensors; names and shapes must be exactly the model's.

    Raises:
        UserError: A tensor is missing, unknown, of another shape or not finite; nothing is loaded.
    """
    own = {
        f"{name}.{part}": getattr(layer, part)
        for name, layer in lora_layers(model)
        for part in ("lora_A", "lora_B")
    }
    check_tensors(state, {name: tuple(p.shape) for name, p in own.items()}, where)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])


def base_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the base inside a wrapped model, under the names they have unwrapped."""
    adapter = set(lora_state_dict(model))
    return {
        name.replace(".base.", "."): tensor.detach()
        for name, tensor in model.state_dict().items()
        if name not in adapter
    }


def merge_(model: nn.Module) -> None:
    """Merge every adapter of ``model`` into its base weight, in place."""
    for _, layer in lora_layers(model):
        layer.merge_()


def unmerge_(model: nn.Module) -> None:
    """Undo :func:`merge_`: every base weight is back, byte for byte."""
    for _, layer in lora_layers(model):
        layer.unmerge_()


def lora_parameter_count(shapes: Sequence[tuple[int, int]], r: int) -> int:
    """The adapter's size in closed form: r (in + out) for each adapted (out, in) weight."""
    return sum(r * (n_out + n_in) for n_out, n_in in shapes)


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter file says of itself beside its tensors."""

    base_sha256: str
    r: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]
    seed: int


def save_adapter(path: str | Path, model: MiniGPT, base_sha256: str, seed: int) -> None:
    """Write a wrapped model's adapter, with what is needed to load it again.

    Raises:
        UserError: A weight is not finite; nothing is written.
    """
    weights = lora_state_dict(model)
    check_tensors(weights, {name: tuple(t.shape) for name, t in weights.items()}, str(path))
    layers = dict(lora_layers(model))
    first = next(iter(layers.values()))
    config = AdapterConfig(
        base_sha256=base_sha256,
        r=first.r,
        alpha=first.alpha,
        dropout=first.dropout,
        target_modules=tuple(layers),
        seed=seed,
    )
    save_tensors(
        path,
        {
            "format": ADAPTER_FORMAT,
            "config": asdict(config) | {"target_modules": list(config.target_modules)},
            "weights": weights,
        },
    )


def load_adapter(path: str | Path, model: MiniGPT, base_sha256: str | None = None) -> MiniGPT:
    """Put the adapter of a file on ``model`` (unwrapped, changed in place), ready to evaluate.

    Args:
        base_sha256: The base's :func:`weights_sha256`; computed from ``model`` when not given.

    Raises:
        UserError: The adapter was made for another base, or does not fit it.
    """
    value = load_tensors(path, ADAPTER_FORMAT)
    try:
        config = AdapterConfig(
            **value["config"] | {"target_modules": tuple(value["config"]["target_modules"])}
        )
        weights = dict(value["weights"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=str(error),
            expected=f"the fields {', '.join(AdapterConfig.__annotations__)}",
            mend="write the file with minituner.lora.save_adapter",
        ) from error
    base_sha256 = base_sha256 or weights_sha256(model.state_dict())
    if config.base_sha256 != base_sha256:
        raise UserError(
            path,
            "was made for another base",
            found=f"base {str(config.base_sha256)[:12]}",
            expected=f"base {base_sha256[:12]}",
            mend="train the adapter again over this base: snakemake report",
        )
    try:
        wrap_minigpt_with_lora(
            model, config.r, config.alpha, config.target_modules, config.dropout, seed=config.seed
        )
    except (TypeError, UserError) as error:
        raise UserError(
            path,
            "its adapter does not fit the base",
            found=str(error),
            expected="a rank, alpha, dropout and layers that the base can take",
            mend="train the adapter again over this base: snakemake report",
        ) from error
    load_lora_state_dict(model, weights, str(path))
    return model.eval()
