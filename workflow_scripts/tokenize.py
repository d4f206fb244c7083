from minituner.data.matching import MatchLimits
from minituner.data.tokenize import ContextLimit, tokenize_files
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    base, data = job.params.config["base"], job.params.config["data"]
    limit = ContextLimit(base["model"]["context_length"], data["max_share_too_long"])
    match = MatchLimits(**data["split"])
    write_json(job.output.summary, tokenize_files(job.input, job.output, limit, match))
