from minituner.pipeline.stage import run_stage
from minituner.reporting import plots
from minituner.reporting.figures import TaskNames
from minituner.results import SweepSummary, read_results

with run_stage(snakemake) as job:
    summary = read_results(job.input.summary, SweepSummary)
    names, gates = TaskNames(**job.params.config["task"]), job.params.config["gates"]
    plots.plot_accuracy_vs_rank(summary, names, gates["accuracy_gain_pp"], job.output.accuracy)
    plots.plot_drift_vs_rank(summary, names, gates["control_ppl_drift"], job.output.drift)
    plots.plot_scale_vs_rank(summary, job.output.scale)
    plots.plot_fine_tuning(job.input.headline_log, names, job.output.loss)
