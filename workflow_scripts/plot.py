from minituner.pipeline.stage import run_stage
from minituner.reporting.plots import plot_study

with run_stage(snakemake) as job:
    plot_study(job.input, job.params.config, job.output)
