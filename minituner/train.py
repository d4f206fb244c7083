"""Fine-tuning over a base: LoRA adapters on it while it is frozen, or all of its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minituner.commands import in_config
from minituner.data.batches import Batch, Example, Loader, text_examples
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError, number_of
from minituner.fast.frozen import keep_frozen_part
from minituner.fast.optim import AdamW
from minituner.loop import LogRow, mean_loss, perplexity, run_steps, write_log
from minituner.lora import (
    base_state_dict,
    lora_layers,
    lora_parameter_count,
    named_lora_parameters,
    require_adapters,
    reset_adapters,
    wrap_minigpt_with_lora,
)
from minituner.model import MiniGPT
from minituner.seeding import generator
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256

EVALUATION_BATCH = 128  # sequences; no gradients are kept, so more fit than in training


@dataclass(frozen=True)
class LoRATrainConfig:
    """How an adapter is trained."""

    learning_rate: float = 1e-4
    loraplus_lr_ratio: float = 1.0  # B's rate to A's (LoRA+, Hayou et al. 2024, arXiv 2402.12354)
    weight_decay: float = 0.01
    batch_size: int = 16  # pairs; used where the loaders are built
    epochs: int = 3
    held_out_verb: str | None = None  # left out of the training pairs
    validate_every: int = 50  # steps
    control_every: int = 100  # steps
    seed: int = 0  # written into the adapter; the streams themselves are the model's and loader's


def fine_tune_lora(
    model: MiniGPT,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    out_dir: str | Path,
    control_loader: Iterable[Batch] | None = None,
    show_progress: bool = True,
    start: LogRow | None = None,
    provenance: Mapping[str, str] | None = None,
) -> list[LogRow]:
    """Train the adapters of a wrapped model; everything else is frozen and stays as it is.

    Writes ``adapter_final.pt``, its twin ``adapter_final.safetensors`` and ``train_log.csv`` into
    ``out_dir``. The validation loss and the control perplexity are also measured before the first
    step and after the last.

    Args:
        start: The log's first row, where it is known: untrained, every seed's model is the base.
        provenance: As in :func:`minituner.storage.adapter.save_adapter`.

    Returns:
        The log, one row a step from 0 on.

    Raises:
        UserError: The model has no adapters, they are merged, or the loss is no longer finite.
    """
    require_adapters(dict(lora_layers(model)))
    base_sha256 = weights_sha256(base_state_dict(model))
    parameters = named_lora_parameters(model)
    optimizer = AdamW(
        list(parameters.values()),
        config.learning_rate,
        config.weight_decay,
        rate_ratios=[
            config.loraplus_lr_ratio if name.endswith("lora_B") else 1.0 for name in parameters
        ],
    )
    log = _fine_tune(
        model, optimizer, train_loader, val_loader, config, control_loader, show_progress, start
    )
    for kind in ("pt", "safetensors"):
        path = Path(out_dir) / f"adapter_final.{kind}"
        save_adapter(path, model, base_sha256, config.seed, provenance)
    write_log(Path(out_dir) / "train_log.csv", log)
    return log


def fine_tune_full(
    model: MiniGPT,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    out_dir: str | Path,
    control_loader: Iterable[Batch] | None = None,
    show_progress: bool = True,
    tokenizer_path: str | Path | None = None,
    start: LogRow | None = None,
) -> list[LogRow]:
    """Train every weight of an unwrapped model: the baseline that LoRA is held against.

    Writes ``model_final.pt``, a base checkpoint of its own, and ``train_log.csv`` into ``out_dir``.

    Args:
        start: As in :func:`fine_tune_lora`.

    Returns:
        The log, one row a step from 0 on.

    Raises:
        UserError: The loss is no longer finite.
    """
    model.requires_grad_(True)
    optimizer = AdamW(list(model.parameters()), config.learning_rate, config.weight_decay)
    log = _fine_tune(
        model, optimizer, train_loader, val_loader, config, control_loader, show_progress, start
    )
    save_base(Path(out_dir) / "model_final.pt", model, tokenizer_path)
    write_log(Path(out_dir) / "train_log.csv", log)
    return log


def _fine_tune(
    model: MiniGPT,
    optimizer: AdamW,
    train_loader: Loader,
    val_loader: Iterable[Batch],
    config: LoRATrainConfig,
    control_loader: Iterable[Batch] | None,
    show_progress: bool,
    start: LogRow | None,
) -> list[LogRow]:
    """The loop that both share: they differ in what the optimizer holds and what is kept."""
    total_steps = config.epochs * len(train_loader)

    def measure(step: int, train_loss: float | None) -> LogRow:
        last = step == total_steps
        val_loss = control_perplexity = None
        if last or step % config.validate_every == 0:
            val_loss = mean_loss(model, val_loader)
        if control_loader is not None and (last or step % config.control_every == 0):
            control_perplexity = perplexity(mean_loss(model, control_loader))
        return LogRow(step, train_loss, val_loss, control_perplexity)

    return run_steps(
        model,
        (batch for _ in range(config.epochs) for batch in train_loader),
        optimizer,
        measure,
        total_steps,
        f"train seed {config.seed}" if show_progress else None,
        log=[] if start is None else [start],
    )


# --- one setting, all its seeds -----------------------------------------------------------------


class Loaders:
    """The batches of one setting: seeds differ in the order of the training pairs alone.

    Args:
        pairs: ``train``, ``val`` and ``control``.
    """

    def __init__(
        self,
        model: MiniGPT,
        pairs: Mapping[str, Sequence[TokenizedPair]],
        config: LoRATrainConfig,
        pad_id: int,
    ) -> None:
        self.config = config
        self.pad_id = pad_id
        train = without_verb(pairs["train"], config.held_out_verb)
        self._train = keep_frozen_part(model, target_examples(train), pad_id)
        # Every seed is measured on the same batches: they are made once.
        texts = [pair.prompt_ids + pair.target_ids for pair in pairs["control"]]
        self.val, self.control = (
            list(Loader(kept, EVALUATION_BATCH, pad_id, share=True))
            for kept in (
                keep_frozen_part(model, target_examples(pairs["val"]), pad_id),
                keep_frozen_part(model, text_examples(texts), pad_id),
            )
        )

    def train(self, seed: int) -> Loader:
        """The training pairs in an order of the seed's own."""
        order = generator(seed, "batches")
        return Loader(self._train, self.config.batch_size, self.pad_id, order)


