from minituner.evaluate_seeds import evaluate_setting
from minituner.pipeline.stage import run_stage
from minituner.seeding import seed_everything
from minituner.storage.files import write_json
from minituner.storage.items import write_items

with run_stage(snakemake) as job:
    seed_everything(0, job.params.config["threads"]["evaluate"])
    metrics, items = evaluate_setting(job.input, job.params.config, job.params.rank)
    write_json(job.output.metrics, metrics)
    write_items(job.output.per_item, items)
