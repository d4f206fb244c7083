from minituner.files import copy_file, read_json, write_json
from minituner.gates import compute_gates, headline_items, headline_metrics
from minituner.manifest import run_stage

with run_stage(snakemake) as job:
    base_metrics = read_json(job.input.base_metrics)
    metrics = headline_metrics(read_json(job.input.metrics), base_metrics, job.params.seed)
    copy_file(job.input.adapter, job.output.adapter)
    copy_file(job.input.log, job.output.log)
    write_json(job.output.metrics, metrics)
    headline_items(job.input.per_item, job.params.seed, job.output.per_item)
    write_json(job.output.gates, compute_gates(metrics, job.params.config["gates"]))