def without_verb(pairs: Sequence[TokenizedPair], verb: str | None) -> list[TokenizedPair]:
    """The pairs but for a verb's that is left out of training, if one is.

    Raises:
        UserError: That leaves out all of them, or none.
    """
    kept = [pair for pair in pairs if pair.verb != verb]
    if verb is not None and not 0 < len(kept) < len(pairs):
        raise UserError(
            in_config("ablations"),
            "a held_out_verb leaves out all training pairs, or none",
            found=f"{verb!r}: of {number_of(len(pairs), 'pair')} it leaves {len(kept):,}",
            expected="a verb that some of the training pairs have, and some have not",
            fix="leave out another verb, or add rows of it to the corpus",
        )
    return kept


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
    use_rslora: bool = False,
    use_dora: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train one adapter a seed over the same base, each into ``out_dir/seed-<seed>``.

    A seed has separate streams for the adapters' start, the order of the batches and dropout; none
    depends on the rank, so runs of different ranks differ by their rank alone.

    Args:
        model: The base, unwrapped; it is wrapped in place.
        pairs: ``train``, ``val`` and ``control``.
        provenance: As in :func:`minituner.storage.adapter.save_adapter`.

    Returns:
        What was trained: the rank, the adapted layers, the counts of weights, the steps.
    """
    total = sum(p.numel() for p in model.parameters())
    wrap_minigpt_with_lora(
        model,
        r,
        alpha,
        target_modules,
        dropout,
        seed=seeds[0],
        use_rslora=use_rslora,
        use_dora=use_dora,
    )
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    shapes = [(layer.base.out_features, layer.base.in_features) for _, layer in lora_layers(model)]
    closed_form = lora_parameter_count(shapes, r, use_dora)
    assert trainable == closed_form, f"{trainable} trainable weights, expected {closed_form}"

    loaders = Loaders(model, pairs, config, pad_id)
    start = None
    for seed in seeds:
        reset_adapters(model, seed)
        start, *_ = fine_tune_lora(
            model,
            loaders.train(seed),
            loaders.val,
            replace(config, seed=seed),
            Path(out_dir) / f"seed-{seed}",
            loaders.control,
            start=start,
            provenance=provenance,
        )
    return {
        "rank": r,
        "adapted_layers": [name for name, _ in lora_layers(model)],
        "trainable_parameters": trainable,
        "trainable_parameters_closed_form": closed_form,
        "base_parameters": total,
        "trainable_ratio": trainable / total,
        "steps": config.epochs * len(loaders.train(seeds[0])),
    }


def train_full(
    model: MiniGPT,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    *,
    config: LoRATrainConfig,
    seeds: Sequence[int],
    pad_id: int,
    out_dir: str | Path,
    tokenizer_path: str | Path | None = None,
) -> dict[str, Any]:
    """Train all weights once a seed, each time from the same base, into ``out_dir/seed-<seed>``.

    Batches are those of :func:`train_rank` for the same seed.

    Args:
        model: The base; changed in place.
        pairs: ``train``, ``val`` and ``control``.

    Returns:
        What was trained: the counts of weights and the steps.
    """
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaders = Loaders(model, pairs, config, pad_id)
    start = None
    for seed in seeds:
        model.load_state_dict(weights)
        start, *_ = fine_tune_full(
            model,
            loaders.train(seed),
            loaders.val,
            replace(config, seed=seed),
            Path(out_dir) / f"seed-{seed}",
            loaders.control,
            tokenizer_path=tokenizer_path,
            start=start,
        )
    total = sum(p.numel() for p in model.parameters())
    return {
        "trainable_parameters": total,
        "base_parameters": total,
        "trainable_ratio": 1.0,
        "steps": config.epochs * len(loaders.train(seeds[0])),
    }
