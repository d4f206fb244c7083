"""Adapter files: torch's, as the study keeps them, and a safetensors twin with its provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from minituner import commands
from minituner.errors import UserError
from minituner.lora import (
    load_lora_state_dict,
    lora_layers,
    lora_state_dict,
    require_adapters,
    wrap_minigpt_with_lora,
)
from minituner.model import MiniGPT
from minituner.storage.tensors import (
    check_tensors,
    load_safetensors,
    load_tensors,
    save_safetensors,
    save_tensors,
    weights_sha256,
)

ADAPTER_FORMAT = "minituner-lora-1"
PEFT_PREFIX = "base_model.model."  # before every name in an adapter of PEFT's


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter file says of itself beside its tensors."""

    base_sha256: str  # the base's weights_sha256
    r: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]
    seed: int
    use_rslora: bool = False
    use_dora: bool = False

    @property
    def scaling(self) -> float:
        """What the update is multiplied by."""
        return self.alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self) | {"target_modules": list(self.target_modules)}

    @classmethod
    def of(cls, model: MiniGPT, base_sha256: str, seed: int) -> AdapterConfig:
        """The config of the adapter on a wrapped model.

        Raises:
            UserError: There are no adapters, or they are merged.
        """
        layers = dict(lora_layers(model))
        require_adapters(layers)
        first = next(iter(layers.values()))
        return cls(
            base_sha256=base_sha256,
            r=first.r,
            alpha=first.alpha,
            dropout=first.dropout,
            target_modules=tuple(layers),
            seed=seed,
            use_rslora=first.use_rslora,
            use_dora=first.use_dora,
        )


def save_adapter(
    path: str | Path,
    model: MiniGPT,
    base_sha256: str,
    seed: int,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write a wrapped model's adapter, with what is needed to load it again.

    Args:
        path: Ends in ``.safetensors`` or in ``.pt``.
        provenance: What else is to be known of its making, such as the hash of its data; kept in
            safetensors' metadata alone.

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
    """The texts that stand in an adapter's safetensors: its config as JSON, field by field, what
    follows from it, and its provenance."""
    return {
        "format": "pt",  # what transformers and PEFT look for
        "minituner_format": ADAPTER_FORMAT,
        **{name: _as_text(value) for name, value in config.as_json().items()},
        "scaling": _as_text(config.scaling),
        **(provenance or {}),
    }


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_adapter(path: str | Path) -> tuple[AdapterConfig, dict[str, Tensor]]:
    """An adapter file's config and tensors, of either kind; not yet held against a model.

    Raises:
        UserError: The file is missing, damaged, unsafe or no adapter.
    """
    if (Path(path) / "adapter_config.json").is_file():
        raise _of_pefts(path, Path(path))
    try:
        if Path(path).suffix == ".safetensors":
            weights, texts = load_safetensors(path)
            if any(name.startswith(PEFT_PREFIX) for name in weights):
                raise _of_pefts(path, Path(path).parent)
            return _config_of_texts(texts), weights
        value = load_tensors(path, ADAPTER_FORMAT)
        config = value["config"] | {"target_modules": tuple(value["config"]["target_modules"])}
        return AdapterConfig(**config), dict(value["weights"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=str(error),
            expected=f"the fields {', '.join(AdapterConfig.__annotations__)}",
            fix="write the file with minituner.storage.adapter.save_adapter",
        ) from error


def _of_pefts(path: str | Path, folder: Path) -> UserError:
    return UserError(
        path,
        "is an adapter of PEFT's",
        found="a folder" if folder == Path(path) else f"names that begin with {PEFT_PREFIX}",
        expected="an adapter file of minituner's",
        fix=f"make one of it: python -m minituner import --from peft {folder} adapter.pt",
    )


def _config_of_texts(texts: Mapping[str, str]) -> AdapterConfig:
    values = {
        field.name: texts[field.name]
        if field.name == "base_sha256"
        else json.loads(texts[field.name])
        for field in fields(AdapterConfig)
    }
    return AdapterConfig(**values | {"target_modules": tuple(values["target_modules"])})


def load_adapter(
    path: str | Path,
    model: MiniGPT,
    base_sha256: str | None = None,
    rank: int | None = None,
    seed: int | None = None,
) -> MiniGPT:
    """Put the adapter of a file on ``model`` (unwrapped, changed in place), ready to evaluate.

    Args:
        base_sha256: The base's :func:`weights_sha256`; computed from ``model`` when not given.
        rank, seed: What the adapter must be of; any will do when not given.

    Raises:
        UserError: The adapter was made for another base, does not fit it, or is another run's.
    """
    config, weights = read_adapter(path)
    base_sha256 = base_sha256 or weights_sha256(model.state_dict())
    if config.base_sha256 != base_sha256:
        raise UserError(
            path,
            "was made for another base",
            found=f"base {str(config.base_sha256)[:12]}",
            expected=f"base {base_sha256[:12]}",
            fix=f"train the adapter again over this base: {commands.snakemake('report')}",
        )
    for name, found, expected in (("rank", config.r, rank), ("seed", config.seed, seed)):
        if expected is not None and found != expected:
            raise UserError(
                path,
                f"is the adapter of another {name}",
                found=f"{name} {found}",
                expected=f"{name} {expected}",
                fix=f"delete the file and train it again: {commands.snakemake('report')}",
            )
    try:
        wrap_as(model, config)
    except (TypeError, UserError) as error:
        raise UserError(
            path,
            "its adapter does not fit the base",
            found=str(error),
            expected="a rank, alpha, dropout and layers that the base can take",
            fix=f"train the adapter again over this base: {commands.snakemake('report')}",
        ) from error
    load_lora_state_dict(model, weights, str(path))
    return model.eval()


def wrap_as(model: MiniGPT, config: AdapterConfig) -> MiniGPT:
    """Put adapters of a config on ``model`` (unwrapped, changed in place), at their start."""
    return wrap_minigpt_with_lora(
        model,
        config.r,
        config.alpha,
        config.target_modules,
        config.dropout,
        seed=config.seed,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
    )
