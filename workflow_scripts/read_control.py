from minituner.data.pairs import write_pairs
from minituner.data.task_file import read_control
from minituner.pipeline.stage import run_stage

with run_stage(snakemake) as job:
    write_pairs(job.output.pairs, read_control(job.input.files).pairs)
