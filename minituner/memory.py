"""The peak memory of training and of evaluation, in closed form: known before it is needed.

    weights     the base, and a copy of it where tuned weights are compared with it
    trained     a gradient, two moments of AdamW and the value of each trained weight
    batch       the largest batch: in a step, what the backward pass reads, and the logits; in an
                evaluation, the activations of one layer, and the logits
    cache       activations that are kept from batch to batch
    pairs       the pairs as Python objects

What Python and its libraries take is not included: ``plan`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from minituner.adapter_tensors import named_lora_parameters
from minituner.batches import EVALUATION_BATCH_SIZE
from minituner.causal_lm import CausalLM
from minituner.commands import in_config
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.lora import LoRALinear

FLOAT, DOUBLE = 4, 8  # bytes
STEP_LOGITS = 3 * FLOAT  # per logit: itself, its log-probability, its gradient
VALIDATION_LOGITS = 2 * FLOAT
SCORING_LOGITS = FLOAT + 2 * DOUBLE  # scores are computed in float64
TRAINED_COPIES = 4  # the value, the gradient, two moments
# Measured: where batches have many sizes, the C library's allocator keeps blocks that do not fit
# the next batch.
KEPT_BY_ALLOCATOR = 2
PAIR_BYTES, PAIR_TOKEN_BYTES = 1500, 60  # measured


@dataclass(frozen=True)
class ModelSize:
    """The numbers of a model that its memory depends on."""

    weight_bytes: int  # of the base, without adapters
    trained_weights: int
    step_token_bytes: int  # activations per token that a backward pass reads
    forward_token_bytes: int  # activations per token that exist at once without one
    cached_token_bytes: int  # activations per token that are kept from batch to batch
    vocab_size: int

    @classmethod
    def of(cls, model: CausalLM) -> ModelSize:
        """The numbers of a model with adapters, or of a plain one whose weights are trained.

        From the lowest trained layer on, each linear layer counts its input and its output: that
        is also what norms, attention and activation functions keep in between. An adapter adds its
        input with dropout, and the mask. The output head is left out: only scored tokens have
        logits.
        """
        kept, widest, above = 0, 0, False
        for module in model.modules():
            if isinstance(module, LoRALinear):
                above = True
                kept += 2 * FLOAT * module.base.in_features * (module.config.dropout > 0)
            if isinstance(module, nn.Linear) and module is not model.output_head:
                above = above or module.weight.requires_grad
                width = (module.in_features + module.out_features) * module.weight.itemsize
                kept += width * above
                widest = max(widest, width)
        adapter_bytes = sum(weight.nbytes for weight in named_lora_parameters(model).values())
        return cls(
            weight_bytes=sum(weight.nbytes for weight in model.parameters()) - adapter_bytes,
            trained_weights=sum(w.numel() for w in model.parameters() if w.requires_grad),
            step_token_bytes=kept,
            forward_token_bytes=2 * widest,
            cached_token_bytes=model.cached_token_bytes,
            vocab_size=model.vocab_size,
        )


@dataclass(frozen=True)
class Workload:
    """The largest batches of a set of pairs, with padding, and how much text there is."""

    step_tokens: int
    step_scored: int  # tokens
    evaluation_tokens: int  # all of them are scored
    pairs: int
    tokens: int  # of all pairs

    @classmethod
    def of(
        cls,
        splits: Mapping[str, Sequence[TokenizedPair]],
        batch_size: int = 1,
        max_tokens: int | None = None,
    ) -> Workload:
        """The largest batches that the pairs can be shuffled into.

        Args:
            splits: The pairs of each split; those of ``train`` are trained on, if there are any.
            max_tokens: As in :meth:`minituner.batches.Batch.parts`.
        """
        train = splits.get("train", ())
        others = [pair for name, split in splits.items() if name != "train" for pair in split]
        step = _largest(train, batch_size, max_tokens)
        longest_answer = max((len(pair.target_ids) for pair in train), default=0)
        return cls(
            step_tokens=step,
            step_scored=min(step, batch_size * longest_answer),
            evaluation_tokens=_largest(others, EVALUATION_BATCH_SIZE, max_tokens),
            pairs=len(train) + len(others),
            tokens=sum(pair.tokens for pair in (*train, *others)),
        )


def _largest(pairs: Sequence[TokenizedPair], batch_size: int, max_tokens: int | None) -> int:
    """The most tokens of a batch, or of a part of it."""
    longest = max((pair.tokens for pair in pairs), default=0)
    tokens = longest * min(batch_size, len(pairs))
    return tokens if max_tokens is None else max(longest, min(tokens, max_tokens))


@dataclass(frozen=True)
class MemoryEstimate:
    """The parts of a peak, in bytes."""

    weights: int
    trained: int
    batch: int
    cache: int
    pairs: int

    @property
    def total(self) -> int:
        """The peak, without what Python and its libraries take."""
        return self.weights + self.trained + self.batch + self.cache + self.pairs

    @property
    def to_come(self) -> int:
        """What is still needed once the base and the pairs have been read."""
        return self.trained + self.batch + self.cache


def training_memory(size: ModelSize, work: Workload, cache_bytes: int) -> MemoryEstimate:
    """The peak of training: in a step, or in an evaluation between two."""
    step = (
        work.step_tokens * size.step_token_bytes + work.step_scored * size.vocab_size * STEP_LOGITS
    )
    return MemoryEstimate(
        weights=size.weight_bytes,
        trained=TRAINED_COPIES * FLOAT * size.trained_weights,
        batch=KEPT_BY_ALLOCATOR * max(step, _evaluation_batch(size, work, VALIDATION_LOGITS)),
        cache=min(cache_bytes, work.tokens * size.cached_token_bytes),
        pairs=_pair_bytes(work),
    )


def evaluation_memory(size: ModelSize, work: Workload, cache_bytes: int) -> MemoryEstimate:
    """The peak of evaluation, which compares the tuned model's weights with the base's."""
    return MemoryEstimate(
        weights=2 * size.weight_bytes,
        trained=FLOAT * size.trained_weights,
        batch=_evaluation_batch(size, work, SCORING_LOGITS),
        cache=min(cache_bytes, work.tokens * size.cached_token_bytes),
        pairs=_pair_bytes(work),
    )


def _evaluation_batch(size: ModelSize, work: Workload, logit_bytes: int) -> int:
    return work.evaluation_tokens * (size.forward_token_bytes + size.vocab_size * logit_bytes)


def _pair_bytes(work: Workload) -> int:
    return work.pairs * PAIR_BYTES + work.tokens * PAIR_TOKEN_BYTES


# --- what there is ------------------------------------------------------------------------------

CGROUPS = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """The memory that a process can still use on a device: in a container or a cluster's job, at
    most what that may use."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    available = psutil.virtual_memory().available
    limit = cgroup_bytes(CGROUPS)
    return available if limit is None else min(available, limit)


