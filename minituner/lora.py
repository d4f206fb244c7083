"""LoRA: low-rank adapters over a frozen base (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

Two variants are switches of the same layer: rsLoRA scales by alpha / sqrt(r) (Kalajdzievski 2023,
https://arxiv.org/abs/2312.03732), DoRA learns the length of each output's weights apart from their
direction (Liu et al. 2024, https://arxiv.org/abs/2402.09353).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minituner.errors import UserError
from minituner.model import MiniGPT, linear_layers
from minituner.seeding import derive_seed, generator
from minituner.storage.tensors import check_tensors

# Chosen on the validation split among the choices that keep the adapter under 1 % of the base.
DEFAULT_TARGET_MODULES = ("mlp.fc2",)


class LoRALinear(nn.Module):
    """A linear layer with a low-rank update beside it (eq. 3 of the paper).

    ``y = base(x) + scaling * B(A(dropout(x)))`` with ``scaling = alpha / r``; x is (..., in),
    y is (..., out), ``lora_A`` is (r, in), ``lora_B`` is (out, r). B starts at zero, so the layer
    starts as its base.

    With DoRA all but the bias is multiplied by ``magnitude / norm``, both (out,): ``norm`` is the
    length of each row of the adapted weight, ``magnitude`` is trained and starts as the base's.

    Args:
        base: The layer to adapt; kept as it is.
        r: The rank, from 1 to min(in, out).
        alpha: The numerator of the scaling, above 0.
        dropout: The share of the update's inputs that is dropped in training, in [0, 1).
        freeze_base: Whether the base's weights are taken out of training.
        use_rslora: Whether ``scaling`` is ``alpha / sqrt(r)`` instead.
        use_dora: Whether the magnitude is trained too.

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
        _check_hyperparameters(base, r, alpha, dropout)
        self.base = base
        self.r = r
        self.alpha = alpha
        self.use_rslora = use_rslora
        self.scaling = alpha / math.sqrt(r) if use_rslora else alpha / r
        self.dropout = dropout
        self.dropout_generator: torch.Generator | None = None  # None: torch's own
        self.lora_A = nn.Parameter(base.weight.new_empty(r, base.in_features))
        self.lora_B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        self.magnitude = nn.Parameter(row_norms(base.weight)) if use_dora else None
        self._unmerged_weight: Tensor | None = None
        self.reset_parameters()
        if freeze_base:
            base.requires_grad_(False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw A anew, B to zero, the magnitude to the base's.

        A is drawn row by row, by ``kaiming_uniform_(a=sqrt(5))`` (its bound, 1/sqrt(in), does not
        depend on r): from the same generator, a smaller rank gets the first rows of a larger one.
        """
        with torch.no_grad():
            for row in self.lora_A:
                nn.init.kaiming_uniform_(row[None], a=math.sqrt(5), generator=generator)
            self.lora_B.zero_()
            if self.magnitude is not None:
                self.magnitude.copy_(row_norms(self.original_weight))

    @property
    def use_dora(self) -> bool:
        """Whether a magnitude is trained beside A and B."""
        return self.magnitude is not None

    @property
    def original_weight(self) -> Tensor:
        """The base's own weight, merged or not: (out, in)."""
        return self.base.weight if self._unmerged_weight is None else self._unmerged_weight

    @property
    def delta(self) -> Tensor:
        """The update to the base's weight, ``scaling * B A`` (without DoRA): (out, in)."""
        update = self.scaling * (self.lora_B @ self.lora_A)
        if self.magnitude is None:
            return update
        adapted = self.original_weight + update
        return (self.magnitude / row_norms(adapted))[:, None] * adapted - self.original_weight

    @property
    def merged(self) -> bool:
        """Whether the update stands in the base's weight now."""
        return self._unmerged_weight is not None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """(..., in) -> (..., out)

        Args:
            y: ``base(x)``, if it is known.
        """
        if y is None:
            y = self.base(x)
        if self.merged:
            return y
        scaling = self.scaling
        if self.training and self.dropout > 0:
            x = x * self._kept(x)
            scaling /= 1.0 - self.dropout
        update = F.linear(scaling * F.linear(x, self.lora_A), self.lora_B)
        if self.magnitude is None:
            return y + update
        adapted = self.base.weight + self.scaling * (self.lora_B @ self.lora_A)
        ratio = self.magnitude / row_norms(adapted.detach())  # no gradient (section 4.3)
        bias = 0.0 if self.base.bias is None else self.base.bias
        return ratio * (y - bias + update) + bias

    def _kept(self, x: Tensor) -> Tensor:
        """Dropout's mask, of x's shape: 0 where an input is dropped, 1 elsewhere.

        16 random bits decide an element, so the share is met to 1/65536: four of them come out of
        one draw of 64, which is several times as fast as ``bernoulli_``. They are compared as
        floats, which is as exact and twice as fast as whole numbers turned into floats afterwards.
        """
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64)
        draws.random_(-(2**63), None, generator=self.dropout_generator)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # -32768 to 32767
        dropped_below = round(65536 * self.dropout) - 32768
        return bits.float().ge_(dropped_below).to(x.dtype)

    @torch.no_grad()
    def merge_(self) -> None:
        """Add the update to the base's weight; a layer that is merged already stays as it is."""
        if not self.merged:
            delta = self.delta
            self._unmerged_weight = self.base.weight.detach().clone()
            self.base.weight += delta

    @torch.no_grad()
    def unmerge_(self) -> None:
        """Put the base's own weight back, byte for byte (subtracting would leave rounding)."""
        if self._unmerged_weight is not None:
            self.base.weight.copy_(self._unmerged_weight)
            self._unmerged_weight = None


