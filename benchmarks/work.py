"""The work that every contestant does: the same base, pairs, batches, steps and seeds.

A contestant is a script of its own, so that its start-up counts: it trains one rank with every seed
and saves the adapters. With ``--losses`` it also writes the loss of every step, from the same start
of A and without dropout, so that contestants can be shown to compute the same thing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
BASE = ROOT / "experiments/17-minigpt-train/best.pt"
TOKENIZER = ROOT / "experiments/17-minigpt-train/tokenizer.json"
TOKENIZED = ROOT / "data/tokenized"
PAD_ID = 2


def parse() -> Any:
    """The command line of a contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="where the adapters go")
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--opt", type=Path, help="the base, exported for transformers")
    parser.add_argument("--losses", type=Path, help="write every step's loss there")
    return parser.parse_args()


def settings() -> dict[str, Any]:
    """The study's config."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config


def read_training_pairs() -> list[tuple[list[int], list[int]]]:
    """Prompt and target ids of the training pairs, without our own reader."""
    import json

    with (TOKENIZED / "train.jsonl").open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return [(row["prompt_ids"], row["target_ids"]) for row in rows]


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


def pad(chosen: list[tuple[list[int], list[int]]]) -> dict[str, Any]:
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

    from minituner.checkpoint import load_base
    from minituner.lora import lora_state_dict, wrap_minigpt_with_lora

    ours = lora_state_dict(wrap_minigpt_with_lora(load_base(BASE), rank, seed=seed))
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in ours.items():
            own[name_of(name)].copy_(tensor)
