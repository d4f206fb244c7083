"""minituner: what `workflow_scripts/train.py` does for one rank."""

from __future__ import annotations

import csv
import json

import work

from minituner.checkpoint import load_base
from minituner.pairs import read_pairs
from minituner.seeding import seed_everything
from minituner.train import LoRATrainConfig, train_rank


def main() -> None:
    options, config = work.parse(), work.settings()
    seed_everything(0, options.threads)
    lora = {key: value for key, value in config["lora"].items() if key != "rank"}
    if options.losses:
        lora["dropout"] = 0.0
    train_rank(
        load_base(options.base),
        {
            name: read_pairs(work.TOKENIZED / f"{name}.jsonl")
            for name in ("train", "val", "control")
        },
        r=options.rank,
        **lora,
        config=LoRATrainConfig(**config["train"] | {"epochs": options.epochs}),
        seeds=range(options.seeds),
        pad_id=work.PAD_ID,
        out_dir=options.out,
    )
    if options.losses:
        with (options.out / "seed-0/train_log.csv").open() as stream:
            losses = [
                float(row["train_loss"]) for row in csv.DictReader(stream) if row["train_loss"]
            ]
        options.losses.write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
