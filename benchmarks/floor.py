"""A training step compared with its floor: the time of its matrix products alone.

The shapes of all matrix products of real steps are recorded (for attention, those of the products
inside it). Then only these products are run, on random numbers. Both are timed in turn by this
script, with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from statistics import median
from typing import Any

import torch
import work
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minituner.batches import Loader, completion_examples
from minituner.data.pairs import read_tokenized_pairs
from minituner.loop import train_step
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.seeding import generator, seed_everything
from minituner.storage.checkpoint import load_base
from minituner.train import LoRATrainConfig, lora_optimizer

ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


class Products(TorchDispatchMode):
    """Records the shapes of the matrix products that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            self._add(args[0], args[1])
        elif name == "addmm":
            self._add(args[1], args[2])
        elif name == ATTENTION:
            self._attention(args[0], forward=True)
        elif name == f"{ATTENTION}_backward":
            self._attention(args[1], forward=False)
        return func(*args, **(kwargs or {}))

    def _add(self, left: Tensor, right: Tensor) -> None:
        self.shapes.append((tuple(left.shape), tuple(right.shape)))

    def _attention(self, query: Tensor, forward: bool) -> None:
        """QK' and PV; in the backward pass QK', P'dO, dO V', dS K and dS' Q."""
        B, H, T, D = query.shape
        scores = ((B * H, T, D), (B * H, D, T))
        mixed = ((B * H, T, T), (B * H, T, D))
        self.shapes += [scores, mixed] if forward else [scores, mixed, scores, mixed, mixed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    seed_everything(0, options.threads)
    config = work.settings()
    lora = {key: value for key, value in config["lora"].items() if key != "rank"}
    train = LoRATrainConfig(**config["train"])
    model = wrap(load_base(work.BASE), LoRAConfig(r=options.rank, **lora), seed=0).train()
    optimizer = lora_optimizer(model, train)
    pairs = completion_examples(read_tokenized_pairs(work.TOKENIZED / "train.jsonl"))
    batches = list(Loader(pairs, train.batch_size, work.pad_id(), generator(0, "batches")))

    def step_all() -> None:
        for batch in batches:
            train_step(model, batch, optimizer)

    step_all()  # caches the frozen activations, which the timed steps do not compute again
    with Products() as products:
        step_all()
    operands = [(torch.randn(left), torch.randn(right)) for left, right in products.shapes]

    def multiply_all() -> None:
        for left, right in operands:
            torch.matmul(left, right)

    times: dict[str, list[float]] = {"step": [], "floor": []}
    for _ in range(options.repetitions + 1):
        for name, function in (("step", step_all), ("floor", multiply_all)):
            started = time.perf_counter()
            with torch.enable_grad() if name == "step" else torch.no_grad():
                function()
            times[name].append((time.perf_counter() - started) / len(batches))
    flops = sum(2 * math.prod(left) * right[-1] for left, right in products.shapes)
    step, floor = (median(times[name][1:]) for name in ("step", "floor"))
    print(
        json.dumps(
            {
                "rank": options.rank,
                "threads": options.threads,
                "steps": len(batches),
                "step_seconds": {k: f(times["step"][1:]) for k, f in FIGURES.items()},
                "floor_seconds": {k: f(times["floor"][1:]) for k, f in FIGURES.items()},
                "ratio": step / floor,
                "gflop_a_step": flops / len(batches) / 1e9,
            }
        )
    )


FIGURES = {"median": median, "min": min, "max": max}


if __name__ == "__main__":
    main()
