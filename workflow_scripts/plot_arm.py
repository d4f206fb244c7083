from minituner.pipeline.stage import run_stage
from minituner.reporting.ablation_plots import plot_arm
from minituner.results import ArmSummary, read_results

with run_stage(snakemake) as job:
    summary = read_results(job.input.summary, ArmSummary)
    plot_arm(summary, job.params.config["gates"]["control_ppl_drift"], job.output.figure)
