from minituner.data.verbs import load_verbs
from minituner.pipeline.manifest import run_stage
from minituner.reporting.report import ambiguous_forms, render_report
from minituner.storage.files import read_json, write_text

with run_stage(snakemake) as job:
    config = job.params.config
    results = {
        name: read_json(job.input[name])
        for name in ("pairs", "sweep", "base_metrics", "metrics", "gates", "manifest", "training")
    }
    results["pretraining"] = read_json(job.input.pretraining) if job.input.pretraining else None
    results["ambiguous"] = ambiguous_forms(
        load_verbs(job.input.verbs),
        config["data"]["irregular_verbs"] + config["data"]["regular_verbs"],
    )
    settings = {**config, "base_path": job.params.base_path}
    write_text(job.output.report, render_report(job.input.template, results, settings))
