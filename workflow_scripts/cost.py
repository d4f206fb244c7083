from minituner.cost import cost_table
from minituner.files import write_text
from minituner.manifest import run_stage

with run_stage(snakemake) as job:
    write_text(job.output.table, cost_table(job.params.benchmarks))
