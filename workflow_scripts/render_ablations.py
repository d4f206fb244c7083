from minituner.pipeline.stage import run_stage
from minituner.reporting.ablations_report import write_ablations_report

with run_stage(snakemake) as job:
    summaries = dict(zip(job.params.arms, job.input.summaries, strict=True))
    write_ablations_report(job.input.template, summaries, job.params.config, job.output.report)