def cgroup_bytes(root: Path) -> int | None:
    """The memory left in this process's control group (cgroup v2); None without a limit."""
    try:
        own = Path("/proc/self/cgroup").read_text().partition("::")[2].strip()
        folder = root / own.lstrip("/")
        folder = folder if (folder / "memory.max").is_file() else root
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        files = int(dict(line.split() for line in lines)["inactive_file"])
        return limit - used + files  # cached files make room
    except (OSError, KeyError, ValueError):  # no such files, or "max": no limit
        return None


def require_memory(needed: int, available: int, what: str) -> None:
    """Refuse to begin what does not fit into the memory.

    Args:
        what: What needs the memory, such as ``training at rank 8``.

    Raises:
        UserError: Naming everything that needs less.
    """
    if needed > available:
        raise UserError(
            in_config("compute"),
            f"too little memory for {what}",
            found=f"{megabytes(available)} available",
            expected=f"about {megabytes(needed)}",
            fix="one of these:"
            "\n    limit the tokens of a batch: compute.max_tokens_per_batch"
            "\n    a smaller batch: train.batch_size"
            "\n    fewer jobs at a time: a smaller --cores"
            "\n    a smaller cache: compute.cache_bytes"
            "\n    for a transformers base: compute.dtype: bfloat16",
        )


def megabytes(count: int) -> str:
    """A number of bytes in MB."""
    return f"{count / 1e6:,.0f} MB"
