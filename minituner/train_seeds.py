"""Training of one setting with every seed, over the same base and with the same validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from minituner.adapter_tensors import lora_parameter_count
from minituner.base_files import load_base_tokenizer
from minituner.bases import load_base_model
from minituner.batches import (
    EVALUATION_BATCH_SIZE,
    Batch,
    Loader,
    completion_examples,
    text_examples,
)
from minituner.causal_lm import CausalLM
from minituner.commands import in_config
from minituner.compute import ComputeSettings, gpu_used, place
from minituner.data.pairs import TokenizedPair, read_tokenized_pairs
from minituner.errors import UserError, number_of
from minituner.lora import lora_layers, reset_adapters, wrap
from minituner.lora_config import LoRAConfig
from minituner.memory import (
    ModelSize,
    Workload,
    available_bytes,
    require_memory,
    training_memory,
)
from minituner.seeding import generator
from minituner.storage.files import sha256, write_json
from minituner.storage.tensors import weights_sha256
from minituner.train import LoRATrainConfig, fine_tune_full, fine_tune_lora

if TYPE_CHECKING:
    from minituner.results import AdapterTrainingSummary, TrainingSummary


@dataclass(frozen=True)
class Data:
    """The examples and batches of one setting. Seeds differ only in the order of training pairs."""

    train_pairs: Sequence[TokenizedPair]
    val: Sequence[Batch]  # made once, for all seeds
    control: Sequence[Batch]
    batch_size: int
    pad_id: int

    @classmethod
    def of(
        cls, pairs: Mapping[str, Sequence[TokenizedPair]], config: LoRATrainConfig, pad_id: int
    ) -> Data:
        """From the splits ``train``, ``val`` and ``control``."""
        control = text_examples([pair.prompt_ids + pair.target_ids for pair in pairs["control"]])
        val = completion_examples(pairs["val"])
        return cls(
            train_pairs=without_verb(pairs["train"], config.held_out_verb),
            val=list(Loader(val, EVALUATION_BATCH_SIZE, pad_id)),
            control=list(Loader(control, EVALUATION_BATCH_SIZE, pad_id)),
            batch_size=config.batch_size,
            pad_id=pad_id,
        )

    def train_batches(self) -> Loader:
        """The training pairs in the order of the file, whatever the seed, for ``precompute``."""
        examples = completion_examples(self.train_pairs)
        return Loader(examples, EVALUATION_BATCH_SIZE, self.pad_id)

    def train_loader(self, seed: int) -> Loader:
        """The training pairs, shuffled again for each epoch by the seed."""
        examples = completion_examples(self.train_pairs)
        return Loader(examples, self.batch_size, self.pad_id, generator(seed, "batches"))


def without_verb(pairs: Sequence[TokenizedPair], verb: str | None) -> list[TokenizedPair]:
    """The pairs except those of a held-out verb, if there is one.

    Raises:
        UserError: The verb excludes all pairs, or none.
    """
    kept = [pair for pair in pairs if pair.group != verb]
    if verb is not None and not 0 < len(kept) < len(pairs):
        raise UserError(
            in_config("ablations"),
            "a held_out_verb excludes all training pairs, or none",
            found=f"{verb!r}: of {number_of(len(pairs), 'pair')} it leaves {len(kept):,}",
            expected="a verb that some of the training pairs have, and some do not",
            fix="hold out another verb, or add rows of it to the corpus",
        )
    return kept


def train_adapters(
    model: CausalLM,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    lora: LoRAConfig,
    config: LoRATrainConfig,
    seeds: Sequence[int],
    pad_id: int,
    out_dir: str | Path,
    provenance: Mapping[str, str] | None = None,
    base_sha256: str | None = None,
) -> AdapterTrainingSummary:
    """Train one adapter per seed over the same base, each into ``out_dir/seed-<seed>``.

    A seed has separate random streams for the initial values of A, the order of the batches and
    dropout; none depends on the rank, so runs of different ranks differ by their rank alone.

    Args:
        model: The base, without adapters; it is wrapped in place.
        pairs: ``train``, ``val`` and ``control``.
        provenance, base_sha256: As in :func:`minituner.train.fine_tune_lora`.

    Raises:
        RuntimeError: More or fewer weights would be trained than the adapter has.
    """
    total = parameter_count(model)
    wrap(model, lora, seed=seeds[0])
    trainable = count_trainable(model, lora)
    data = Data.of(pairs, config, pad_id)
    check_memory(model, pairs, config, f"training at rank {lora.r}")
    model.precompute(data.train_batches())
    start = None
    for seed in seeds:
        reset_adapters(model, seed)
        start, *_ = fine_tune_lora(
            model,
            data.train_loader(seed),
            data.val,
            replace(config, seed=seed),
            Path(out_dir) / f"seed-{seed}",
            data.control,
            start=start,
            provenance=provenance,
            base_sha256=base_sha256,
        )
    return {
        "rank": lora.r,
        "adapted_layers": [name for name, _ in lora_layers(model)],
        "trainable_parameters_closed_form": trainable,
        **training_summary(model, trainable, total, data, config),
    }


def training_summary(
    model: CausalLM, trainable: int, total: int, data: Data, config: LoRATrainConfig
) -> TrainingSummary:
    """What adapters and full fine-tuning have in common.

    Args:
        trainable, total: The numbers of trained weights, and of the base's.
    """
    return {
        **gpu_used(model),
        "trainable_parameters": trainable,
        "base_parameters": total,
        "trainable_ratio": trainable / total,
        "steps": config.epochs * len(data.train_loader(0)),
    }


def count_trainable(model: CausalLM, lora: LoRAConfig) -> int:
    """The number of weights that will be trained, checked against the closed form.

    Raises:
        RuntimeError: They differ.
    """
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layers = [layer.base for _, layer in lora_layers(model)]
    shapes = [(layer.out_features, layer.in_features) for layer in layers]
    closed_form = lora_parameter_count(shapes, lora.r, lora.use_dora)
    if trainable != closed_form:
        raise RuntimeError(f"{trainable} trainable weights, expected {closed_form}")
    return trainable


def train_full(
    model: CausalLM,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    config: LoRATrainConfig,
    seeds: Sequence[int],
    pad_id: int,
    out_dir: str | Path,
    tokenizer_path: str | Path | None = None,
) -> TrainingSummary:
    """Train all weights once per seed, each time from the same base, into ``out_dir/seed-<seed>``.

    The batches are those of :func:`train_adapters` for the same seed.

    Args:
        model: The base; changed in place.
        pairs: ``train``, ``val`` and ``control``.

    Returns:
        What was trained: the parameter counts and the steps.
    """
    model.requires_grad_(True)
    check_memory(model, pairs, config, "training all weights")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = Data.of(pairs, config, pad_id)
    start = None
    for seed in seeds:
        model.load_state_dict(weights)
        start, *_ = fine_tune_full(
            model,
            data.train_loader(seed),
            data.val,
            replace(config, seed=seed),
            Path(out_dir) / f"seed-{seed}",
            data.control,
            tokenizer_path=tokenizer_path,
            start=start,
        )
    total = parameter_count(model)
    return training_summary(model, total, total, data, config)


def check_memory(
    model: CausalLM,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    config: LoRATrainConfig,
    what: str,
) -> None:
    """Refuse to train where the memory is too small, before any time is spent.

    Raises:
        UserError: Less is available than the estimate of what is still needed.
    """
    work = Workload.of(pairs, config.batch_size, model.max_tokens_per_batch)
    estimate = training_memory(ModelSize.of(model), work, model.cache_bytes)
    require_memory(estimate.to_come, available_bytes(model.device), what)


def parameter_count(model: nn.Module) -> int:
    """The number of weights of a model."""
    return sum(p.numel() for p in model.parameters())


def train_setting(
    inputs: Mapping[str, Any], config: Mapping[str, Any], rank: int | None, summary_path: str | Path
) -> None:
    """Train one setting from its files and write training.json, with the seeds' folders beside it.

    Args:
        inputs: The files ``base`` (several of a folder), ``tokenizer``, ``train``, ``val`` and
            ``control``.
        config: The sections ``lora``, ``train``, ``seeds`` and ``compute``.
        rank: The adapters' rank; ``None`` trains all weights instead.

    Raises:
        UserError: A file or a setting cannot be used, or there is too little memory.
    """
    compute = ComputeSettings(**config["compute"])
    base, tokenizer_path = inputs["base"], inputs["tokenizer"]
    model = load_base_model(base, tokenizer_path)
    base_sha256 = weights_sha256(model.state_dict())  # as stored: place may round them
    place(model, compute)
    pad_id = load_base_tokenizer(base, tokenizer_path, model.vocab_size).pad_id
    pairs = {name: read_tokenized_pairs(inputs[name]) for name in ("train", "val", "control")}
    train_config, seeds = LoRATrainConfig(**config["train"]), config["seeds"]
    out_dir = Path(summary_path).parent
    summary: TrainingSummary
    if rank is None:
        summary = train_full(model, pairs, train_config, seeds, pad_id, out_dir, tokenizer_path)
    else:
        lora = LoRAConfig(r=rank, **config["lora"])
        provenance = {f"{name}_sha256": sha256(inputs[name]) for name in ("tokenizer", "train")}
        summary = train_adapters(
            model, pairs, lora, train_config, seeds, pad_id, out_dir, provenance, base_sha256
        )
    write_json(summary_path, summary)
