from minituner.pipeline.stage import run_stage
from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.sweep import summarize_files
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    settings, files = StatisticsSettings(**job.params.config["statistics"]), job.input
    summary = summarize_files(
        files.base_per_item, files.metrics, files.per_item, files.pairs, settings
    )
    write_json(job.output.summary, summary)
