"""Adapter files: ``.pt``, which the study uses, and ``.safetensors``, the same adapter with its
provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from minituner import commands
from minituner.adapter_tensors import load_lora_state_dict, lora_state_dict, require_adapters
from minituner.errors import UserError
from minituner.lora import Model, lora_layers, unwrap, wrap
from minituner.lora_config import LoRAConfig
from minituner.storage.tensors import (
    check_tensors,
    load_safetensors,
    load_tensors,
    save_safetensors,
    save_tensors,
    weights_sha256,
)

FIELDS = (
    "base_sha256",
    "r",
    "alpha",
    "dropout",
    "target_modules",
    "seed",
    "use_rslora",
    "use_dora",
)
OPTIONAL = ("use_rslora", "use_dora")  # false where a .pt file does not have them
ADAPTER_FORMAT = "minituner-lora-1"
Parsed = TypeVar("Parsed")
PEFT_PREFIX = "base_model.model."  # before every name in a PEFT adapter


@dataclass(frozen=True)
class AdapterConfig:
    """The contents of an adapter file besides its tensors."""

    base_sha256: str  # the base's weights_sha256
    lora: LoRAConfig  # with the full name of every adapted layer
    seed: int

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values, in the file's order."""
        lora = asdict(self.lora) | {"target_modules": list(self.lora.target_modules)}
        fields = {"base_sha256": self.base_sha256, **lora, "seed": self.seed}
        return {name: fields[name] for name in FIELDS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AdapterConfig:
        """The config of :meth:`as_json`'s values.

        Raises:
            TypeError, ValueError: A field is missing, unknown or impossible.
        """
        # A missing field must not silently become LoRAConfig's default.
        missing = [name for name in FIELDS if name not in (*values, *OPTIONAL)]
        unknown = [name for name in values if name not in FIELDS]
        if missing or unknown:
            raise ValueError(f"missing: {missing or 'none'}; unknown: {unknown or 'none'}")
        lora = {name: values[name] for name in values if name not in ("base_sha256", "seed")}
        return cls(values["base_sha256"], LoRAConfig(**lora), values["seed"])

    @classmethod
    def of(cls, model: nn.Module, base_sha256: str, seed: int) -> AdapterConfig:
        """The config of the adapter on a wrapped model.

        Raises:
            UserError: There are no adapters, or they are merged.
        """
        layers = dict(lora_layers(model))
        require_adapters(layers)
        config = next(iter(layers.values())).config
        return cls(base_sha256, replace(config, target_modules=tuple(layers)), seed)


def save_adapter(
    path: str | Path,
    model: nn.Module,
    base_sha256: str,
    seed: int,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write a wrapped model's adapter, with what is needed to load it again.

    Args:
        path: Ends in ``.safetensors`` or in ``.pt``.
        provenance: Where it comes from, such as the hash of its data; written only to the metadata
            of a ``.safetensors`` file.

    Raises:
        UserError: There are no adapters, or a weight is not finite; nothing is written.
    """
    config = AdapterConfig.of(model, base_sha256, seed)
    weights = lora_state_dict(model)
    check_tensors(weights, {name: tuple(t.shape) for name, t in weights.items()}, str(path))
    if Path(path).suffix == ".safetensors":
        save_safetensors(path, weights, metadata(config, provenance))
    else:
        save_tensors(
            path, {"format": ADAPTER_FORMAT, "config": config.as_json(), "weights": weights}
        )


def metadata(config: AdapterConfig, provenance: Mapping[str, str] | None = None) -> dict[str, str]:
    """The metadata of an adapter's safetensors: its config field by field as JSON, its scaling, its
    provenance."""
    return {
        "format": "pt",  # what transformers and PEFT look for
        "minituner_format": ADAPTER_FORMAT,
        **{name: _as_text(value) for name, value in config.as_json().items()},
        "scaling": _as_text(config.lora.scaling),
        **(provenance or {}),
    }


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_adapter(path: str | Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """An adapter file's config and tensors, of either kind; not yet compared with a model.

    Raises:
        UserError: The file is missing, damaged, unsafe or not an adapter.
    """
    if (Path(path) / "adapter_config.json").is_file():
        raise _of_pefts(path, Path(path))
    if Path(path).suffix != ".safetensors":
        value = load_tensors(path, ADAPTER_FORMAT)
        return _parse(
            path, lambda: (AdapterConfig.from_json(value["config"]), dict(value["weights"]))
        )
    weights, texts = load_safetensors(path)
    if any(name.startswith(PEFT_PREFIX) for name in weights):
        raise _of_pefts(path, Path(path).parent)
    return _parse(path, lambda: (_config_of_texts(texts), weights))


def _parse(path: str | Path, parse: Callable[[], Parsed]) -> Parsed:
    try:
        return parse()
    except (KeyError, TypeError, ValueError) as error:  # UserError is a ValueError
        raise UserError(
            path,
            "its config cannot be used",
            found=str(error),
            expected=f"the fields {', '.join(FIELDS)}",
            fix="write the file with minituner.storage.adapter.save_adapter",
        ) from error


def _of_pefts(path: str | Path, folder: Path) -> UserError:
    return UserError(
        path,
        "is a PEFT adapter",
        found="a folder" if folder == Path(path) else f"names that begin with {PEFT_PREFIX}",
        expected="a minituner adapter file",
        fix=f"convert it: python -m minituner import --from peft {folder} adapter.pt",
    )


def _config_of_texts(texts: Mapping[str, str]) -> AdapterConfig:
    return AdapterConfig.from_json(
        {name: texts[name] if name == "base_sha256" else json.loads(texts[name]) for name in FIELDS}
    )


def load_adapter(
    path: str | Path,
    model: Model,
    base_sha256: str | None = None,
    rank: int | None = None,
    seed: int | None = None,
) -> Model:
    """Put the adapter of a file on ``model`` (unwrapped, changed in place), ready to evaluate.

    Args:
        base_sha256: The base's :func:`weights_sha256`; computed from ``model`` when not given.
        rank, seed: The rank and seed that the adapter must have; ``None`` accepts any.

    Raises:
        UserError: The adapter was made for another base, does not fit it, or is another run's; the
            model then has no adapter.
    """
    config, weights = read_adapter(path)
    base_sha256 = base_sha256 or weights_sha256(model.state_dict())
    _check_origin(path, config, base_sha256, rank, seed)
    try:
        wrap(model, config.lora, config.seed)
    except (TypeError, UserError) as error:
        raise UserError(
            path,
            "its adapter does not fit the base",
            found=str(error),
            expected="a rank, alpha, dropout and layers that the base can take",
            fix=f"train the adapter again over this base: {commands.snakemake('report')}",
        ) from error
    try:
        load_lora_state_dict(model, weights, str(path))
    except UserError:
        unwrap(model)
        raise
    return model.eval()


def _check_origin(
    path: str | Path,
    config: AdapterConfig,
    base_sha256: str,
    rank: int | None,
    seed: int | None,
) -> None:
    """Refuse the adapter of another base, rank or seed."""
    if config.base_sha256 != base_sha256:
        raise UserError(
            path,
            "was made for another base",
            found=f"base {str(config.base_sha256)[:12]}",
            expected=f"base {base_sha256[:12]}",
            fix=f"train the adapter again over this base: {commands.snakemake('report')}",
        )
    for name, found, expected in (("rank", config.lora.r, rank), ("seed", config.seed, seed)):
        if expected is not None and found != expected:
            raise UserError(
                path,
                f"is the adapter of another {name}",
                found=f"{name} {found}",
                expected=f"{name} {expected}",
                fix=f"delete the file and train it again: {commands.snakemake('report')}",
            )
