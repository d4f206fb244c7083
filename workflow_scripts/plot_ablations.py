from minituner.pipeline.stage import run_stage
from minituner.reporting.ablation_plots import plot_learned_vs_forgotten
from minituner.storage.files import read_json

with run_stage(snakemake) as job:
    arms = dict(zip(job.params.arms, map(read_json, job.input.summaries), strict=True))
    drift_gate = job.params.config["gates"]["control_ppl_drift"]
    plot_learned_vs_forgotten(arms, drift_gate, job.output.figure)
