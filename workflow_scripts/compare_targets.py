from pathlib import Path

from minituner.files import write_json, write_text
from minituner.manifest import run_stage
from minituner.pairs import read_pairs
from minituner.seeding import seed_everything
from minituner.targets import compare_targets, targets_table
from minituner.tokenizer import PAD, load_tokenizer, special_id
from minituner.train import LoRATrainConfig

with run_stage(snakemake) as job:
    config = job.params.config
    lora = config["lora"]
    seed_everything(config["seeds"][0], config["threads"]["train"])
    rows = compare_targets(
        job.input.base,
        {name: read_pairs(job.input[name]) for name in ("train", "val", "control")},
        config["target_candidates"],
        r=lora["rank"],
        alpha=lora["alpha"],
        dropout=lora["dropout"],
        config=LoRATrainConfig(**config["train"]),
        seeds=config["seeds"],
        pad_id=special_id(load_tokenizer(job.input.tokenizer), PAD),
        out_dir=Path(job.output.results).parent,
    )
    write_json(job.output.results, rows)
    size_limit = config["gates"]["adapter_size_ratio"]
    write_text(job.output.table, targets_table(rows, size_limit, lora["rank"]))
