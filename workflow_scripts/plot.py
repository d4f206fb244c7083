from minituner.pipeline.manifest import run_stage
from minituner.reporting.plots import (
    plot_accuracy_vs_rank,
    plot_drift_vs_rank,
    plot_fine_tuning,
    plot_scale_vs_rank,
)
from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.sweep import summarize
from minituner.storage.files import read_json, write_json
from minituner.storage.items import read_items

with run_stage(snakemake) as job:
    summary = summarize(
        read_items(job.input.base_per_item),
        [read_json(path) for path in job.input.metrics],
        list(map(read_items, job.input.per_item)),
        StatisticsSettings(**job.params.config["statistics"]),
        read_json(job.input.pairs)["splits"]["train"]["complements"],
    )
    write_json(job.output.summary, summary)
    gates = job.params.config["gates"]
    plot_accuracy_vs_rank(summary, gates["accuracy_gain_pp"], job.output.accuracy)
    plot_drift_vs_rank(summary, gates["control_ppl_drift"], job.output.drift)
    plot_scale_vs_rank(summary, job.output.scale)
    plot_fine_tuning(job.input.headline_log, job.output.loss)
