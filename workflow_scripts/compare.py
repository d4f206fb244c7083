from minituner.pipeline.stage import run_stage
from minituner.statistics.ablations import arm_results, compare_runs
from minituner.statistics.intervals import StatisticsSettings
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    config, files = job.params.config, job.input
    settings, gates = StatisticsSettings(**config["statistics"]), config["gates"]
    results = arm_results(job.params.runs, files.metrics, files.per_item, files.base_per_item)
    write_json(job.output.summary, compare_runs(results, settings, gates["adapter_size_ratio"]))
