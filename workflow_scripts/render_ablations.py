from minituner.pipeline.stage import run_stage
from minituner.reporting.ablations_report import render_ablations
from minituner.storage.files import read_json, write_text

with run_stage(snakemake) as job:
    arms = dict(zip(job.params.arms, map(read_json, job.input.summaries), strict=True))
    write_text(job.output.report, render_ablations(job.input.template, arms, job.params.config))
