"""The work that every contestant does: the same base, pairs, batches, steps and seeds.

Each contestant is a separate script, so that its start-up counts. It trains one rank with every
seed, measures the validation and control losses as often as the study does, and saves the adapters.
With ``--losses`` it also writes all losses of the last seed, starting from the same A and without
dropout, to show that all contestants compute the same thing.

``bench.py`` imports this module, so nothing large is imported at its top.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from llama import LAYERS as LLAMA_LAYERS

from minituner.pipeline import paths

ROOT = Path(__file__).parent.parent
BASE = ROOT / paths.BASE
TOKENIZER = ROOT / paths.TOKENIZER
TOKENIZED = ROOT / "data/tokenized"
SEEDS = 5  # default number of seeds, which count from 0

LLAMA_TARGETS = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
Pair = tuple[list[int], list[int]]  # the given ids, the scored ids


def parse() -> Any:
    """Options of a contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, counted from 0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapters")
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--opt", type=Path, help="the base, exported for transformers")
    parser.add_argument("--llama", type=Path, help="folder of a Llama, which is then the base")
    parser.add_argument("--top", type=int, help="adapt only this many of the Llama's last layers")
    parser.add_argument("--losses", type=Path, help="file for all losses")
    return parser.parse_args()


def settings() -> dict[str, Any]:
    """The study's config."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config


def read_pairs() -> dict[str, list[Pair]]:
    """The training, validation and control pairs, read without minituner's own reader."""
    pairs = {}
    for name in ("train", "val", "control"):
        with (TOKENIZED / f"{name}.jsonl").open(encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        pairs[name] = [(row["prompt_ids"], row["target_ids"]) for row in rows]
    # The whole text of a control pair is scored.
    texts = [prompt + target for prompt, target in pairs["control"]]
    return pairs | {"control": [(text[:1], text[1:]) for text in texts]}


def batch_order(n_pairs: int, batch_size: int, seed: int, epochs: int) -> list[list[int]]:
    """The study's batches of one seed, as indices of pairs; all contestants use them."""
    import torch

    from minituner.seeding import generator

    draw = generator(seed, "batches")
    batches = []
    for _ in range(epochs):
        order = torch.randperm(n_pairs, generator=draw).tolist()
        batches += [order[i : i + batch_size] for i in range(0, n_pairs, batch_size)]
    return batches


@cache
def pad_id() -> int:
    """The id of the padding token in the study's tokenizer."""
    from minituner.tokenizer import load_tokenizer

    return load_tokenizer(TOKENIZER).pad_id


def pad(chosen: Sequence[Pair]) -> dict[str, Any]:
    """A right-padded batch as the libraries expect it: labels not shifted, -100 if not scored."""
    import torch

    length = max(len(prompt) + len(target) for prompt, target in chosen)
    ids = torch.full((len(chosen), length), pad_id())
    labels = torch.full((len(chosen), length), -100)
    mask = torch.zeros((len(chosen), length), dtype=torch.long)
    for row, (prompt, target) in enumerate(chosen):
        end = len(prompt) + len(target)
        ids[row, :end] = torch.tensor(prompt + target)
        labels[row, len(prompt) : end] = torch.tensor(target)
        mask[row, :end] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def lora_config(options: Any) -> Any:
    """The adapters as minituner's LoRAConfig: the study's, or on every linear layer of a Llama.

    With ``--losses`` they have no dropout.
    """
    from minituner.lora_config import LoRAConfig

    lora = {key: value for key, value in settings()["lora"].items() if key != "rank"}
    if options.losses:
        lora["dropout"] = 0.0
    if options.llama:
        layers = None if options.top is None else f"last {options.top}"
        lora |= {"target_modules": LLAMA_TARGETS, "layers": layers}
    return LoRAConfig(r=options.rank, **lora)


def peft_config(options: Any) -> Any:
    """The same as PEFT's LoraConfig."""
    from peft import LoraConfig

    config = lora_config(options)
    return LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=[name.rpartition(".")[2] for name in config.target_modules],
        layers_to_transform=None
        if options.top is None
        else list(range(LLAMA_LAYERS - options.top, LLAMA_LAYERS)),
    )


def load_ours(options: Any) -> Any:
    """The base as minituner loads it."""
    if not options.llama:
        from minituner.storage.checkpoint import load_base

        return load_base(options.base)
    from transformers import AutoModelForCausalLM

    from minituner.hf.model import TransformersLM

    network = AutoModelForCausalLM.from_pretrained(options.llama)
    return TransformersLM(network, network.config.max_position_embeddings)


def start_as_ours(model: Any, options: Any, seed: int, name_of: Callable[[str], str]) -> None:
    """Copy minituner's initial A and B into PEFT's layers.

    Args:
        name_of: Maps the name of a parameter of minituner's adapter to its name in ``model``.
    """
    import torch

    from minituner.adapter_tensors import lora_state_dict
    from minituner.lora import wrap

    ours = lora_state_dict(wrap(load_ours(options), lora_config(options), seed))
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in ours.items():
            own[name_of(name)].copy_(tensor)


@dataclass
class Losses:
    """All losses of one seed, in nats, and the number of trained weights."""

    trained_parameters: int
    train: list[float]  # one per step
    val: list[float]  # one per measurement
    control: list[float]  # one per measurement

    def write(self, path: Path) -> None:
        """Write the losses as JSON."""
        path.write_text(json.dumps(asdict(self)))
