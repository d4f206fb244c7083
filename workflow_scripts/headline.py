from minituner.pipeline.stage import run_stage
from minituner.statistics.gates import compute_gates, headline_from_files, thresholds_of
from minituner.storage.files import copy_file, write_json
from minituner.storage.items import copy_items_of_seed

with run_stage(snakemake) as job:
    metrics = headline_from_files(job.input.metrics, job.input.base_metrics, job.params.seed)
    write_json(job.output.metrics, metrics)
    write_json(job.output.gates, compute_gates(metrics, thresholds_of(job.params.config)))
    copy_items_of_seed(job.input.per_item, job.params.seed, job.output.per_item)
    for name in ("adapter", "safetensors", "log"):
        copy_file(job.input[name], job.output[name])
