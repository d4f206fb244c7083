from minituner.pipeline.stage import run_stage
from minituner.statistics.gates import require_gates
from minituner.storage.files import read_json

with run_stage(snakemake) as job:
    require_gates(read_json(job.input.gates), job.input.gates)
