from minituner.pipeline.stage import run_stage
from minituner.reporting import plots
from minituner.storage.files import read_json

with run_stage(snakemake) as job:
    summary, gates = read_json(job.input.summary), job.params.config["gates"]
    plots.plot_accuracy_vs_rank(summary, gates["accuracy_gain_pp"], job.output.accuracy)
    plots.plot_drift_vs_rank(summary, gates["control_ppl_drift"], job.output.drift)
    plots.plot_scale_vs_rank(summary, job.output.scale)
    plots.plot_fine_tuning(job.input.headline_log, job.output.loss)
