from minituner.pipeline.stage import run_stage
from minituner.reporting import plots
from minituner.results import SweepSummary, read_results

with run_stage(snakemake) as job:
    summary, config, to = read_results(job.input.summary, SweepSummary), job.params.config, job.output
    gates, task, control = config["gates"], config["task"]["name"], config["task"]["control_name"]
    plots.plot_accuracy_vs_rank(summary, task, gates["accuracy_gain_pp"], to.accuracy)
    plots.plot_drift_vs_rank(summary, control, gates["control_ppl_drift"], to.drift)
    plots.plot_scale_vs_rank(summary, to.scale)
    plots.plot_fine_tuning(job.input.headline_log, control, to.loss)
