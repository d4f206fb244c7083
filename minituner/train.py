"""Fine-tuning: LoRA adapters over a frozen base, or (as the baseline) all of the base's weights.

The loop and the loss are in :mod:`minituner.loop`; :mod:`minituner.train_seeds` wraps the base and
calls this for each seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from minituner.adapter_tensors import (
    base_state_dict,
    named_lora_parameters,
    refuse_adapters,
    require_adapters,
)
from minituner.bases import save_tuned_model
from minituner.batches import Batch, Loader
from minituner.causal_lm import CausalLM
from minituner.loop import LogRow, mean_loss, perplexity, train_loop, write_log
from minituner.lora import lora_layers
from minituner.storage.adapter import save_adapter
from minituner.storage.tensors import weights_sha256


@dataclass(frozen=True)
class LoRATrainConfig:
    """The hyperparameters of fine-tuning, whether of adapters or of all weights."""

    learning_rate: float = 1e-4
    loraplus_lr_ratio: float = 1.0  # B's rate / A's (LoRA+, Hayou et al. 2024, arXiv 2402.12354)
    weight_decay: float = 0.01
    batch_size: int = 16  # pairs; read where the loaders are built
    epochs: int = 3
    held_out_verb: str | None = None  # excluded from the training pairs
    validate_every: int = 50  # steps
    control_every: int = 100  # steps
    seed: int = 0  # only recorded in the adapter; the model and the loader are seeded by the caller


def fine_tune_lora(
    model: CausalLM,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    out_dir: str | Path,
    control_loader: Iterable[Batch] | None = None,
    show_progress: bool = True,
    start: LogRow | None = None,
    provenance: Mapping[str, str] | None = None,
    base_sha256: str | None = None,
) -> list[LogRow]:
    """Train the adapters of a wrapped model; all other weights are frozen.

    Writes ``adapter_final.pt``, the same adapter as ``adapter_final.safetensors``, and
    ``train_log.csv`` into ``out_dir``. The validation loss and the control perplexity are also
    measured before the first step and after the last.

    Args:
        start: The log's first row, if another seed has measured it: B starts at zero, so before
            training every seed's model computes what the base computes.
        provenance: As in :func:`minituner.storage.adapter.save_adapter`.
        base_sha256: The hash of the base's weights as they are stored, where the model has them in
            another precision; computed from the model when not given.

    Returns:
        The log, one row per step from 0.

    Raises:
        UserError: The model has no adapters, they are merged, or the loss is no longer finite.
    """
    require_adapters(dict(lora_layers(model)))
    base_sha256 = base_sha256 or weights_sha256(base_state_dict(model))
    optimizer = lora_optimizer(model, config)
    log = fine_tune(
        model, optimizer, train_loader, val_loader, config, control_loader, show_progress, start
    )
    for kind in ("pt", "safetensors"):
        path = Path(out_dir) / f"adapter_final.{kind}"
        save_adapter(path, model, base_sha256, config.seed, provenance)
    write_log(Path(out_dir) / "train_log.csv", log)
    return log


def lora_optimizer(model: CausalLM, config: LoRATrainConfig) -> torch.optim.AdamW:
    """AdamW over the adapters' tensors; B has a learning rate of its own (LoRA+)."""
    parameters = named_lora_parameters(model)
    b = [p for name, p in parameters.items() if name.endswith(".lora_B")]
    others = [p for name, p in parameters.items() if not name.endswith(".lora_B")]
    lr = config.learning_rate
    return torch.optim.AdamW(
        [{"params": others, "lr": lr}, {"params": b, "lr": lr * config.loraplus_lr_ratio}],
        weight_decay=config.weight_decay,
        fused=True,
    )


def fine_tune_full(
    model: CausalLM,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    out_dir: str | Path,
    control_loader: Iterable[Batch] | None = None,
    show_progress: bool = True,
    tokenizer_path: str | Path | None = None,
    start: LogRow | None = None,
) -> list[LogRow]:
    """Train every weight of a plain model: the baseline that LoRA is compared with.

    Writes ``model_final.pt`` (see :func:`minituner.bases.save_tuned_model`) and ``train_log.csv``
    into ``out_dir``.

    Args:
        start: As in :func:`fine_tune_lora`.

    Returns:
        The log, one row per step from 0.

    Raises:
        UserError: The model has adapters, or the loss is no longer finite; nothing is written.
    """
    refuse_adapters(model, "model", "is not fine-tuned")
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    log = fine_tune(
        model, optimizer, train_loader, val_loader, config, control_loader, show_progress, start
    )
    save_tuned_model(Path(out_dir) / "model_final.pt", model, tokenizer_path)
    write_log(Path(out_dir) / "train_log.csv", log)
    return log


def fine_tune(
    model: CausalLM,
    optimizer: torch.optim.Optimizer,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    control_loader: Iterable[Batch] | None = None,
    show_progress: bool = True,
    start: LogRow | None = None,
) -> list[LogRow]:
    """Train for ``config.epochs`` passes, measuring validation loss and control perplexity."""
    total_steps = config.epochs * len(train_loader)

    def evaluate_at(step: int, train_loss: float | None) -> LogRow:
        last = step == total_steps
        val_loss = control_perplexity = None
        if last or step % config.validate_every == 0:
            val_loss = mean_loss(model, val_loader)
        if control_loader is not None and (last or step % config.control_every == 0):
            control_perplexity = perplexity(mean_loss(model, control_loader))
        return LogRow(step, train_loss, val_loss, control_perplexity)

    return train_loop(
        model,
        (batch for _ in range(config.epochs) for batch in train_loader),
        optimizer,
        evaluate_at,
        total_steps,
        f"train seed {config.seed}" if show_progress else None,
        log=[] if start is None else [start],
    )
