"""Evaluation of one rank, as `workflow_scripts/evaluate.py` does it."""

from __future__ import annotations

import work

from minituner.data.tokenize import read_pairs
from minituner.evaluate import EVALUATED, evaluate_rank
from minituner.pipeline.manifest import cycles_uncollected
from minituner.seeding import seed_everything
from minituner.storage.files import read_json, write_json
from minituner.storage.items import write_items
from minituner.tokenizer import load_tokenizer


@cycles_uncollected()  # as run_stage does
def main() -> None:
    options, config = work.parse(), work.settings()
    seed_everything(0, options.threads)
    sweep = work.ROOT / "experiments/28-lora-ablate-rank"
    run = sweep / f"rank-{options.rank}"
    metrics, items = evaluate_rank(
        work.BASE,
        {seed: run / f"seed-{seed}/adapter_final.pt" for seed in config["seeds"]},
        load_tokenizer(work.TOKENIZER),
        {name: read_pairs(work.TOKENIZED / f"{name}.jsonl") for name in EVALUATED},
        read_json(sweep / "base/metrics.json"),
        options.rank,
    )
    write_json(options.out / "metrics.json", metrics)
    write_items(options.out / "items.csv", items)


if __name__ == "__main__":
    main()
