from minituner.manifest import run_stage
from minituner.plots import plot_pretraining

with run_stage(snakemake) as job:
    plot_pretraining(job.input.log, job.output.figure)
