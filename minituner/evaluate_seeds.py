"""Evaluation of one setting with every seed, compared with the untuned base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from minituner.adapter_tensors import base_state_dict, named_lora_parameters
from minituner.data.pairs import (
    EVALUATED_SPLITS,
    TokenizedPair,
    further_control_files,
    read_tokenized_pairs,
)
from minituner.evaluate import drift, evaluate_model
from minituner.lora import lora_layers, unwrap
from minituner.results import (
    ControlMetrics,
    Drift,
    ItemRow,
    ModelMetrics,
    RunMetrics,
    SplitMetrics,
    TunedMetrics,
    read_results,
)
from minituner.scoring import ScoringBatches
from minituner.statistics.audit import scale_audit
from minituner.storage.adapter import load_adapter
from minituner.storage.checkpoint import load_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer, load_tokenizer

# By split: val, test, control, probe, and further control sets such as controls/french.
Pairs = Mapping[str, Sequence[TokenizedPair]]


class BaseChangedError(RuntimeError):
    """A weight of the frozen base inside a tuned model differs from the checkpoint's."""


def evaluate_base(inputs: Mapping[str, Any]) -> tuple[ModelMetrics, list[ItemRow]]:
    """:func:`evaluate_model` for the untuned base.

    Args:
        inputs: The files ``base`` and ``tokenizer``, one per split, and those of further
            ``controls``.
    """
    model = load_base(inputs["base"], inputs["tokenizer"])
    tokenizer = load_tokenizer(inputs["tokenizer"], model.vocab_size)
    return evaluate_model(model, tokenizer, scoring_batches(read_splits(inputs), tokenizer))


def evaluate_setting(
    inputs: Mapping[str, Any], seeds: Sequence[int], rank: int | None
) -> tuple[TunedMetrics, list[ItemRow]]:
    """:func:`evaluate_model` for every seed of one setting, from its files.

    Args:
        inputs: The files ``base``, ``tokenizer``, ``base_metrics``, one per split, those of further
            ``controls``, and ``tuned``: the adapter, or the fully tuned model, of each seed.
        rank: The adapters' rank; ``None`` if all weights were trained instead.
    """
    tokenizer = load_tokenizer(inputs["tokenizer"])
    tuned = dict(zip(seeds, inputs["tuned"], strict=True))
    base_metrics = read_results(inputs["base_metrics"], ModelMetrics)
    pairs = read_splits(inputs)
    if rank is None:
        return evaluate_full(inputs["base"], tuned, tokenizer, pairs, base_metrics)
    return evaluate_adapters(inputs["base"], tuned, tokenizer, pairs, base_metrics, rank)


def read_splits(inputs: Mapping[str, Any]) -> Pairs:
    """The pairs of every evaluated split, from its file."""
    files = {name: inputs[name] for name in EVALUATED_SPLITS} | further_control_files(inputs)
    return {name: read_tokenized_pairs(file) for name, file in files.items()}


def evaluate_adapters(
    base_path: str | Path,
    adapters: Mapping[int, str | Path],
    tokenizer: TextTokenizer,
    pairs: Pairs,
    base_metrics: ModelMetrics,
    rank: int | None = None,
) -> tuple[TunedMetrics, list[ItemRow]]:
    """:func:`evaluate_model` for the adapter of each seed, all over one base.

    Args:
        adapters: The adapter file of each seed; all of one rank.
        base_metrics: The metrics of the base.
        rank: The rank that the adapters must have; ``None`` accepts any.

    Raises:
        UserError: An adapter does not belong to the base, or is of another rank or seed.
        BaseChangedError: A base weight inside a tuned model differs from the checkpoint's.
    """
    model = load_base(base_path)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sha256 = weights_sha256(base)
    splits = scoring_batches(pairs, tokenizer)
    runs: list[RunMetrics] = []
    items: list[ItemRow] = []
    for seed, path in adapters.items():
        load_adapter(path, model, sha256, rank=rank, seed=seed)
        metrics, rows = evaluate_model(model, tokenizer, splits)
        run = run_metrics(seed, metrics, base_metrics, base, model)
        if run["base_sha256"]["after"] != sha256:
            raise BaseChangedError(f"{path}: the base inside the tuned model was changed")
        runs.append(run)
        items += [{"seed": seed, **row} for row in rows]
        # Rank and scaling are the same for every layer and seed, so those of the last are returned.
        layer = next(layer for _, layer in lora_layers(model))
        size = sum(parameter.numel() for parameter in named_lora_parameters(model).values())
        unwrap(model)  # the base again, for the next seed
    return {
        "rank": layer.config.r,
        "scaling": layer.scaling,
        "trained_parameters": size,
        **stored_size(base_path, adapters.values()),
        "runs": runs,
    }, items


