from minituner.pipeline.stage import run_stage
from minituner.reporting import plots
from minituner.results import SweepSummary, read_results
from minituner.statistics.gates import thresholds_of

with run_stage(snakemake) as job:
    summary = read_results(job.input.summary, SweepSummary)
    limits = thresholds_of(job.params.config)
    plots.plot_accuracy_vs_rank(summary, limits["accuracy_gain_pp"], job.output.accuracy)
    plots.plot_drift_vs_rank(summary, limits, job.output.drift)
    plots.plot_scale_vs_rank(summary, job.output.scale)
    plots.plot_fine_tuning(job.input.headline_log, job.output.loss)