def row_norms(weight: Tensor) -> Tensor:
    """The length of each output's weights, above zero so that it can be divided by: (out, in) ->
    (out,)."""
    norms: Tensor = torch.linalg.vector_norm(weight.detach(), dim=1)
    return norms.clamp_min(torch.finfo(norms.dtype).tiny)


def _check_hyperparameters(base: nn.Linear, r: int, alpha: float, dropout: float) -> None:
    largest = min(base.in_features, base.out_features)
    if not 1 <= r <= largest:
        raise UserError(
            "rank",
            "out of range",
            found=r,
            expected=f"1 to {largest}, the smaller side of a {base.out_features} x "
            f"{base.in_features} layer",
            fix="choose a rank in that range; in a config, under ranks",
        )
    if not (alpha > 0 and math.isfinite(alpha)):
        raise UserError(
            "alpha", "out of range", found=alpha, expected="a number above 0", fix="choose e.g. 16"
        )
    if not 0 <= dropout < 1:
        raise UserError(
            "dropout",
            "out of range",
            found=dropout,
            expected="at least 0 and below 1",
            fix="choose e.g. 0.05",
        )


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
    """Freeze the whole model (embeddings and norms too) and put adapters on the named layers.

    Args:
        model: Changed in place.
        r, alpha, dropout, use_rslora, use_dora: As in :class:`LoRALinear`, the same for every
            layer.
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
            fix="load the base anew, or start its adapters anew with reset_adapters",
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
        adapted = LoRALinear(layer, r, alpha, dropout, use_rslora=use_rslora, use_dora=use_dora)
        model.set_submodule(name, adapted.train(model.training))
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
            fix="name at least one of those",
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


def named_lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, in the model's order: ``<layer>.lora_A`` (r, in), ``<layer>.lora_B``
    (out, r), and with DoRA ``<layer>.magnitude`` (out,)."""
    return {
        f"{name}.{part}": parameter
        for name, layer in lora_layers(model)
        for part, parameter in layer.named_parameters(recurse=False)
    }


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The same without their names."""
    return list(named_lora_parameters(model).values())


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the adapter's tensors, under the names of :func:`named_lora_parameters`."""
    return {name: p.detach().clone() for name, p in named_lora_parameters(model).items()}


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
    """The tensors of the base inside a wrapped model, merged or not, under the names they have
    unwrapped."""
    adapter = named_lora_parameters(model)
    state = {
        name.replace(".base.", "."): tensor.detach()
        for name, tensor in model.state_dict().items()
        if name not in adapter
    }
    originals = {f"{name}.weight": layer.original_weight for name, layer in lora_layers(model)}
    return state | {name: tensor.detach() for name, tensor in originals.items()}


def merge_(model: nn.Module) -> None:
    """Merge every adapter of ``model`` into its base weight, in place."""
    for _, layer in lora_layers(model):
        layer.merge_()


def unmerge_(model: nn.Module) -> None:
    """Undo :func:`merge_`: every base weight is back, byte for byte."""
    for _, layer in lora_layers(model):
        layer.unmerge_()


def lora_parameter_count(shapes: Sequence[tuple[int, int]], r: int, use_dora: bool = False) -> int:
    """The adapter's size in closed form: r (in + out) for each adapted (out, in) weight, and out
    more with DoRA."""
    return sum(r * (n_out + n_in) + use_dora * n_out for n_out, n_in in shapes)


def require_adapters(layers: Mapping[str, LoRALinear]) -> None:
    """Refuse a model without adapters, and one whose adapters are merged.

    Raises:
        UserError: Naming which it is.
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
