from minituner.pipeline.stage import run_stage
from minituner.reporting.ablation_plots import plot_arm
from minituner.storage.files import read_json

with run_stage(snakemake) as job:
    drift_gate = job.params.config["gates"]["control_ppl_drift"]
    plot_arm(read_json(job.input.summary), drift_gate, job.output.figure)
