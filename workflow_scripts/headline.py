from minituner.pipeline.manifest import run_stage
from minituner.results import ModelMetrics, TunedMetrics, read_results
from minituner.statistics.gates import compute_gates, headline_metrics
from minituner.storage.files import copy_file, write_json
from minituner.storage.items import copy_items_of_seed

with run_stage(snakemake) as job:
    metrics = headline_metrics(
        read_results(job.input.metrics, TunedMetrics),
        read_results(job.input.base_metrics, ModelMetrics),
        job.params.seed,
    )
    for name in ("adapter", "twin", "log"):
        copy_file(job.input[name], job.output[name])
    write_json(job.output.metrics, metrics)
    copy_items_of_seed(job.input.per_item, job.params.seed, job.output.per_item)
    write_json(job.output.gates, compute_gates(metrics, job.params.config["gates"]))
