import pandas as pd

from minituner.files import read_json, write_json
from minituner.manifest import run_stage
from minituner.plots import plot_accuracy_vs_rank, plot_drift_vs_rank, plot_fine_tuning
from minituner.sweep import SweepSettings, summarize

with run_stage(snakemake) as job:
    summary = summarize(
        pd.read_csv(job.input.base_per_item),
        [read_json(path) for path in job.input.metrics],
        [pd.read_csv(path) for path in job.input.per_item],
        SweepSettings(**job.params.config["statistics"]),
    )
    write_json(job.output.summary, summary)
    gates = job.params.config["gates"]
    plot_accuracy_vs_rank(summary, gates["accuracy_gain_pp"], job.output.accuracy)
    plot_drift_vs_rank(summary, gates["control_ppl_drift"], job.output.drift)
    plot_fine_tuning(job.input.headline_log, job.output.loss)
