from pathlib import Path

from minituner.data.tokenize import read_pairs
from minituner.pipeline.manifest import run_stage
from minituner.pipeline.nested import with_changes
from minituner.seeding import seed_everything
from minituner.storage.checkpoint import load_base
from minituner.storage.files import sha256, write_json
from minituner.tokenizer import PAD, load_tokenizer, special_id
from minituner.train import LoRATrainConfig, train_full, train_rank

with run_stage(snakemake) as job:
    config = with_changes(job.params.config, job.params.changes)
    seed_everything(config["seeds"][0], config["threads"]["train"])
    base = load_base(job.input.base, job.input.tokenizer)
    tokenizer = load_tokenizer(job.input.tokenizer, base.config.vocab_size)
    pairs = {name: read_pairs(job.input[name]) for name in ("train", "val", "control")}
    how = {
        "config": LoRATrainConfig(**config["train"]),
        "seeds": config["seeds"],
        "pad_id": special_id(tokenizer, PAD),
        "out_dir": Path(job.output.summary).parent,
    }
    if job.params.rank is None:
        summary = train_full(base, pairs, **how, tokenizer_path=job.input.tokenizer)
    else:
        provenance = {f"{name}_sha256": sha256(job.input[name]) for name in ("tokenizer", "train")}
        summary = train_rank(
            base, pairs, r=job.params.rank, **config["lora"], **how, provenance=provenance
        )
    write_json(job.output.summary, summary)
