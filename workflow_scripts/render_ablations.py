from minituner.ablations_report import render_ablations
from minituner.files import read_json, write_text
from minituner.manifest import run_stage

with run_stage(snakemake) as job:
    arms = dict(zip(job.params.arms, map(read_json, job.input.summaries), strict=True))
    write_text(job.output.report, render_ablations(job.input.template, arms, job.params.config))
