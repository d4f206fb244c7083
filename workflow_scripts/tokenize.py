from minituner.data.tokenize import tokenize_files
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    write_json(job.output.summary, tokenize_files(job.input, job.output, job.params.config))
