"""Evaluation of one rank, the same as in `workflow_scripts/evaluate.py`."""

from __future__ import annotations

import work

from minituner.data.pairs import EVALUATED_SPLITS
from minituner.evaluate_seeds import evaluate_setting
from minituner.pipeline import paths
from minituner.pipeline.stage import gc_disabled
from minituner.seeding import seed_everything
from minituner.storage.files import write_json
from minituner.storage.items import write_items


@gc_disabled()  # as run_stage does
def main() -> None:
    options, config = work.parse(), work.settings()
    seed_everything(0, options.threads)
    sweep = work.ROOT / paths.SWEEP
    run = sweep / f"rank-{options.rank}"
    inputs = {
        "base": work.BASE,
        "tokenizer": work.TOKENIZER,
        "base_metrics": sweep / "base/metrics.json",
        "tuned": [run / f"seed-{seed}/adapter_final.pt" for seed in config["seeds"]],
        **{name: work.TOKENIZED / f"{name}.jsonl" for name in EVALUATED_SPLITS},
    }
    metrics, items = evaluate_setting(inputs, config, options.rank)
    write_json(options.out / "metrics.json", metrics)
    write_items(options.out / "items.csv", items)


if __name__ == "__main__":
    main()
