from minituner.pipeline.stage import run_stage
from minituner.results import Gates, read_results
from minituner.statistics.gates import require_gates

with run_stage(snakemake) as job:
    require_gates(read_results(job.input.gates, Gates), job.input.gates)
