from minituner.pipeline.stage import run_stage
from minituner.reporting.plots import plot_pretraining

with run_stage(snakemake) as job:
    plot_pretraining(job.input.log, job.output.figure)
