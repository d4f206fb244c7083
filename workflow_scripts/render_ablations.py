from minituner.pipeline.stage import run_stage
from minituner.reporting.ablations_report import write_ablations_report

with run_stage(snakemake) as job:
    summaries = dict(zip(job.params.arms, job.input.summaries, strict=True))
    files, config = job.input, job.params.config
    write_ablations_report(files.template, summaries, files.pairs, config, job.output.report)
