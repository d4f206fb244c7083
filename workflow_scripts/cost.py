from minituner.pipeline.stage import run_stage
from minituner.reporting.cost import cost_table
from minituner.storage.files import write_text

with run_stage(snakemake) as job:
    write_text(job.output.table, cost_table(job.params.benchmarks, job.params.predictions))
