"""The seconds of a few real steps, and from them those of whole jobs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

from minituner.adapter_tensors import base_state_dict
from minituner.batches import EVALUATION_BATCH_SIZE, Batch, Loader, completion_examples
from minituner.causal_lm import CausalLM
from minituner.data.pairs import TokenizedPair
from minituner.evaluate import evaluate_model
from minituner.loop import mean_loss, train_step
from minituner.planning.schedule import evaluations
from minituner.scoring import ScoringBatches
from minituner.storage.adapter import save_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer
from minituner.train import LoRATrainConfig, lora_optimizer
from minituner.train_seeds import Data

Value = TypeVar("Value")

MEASURED_STEPS = 4  # after one that is not counted
MEASURED_PAIRS = 32  # of each split
# What a training job imports before its own work; the optimizer imports more when it is made.
START = """
import snakemake.script, psutil, torch, minituner.train_seeds{also}
torch.optim.AdamW([torch.zeros(1)])
print(psutil.Process().memory_info().rss)
"""


def start_of_a_process(*modules: str) -> tuple[float, int]:
    """The seconds that a job takes before its own work begins, and the bytes of memory by then.

    Args:
        modules: What it imports besides what every training job does.
    """
    program = START.format(also="".join(f", {module}" for module in modules))
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    return time.perf_counter() - started, int(done.stdout)


@dataclass(frozen=True)
class TrainingSeconds:
    """The parts of a training job, in seconds."""

    precompute: float  # once
    step: float
    validation: float  # of one evaluation
    control: float
    save: float  # per seed

    def job(self, steps: int, seeds: int, config: LoRATrainConfig) -> float:
        """All seeds of a rank; only the first evaluates the untrained model."""
        total = self.precompute
        for from_step in [0, *[1] * (seeds - 1)]:
            total += steps * self.step + self.save
            total += self.validation * evaluations(steps, config.validate_every, from_step)
            total += self.control * evaluations(steps, config.control_every, from_step)
        return total


def measure_training(
    model: CausalLM, data: Data, config: LoRATrainConfig, seed: int
) -> tuple[TrainingSeconds, int]:
    """The seconds of a model with adapters, which are trained a little; and the size in bytes of
    the adapter's file."""
    pairs = data.train_pairs[: config.batch_size * (MEASURED_STEPS + 1)]
    sample = completion_examples(pairs)
    precompute, _ = _timed(
        lambda: model.precompute(Loader(sample, EVALUATION_BATCH_SIZE, data.pad_id))
    )
    optimizer = lora_optimizer(model, config)
    model.train()
    batches = Loader(sample, config.batch_size, data.pad_id)
    steps = [_timed(partial(train_step, model, batch, optimizer))[0] for batch in batches]
    model.eval()
    save, adapter_bytes = _timed(lambda: _saved_bytes(model, seed))
    return TrainingSeconds(
        precompute * len(data.train_pairs) / len(pairs),
        median(steps[1:] or steps),
        _evaluation_seconds(model, data.val),
        _evaluation_seconds(model, data.control),
        save,
    ), adapter_bytes


def _evaluation_seconds(model: CausalLM, batches: Sequence[Batch]) -> float:
    """The seconds of all batches, from the first one; what is cached is cached by then."""
    mean_loss(model, batches[:1])
    seconds, _ = _timed(lambda: mean_loss(model, batches[:1]))
    texts = sum(len(batch.mask) for batch in batches)
    return seconds * texts / len(batches[0].mask)


def _saved_bytes(model: CausalLM, seed: int) -> int:
    """Save the adapter as training does; returns the size of the file that the gate measures."""
    base_sha256 = weights_sha256(base_state_dict(model))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"adapter_final.{kind}" for kind in ("pt", "safetensors")]
        for file in files:
            save_adapter(file, model, base_sha256, seed)
        return files[0].stat().st_size


def measure_evaluation(
    model: CausalLM, tokenizer: TextTokenizer, splits: Mapping[str, Sequence[TokenizedPair]]
) -> float:
    """The seconds of one model's evaluation, from that of a few pairs of each split.

    Args:
        splits: Those that are evaluated.
    """
    sample = {name: pairs[:MEASURED_PAIRS] for name, pairs in splits.items()}
    batches = {name: ScoringBatches.of(pairs, tokenizer.pad_id) for name, pairs in sample.items()}
    seconds, _ = _timed(lambda: evaluate_model(model, tokenizer, batches))
    measured = sum(map(len, sample.values()))
    return seconds * sum(map(len, splits.values())) / measured


def _timed(function: Callable[[], Value]) -> tuple[float, Value]:
    started = time.perf_counter()
    value = function()
    return time.perf_counter() - started, value
