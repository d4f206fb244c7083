from minituner.pipeline.stage import run_stage
from minituner.reporting.report import write_report

with run_stage(snakemake) as job:
    write_report(job.input, job.params.config, job.params.base_path, job.output.report)
