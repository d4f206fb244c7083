from minituner.evaluate import EVALUATED, evaluate_rank, write_items
from minituner.files import read_json, write_json
from minituner.manifest import run_stage
from minituner.pairs import read_pairs
from minituner.seeding import seed_everything
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    seed_everything(0, job.params.config["threads"]["evaluate"])
    metrics, items = evaluate_rank(
        job.input.base,
        dict(zip(job.params.config["seeds"], job.input.adapters, strict=True)),
        load_tokenizer(job.input.tokenizer),
        {name: read_pairs(job.input[name]) for name in EVALUATED},
        read_json(job.input.base_metrics),
    )
    write_json(job.output.metrics, metrics)
    write_items(job.output.per_item, items)
