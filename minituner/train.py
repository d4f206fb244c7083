"""Fine-tuning of LoRA adapters over a frozen base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minituner.batches import Example, Loader, text_examples
from minituner.checkpoint import weights_sha256
from minituner.errors import UserError
from minituner.loop import LogRow, mean_loss, perplexity, run_steps, write_log
from minituner.lora import (
    base_state_dict,
    lora_layers,
    lora_parameter_count,
    lora_parameters,
    reset_adapters,
    save_adapter,
    wrap_minigpt_with_lora,
)
from minituner.model import MiniGPT
from minituner.optim import AdamW
from minituner.pairs import TokenizedPair
from minituner.seeding import generator

EVALUATION_BATCH = 128  # sequences; no gradients are kept, so more fit than in training


@dataclass(frozen=True)
class LoRATrainConfig:
    """How an adapter is trained."""

    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    batch_size: int = 16  # pairs; used where the loaders are built
    epochs: int = 3
    validate_every: int = 50  # steps
    control_every: int = 100  # steps
    seed: int = 0  # written into the adapter; the streams themselves are the model's and loader's


def fine_tune_lora(
    model: MiniGPT,
    train_loader: Loader,
    val_loader: Loader,
    config: LoRATrainConfig,
    out_dir: str | Path,
    control_loader: Loader | None = None,
    show_progress: bool = True,
) -> list[LogRow]:
    """Train the adapters of a wrapped model; everything else is frozen and stays as it is.

    Writes ``adapter_final.pt`` and ``train_log.csv`` into ``out_dir``. The validation loss and the
    control perplexity are also measured before the first step and after the last.

    Returns:
        The log, one row a step from 0 on.

    Raises:
        UserError: The model has no adapters, or the loss is no longer finite.
    """
    parameters = lora_parameters(model)
    if not parameters:
        raise UserError(
            "model",
            "has no adapters to train",
            found="an unwrapped model",
            expected="a model with LoRA layers",
            mend="call wrap_minigpt_with_lora(model) first",
        )
    base_sha256 = weights_sha256(base_state_dict(model))
    total_steps = config.epochs * len(train_loader)

    def measure(step: int, train_loss: float | None) -> LogRow:
        last = step == total_steps
        val_loss = control_perplexity = None
        if last or step % config.validate_every == 0:
            val_loss = mean_loss(model, val_loader)
        if control_loader is not None and (last or step % config.control_every == 0):
            control_perplexity = perplexity(mean_loss(model, control_loader))
        return LogRow(step, train_loss, val_loss, control_perplexity)

    log = run_steps(
        model,
        (batch for _ in range(config.epochs) for batch in train_loader),
        AdamW(parameters, config.learning_rate, config.weight_decay),
        measure,
        total_steps,
        f"train seed {config.seed}" if show_progress else None,
    )
    save_adapter(Path(out_dir) / "adapter_final.pt", model, base_sha256, config.seed)
    write_log(Path(out_dir) / "train_log.csv", log)
    return log


def target_examples(pairs: Sequence[TokenizedPair]) -> list[Example]:
    """The pairs' texts with only the answer's tokens scored."""
    return [Example(p.prompt_ids + p.target_ids, len(p.prompt_ids)) for p in pairs]


def train_rank(
    model: MiniGPT,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    *,
    r: int,
    alpha: float,
    dropout: float,
    target_modules: Sequence[str],
    config: LoRATrainConfig,
    seeds: Sequence[int],
    pad_id: int,
    out_dir: str | Path,
) -> dict[str, Any]:
    """Train one adapter a seed over the same base, each into ``out_dir/seed-<seed>``.

    A seed has separate streams for the adapters' start, the order of the batches and dropout; none
    depends on the rank, so runs of different ranks differ by their rank alone.

    Args:
        model: The base, unwrapped; it is wrapped in place.
        pairs: ``train``, ``val`` and ``control``.

    Returns:
        The trainable parameters, counted and in closed form, and the steps of each run.

    Raises:
        UserError: As :func:`wrap_minigpt_with_lora` and :func:`fine_tune_lora`.
        AssertionError: More or less is trainable than the closed form says.
    """
    total = sum(parameter.numel() for parameter in model.parameters())
    wrap_minigpt_with_lora(model, r, alpha, target_modules, dropout, seed=seeds[0])
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shapes = [(layer.base.out_features, layer.base.in_features) for _, layer in lora_layers(model)]
    closed_form = lora_parameter_count(shapes, r)
    assert trainable == closed_form, f"{trainable} trainable weights, expected {closed_form}"

    val_loader = Loader(target_examples(pairs["val"]), EVALUATION_BATCH, pad_id)
    control_texts = [pair.prompt_ids + pair.target_ids for pair in pairs["control"]]
    control_loader = Loader(text_examples(control_texts), EVALUATION_BATCH, pad_id)
    train_examples = target_examples(pairs["train"])
    for seed in seeds:
        reset_adapters(model, seed)
        train_loader = Loader(train_examples, config.batch_size, pad_id, generator(seed, "batches"))
        fine_tune_lora(
            model,
            train_loader,
            val_loader,
            replace(config, seed=seed),
            Path(out_dir) / f"seed-{seed}",
            control_loader,
        )
    return {
        "rank": r,
        "adapted_layers": [name for name, _ in lora_layers(model)],
        "trainable_parameters": trainable,
        "trainable_parameters_closed_form": closed_form,
        "base_parameters": total,
        "trainable_ratio": trainable / total,
        "steps": config.epochs * len(train_loader),
    }
