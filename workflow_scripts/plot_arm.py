from minituner.pipeline.stage import run_stage
from minituner.reporting.ablation_plots import plot_arm
from minituner.reporting.figures import TaskNames
from minituner.results import ArmSummary, read_results

with run_stage(snakemake) as job:
    summary = read_results(job.input.summary, ArmSummary)
    config = job.params.config
    drift_gate = config["gates"]["control_ppl_drift"]
    plot_arm(summary, TaskNames(**config["task"]), drift_gate, job.output.figure)
