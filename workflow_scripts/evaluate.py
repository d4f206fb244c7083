from minituner.data.tokenize import read_pairs
from minituner.evaluate import EVALUATED, evaluate_full, evaluate_rank
from minituner.pipeline.manifest import run_stage
from minituner.seeding import seed_everything
from minituner.storage.files import read_json, write_json
from minituner.storage.items import write_items
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    seed_everything(0, job.params.config["threads"]["evaluate"])
    tuned = dict(zip(job.params.config["seeds"], job.input.tuned, strict=True))
    tokenizer = load_tokenizer(job.input.tokenizer)
    splits = {name: read_pairs(job.input[name]) for name in EVALUATED}
    base_metrics = read_json(job.input.base_metrics)
    if job.params.rank is None:
        metrics, items = evaluate_full(job.input.base, tuned, tokenizer, splits, base_metrics)
    else:
        metrics, items = evaluate_rank(
            job.input.base, tuned, tokenizer, splits, base_metrics, job.params.rank
        )
    write_json(job.output.metrics, metrics)
    write_items(job.output.per_item, items)
