"""minituner: the same as `workflow_scripts/train.py` for one rank."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import work

from minituner.data.pairs import read_tokenized_pairs
from minituner.pipeline.stage import gc_disabled
from minituner.seeding import seed_everything
from minituner.train import LoRATrainConfig
from minituner.train_seeds import train_adapters


@gc_disabled()  # as run_stage does
def main() -> None:
    options, config = work.parse(), work.settings()
    seed_everything(0, options.threads)
    trained = train_adapters(
        work.load_ours(options),
        {
            name: read_tokenized_pairs(work.TOKENIZED / f"{name}.jsonl")
            for name in ("train", "val", "control")
        },
        work.lora_config(options),
        LoRATrainConfig(**config["train"] | {"epochs": options.epochs}),
        seeds=range(options.seeds),
        pad_id=work.pad_id(),
        out_dir=options.out,
    )
    if options.losses:
        log = options.out / f"seed-{options.seeds - 1}/train_log.csv"
        read_losses(log, trained["trainable_parameters"]).write(options.losses)


def read_losses(log: Path, trained_parameters: int) -> work.Losses:
    """The losses of a training log."""
    with log.open() as stream:
        rows = list(csv.DictReader(stream))

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows if row[name]]

    control = [math.log(perplexity) for perplexity in column("control_perplexity")]
    return work.Losses(trained_parameters, column("train_loss"), column("val_loss"), control)


if __name__ == "__main__":
    main()
