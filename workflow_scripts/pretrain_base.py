from pathlib import Path

from minituner.data.corpus import read_rows
from minituner.data.verbs import load_verbs
from minituner.loop import write_log
from minituner.pipeline.manifest import run_stage
from minituner.pretrain import PretrainConfig, pretrain_on_rows
from minituner.seeding import seed_everything
from minituner.storage.checkpoint import save_base
from minituner.storage.files import write_json
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    base = job.params.config["base"]
    seed_everything(job.params.seed, job.params.config["threads"]["pretrain"])
    rows = read_rows(job.input.corpus, load_verbs(job.input.verbs))
    tokenizer = load_tokenizer(job.input.tokenizer)
    config = PretrainConfig(**{**base["pretrain"], "seed": job.params.seed})
    state_path = Path(job.output.base).with_name("pretraining_state.pt")
    model, log, summary = pretrain_on_rows(rows, tokenizer, base["model"], config, state_path)
    save_base(job.output.base, model, job.input.tokenizer)
    write_log(job.output.log, log)
    write_json(job.output.summary, summary)
