from pathlib import Path

from minituner.checkpoint import load_base
from minituner.files import write_json
from minituner.manifest import run_stage
from minituner.pairs import read_pairs
from minituner.seeding import seed_everything
from minituner.tokenizer import PAD, load_tokenizer, special_id
from minituner.train import LoRATrainConfig, train_rank

with run_stage(snakemake) as job:
    config = job.params.config
    seed_everything(config["seeds"][0], config["threads"]["train"])
    base = load_base(job.input.base, job.input.tokenizer)
    tokenizer = load_tokenizer(job.input.tokenizer, base.config.vocab_size)
    summary = train_rank(
        base,
        {name: read_pairs(job.input[name]) for name in ("train", "val", "control")},
        r=int(job.wildcards.rank),
        **config["lora"],
        config=LoRATrainConfig(**config["train"]),
        seeds=config["seeds"],
        pad_id=special_id(tokenizer, PAD),
        out_dir=Path(job.output.summary).parent,
    )
    write_json(job.output.summary, summary)
