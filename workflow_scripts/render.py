from minituner.pipeline.stage import run_stage
from minituner.reporting.report import render_report, report_inputs
from minituner.storage.files import write_text

with run_stage(snakemake) as job:
    results = report_inputs(job.input, job.params.config["data"])
    settings = {**job.params.config, "base_path": job.params.base_path}
    write_text(job.output.report, render_report(job.input.template, results, settings))
