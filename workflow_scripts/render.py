from minituner.files import read_json, write_text
from minituner.manifest import run_stage
from minituner.report import render_report

with run_stage(snakemake) as job:
    results = {
        name: read_json(job.input[name])
        for name in ("pairs", "sweep", "base_metrics", "metrics", "gates", "manifest", "training")
    }
    results["pretraining"] = read_json(job.input.pretraining) if job.input.pretraining else None
    settings = {**job.params.config, "base_path": job.params.base_path}
    write_text(job.output.report, render_report(job.input.template, results, settings))
