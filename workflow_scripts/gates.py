from minituner.files import read_json
from minituner.gates import require_gates
from minituner.manifest import run_stage

with run_stage(snakemake) as job:
    require_gates(read_json(job.input.gates), job.input.gates)