def evaluate_full(
    base_path: str | Path,
    models: Mapping[int, str | Path],
    tokenizer: TextTokenizer,
    pairs: Pairs,
    base_metrics: ModelMetrics,
) -> tuple[TunedMetrics, list[ItemRow]]:
    """:func:`evaluate_model` for the fully tuned model of each seed; no rank, no scaling.

    Args:
        models: The checkpoint of each seed.
        base_metrics: The metrics of the base.

    Raises:
        UserError: A checkpoint is damaged.
    """
    base = load_base(base_path).state_dict()
    splits = scoring_batches(pairs, tokenizer)
    runs: list[RunMetrics] = []
    items: list[ItemRow] = []
    for seed, path in models.items():
        model = load_base(path)
        metrics, rows = evaluate_model(model, tokenizer, splits)
        runs.append(run_metrics(seed, metrics, base_metrics, base, model))
        items += [{"seed": seed, **row} for row in rows]
    return {
        "rank": None,
        "scaling": None,
        "trained_parameters": sum(tensor.numel() for tensor in base.values()),
        **stored_size(base_path, models.values()),
        "runs": runs,
    }, items


def scoring_batches(pairs: Pairs, tokenizer: TextTokenizer) -> dict[str, ScoringBatches]:
    """The batches of every split, made once for all models."""
    return {name: ScoringBatches.of(split, tokenizer.pad_id) for name, split in pairs.items()}


def run_metrics(
    seed: int,
    metrics: ModelMetrics,
    base_metrics: ModelMetrics,
    base: Mapping[str, Tensor],
    model: nn.Module,
) -> RunMetrics:
    """One seed's metrics, compared with the base's metrics and weights.

    Args:
        base: The base's tensors, from its checkpoint.
        model: The tuned model, with adapters or fully tuned.
    """
    weights = base_state_dict(model)
    run: RunMetrics = {
        **metrics,
        "test": {**metrics["test"], "drift": drift_of(metrics["test"], base_metrics["test"])},
        "control": with_drift(metrics["control"], base_metrics["control"]),
        "seed": seed,
        "base_max_abs_diff": max_abs_difference(weights, base),
        "base_sha256": {"before": weights_sha256(base), "after": weights_sha256(weights)},
        "scale_audit": scale_audit(model),
    }
    if "controls" in metrics:
        before = base_metrics["controls"]
        run["controls"] = {
            name: with_drift(control, before[name]) for name, control in metrics["controls"].items()
        }
    return run


def with_drift(tuned: ControlMetrics, base: ControlMetrics) -> ControlMetrics:
    """A tuned model's metrics on a control set, with the drift from the base's."""
    return {**tuned, "drift": drift_of(tuned, base)}


def drift_of(tuned: SplitMetrics | ControlMetrics, base: SplitMetrics | ControlMetrics) -> Drift:
    """The change of each of a tuned model's perplexities on a split from the base's."""
    after, before = tuned["perplexity"], base["perplexity"]
    return {
        "text": drift(after["text"], before["text"]),
        "target": drift(after["target"], before["target"]),
    }


def max_abs_difference(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    """The largest absolute difference over every tensor; NaN if any is NaN.

    Raises:
        ValueError: The names or shapes differ.
    """
    if left.keys() != right.keys():
        raise ValueError(f"tensors differ: {sorted(left.keys() ^ right.keys())}")
    for name in left:
        if left[name].shape != right[name].shape:
            raise ValueError(f"{name}: {tuple(left[name].shape)} and {tuple(right[name].shape)}")
    return float(torch.stack([(left[name] - right[name]).abs().max() for name in left]).max())


class StoredSize(TypedDict):
    """The size of the file that is stored per seed: an adapter, or a whole model."""

    file_bytes: int
    size_ratio: float


def stored_size(base_path: str | Path, files: Iterable[str | Path]) -> StoredSize:
    """The size of the largest file, and its ratio to the base's."""
    file_bytes = max(Path(path).stat().st_size for path in files)
    return {"file_bytes": file_bytes, "size_ratio": file_bytes / Path(base_path).stat().st_size}
