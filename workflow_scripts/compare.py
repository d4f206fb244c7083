from minituner.pipeline.manifest import run_stage
from minituner.reporting.ablation_plots import plot_arm
from minituner.statistics.ablations import Result, compare_runs
from minituner.statistics.intervals import StatisticsSettings
from minituner.storage.files import read_json, write_json
from minituner.storage.items import read_items

with run_stage(snakemake) as job:
    config = job.params.config
    results = [
        Result(run, read_json(metrics), read_items(items), read_items(base_items))
        for run, metrics, items, base_items in zip(
            job.params.runs,
            job.input.metrics,
            job.input.per_item,
            job.input.base_per_item,
            strict=True,
        )
    ]
    size_limit = config["gates"]["adapter_size_ratio"]
    summary = compare_runs(results, StatisticsSettings(**config["statistics"]), size_limit)
    write_json(job.output.summary, summary)
    plot_arm(summary, config["gates"]["control_ppl_drift"], job.output.figure)
