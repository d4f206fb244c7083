"""The work that every contestant does: the same base, pairs, batches, steps and seeds.

A contestant is a script of its own, so that its start-up counts: it trains one rank with every
seed, measures the validation and control losses on the way as often as the study does, and saves
the adapters. With ``--losses`` it also writes all losses of the last seed, from the same start of A
and without dropout, so that contestants can be shown to compute the same thing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
BASE = ROOT / "experiments/17-minigpt-train/best.pt"
TOKENIZER = ROOT / "experiments/17-minigpt-train/tokenizer.json"
TOKENIZED = ROOT / "data/tokenized"
PAD_ID = 2
SEEDS = 5  # from 0 on, if no other count is asked for
EVALUATION_BATCH = 128  # sequences

Pair = tuple[list[int], list[int]]  # the ids that are given, the ids that are scored


def parse() -> Any:
    """The command line of a contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, from 0 on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="where the adapters go")
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--opt", type=Path, help="the base, exported for transformers")
    parser.add_argument("--losses", type=Path, help="write all losses there")
    return parser.parse_args()


def settings() -> dict[str, Any]:
    """The study's config."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config


def read_pairs() -> dict[str, list[Pair]]:
    """The training, validation and control pairs, without our own reader."""
    pairs = {}
    for name in ("train", "val", "control"):
        with (TOKENIZED / f"{name}.jsonl").open(encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        pairs[name] = [(row["prompt_ids"], row["target_ids"]) for row in rows]
    # Of a control pair the whole text is scored.
    texts = [prompt + target for prompt, target in pairs["control"]]
    return pairs | {"control": [(text[:1], text[1:]) for text in texts]}


def batch_order(n_pairs: int, batch_size: int, seed: int, epochs: int) -> list[list[int]]:
    """The study's batches of one seed, as indices: every contestant takes these."""
    import torch

    from minituner.seeding import generator

    draw = generator(seed, "batches")
    batches = []
    for _ in range(epochs):
        order = torch.randperm(n_pairs, generator=draw).tolist()
        batches += [order[i : i + batch_size] for i in range(0, n_pairs, batch_size)]
    return batches


def pad(chosen: Sequence[Pair]) -> dict[str, Any]:
    """A right-padded batch as the libraries expect it: labels not shifted, -100 where unscored."""
    import torch

    length = max(len(prompt) + len(target) for prompt, target in chosen)
    ids = torch.full((len(chosen), length), PAD_ID)
    labels = torch.full((len(chosen), length), -100)
    mask = torch.zeros((len(chosen), length), dtype=torch.long)
    for row, (prompt, target) in enumerate(chosen):
        end = len(prompt) + len(target)
        ids[row, :end] = torch.tensor(prompt + target)
        labels[row, len(prompt) : end] = torch.tensor(target)
        mask[row, :end] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def peft_config(rank: int, dropout: float) -> Any:
    """PEFT's LoraConfig for the study's adapters."""
    from peft import LoraConfig

    lora = settings()["lora"]
    return LoraConfig(
        r=rank,
        lora_alpha=lora["alpha"],
        lora_dropout=dropout,
        target_modules=[name.rpartition(".")[2] for name in lora["target_modules"]],
    )


def start_as_ours(model: Any, rank: int, seed: int, name_of: Callable[[str], str]) -> None:
    """Put our start of A into PEFT's layers.

    Args:
        name_of: What a parameter of our adapter is called in ``model``.
    """
    import torch

    from minituner.lora import lora_state_dict, wrap_minigpt_with_lora
    from minituner.storage.checkpoint import load_base

    ours = lora_state_dict(wrap_minigpt_with_lora(load_base(BASE), rank, seed=seed))
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in ours.items():
            own[name_of(name)].copy_(tensor)


@dataclass
class Losses:
    """All losses of one seed, in nats, and how many weights were trained."""

    trained_parameters: int
    train: list[float]  # of each step
    val: list[float]  # of each time that it was measured
    control: list[float]  # likewise

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self)))
