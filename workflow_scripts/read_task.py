from minituner.data.pairs import write_pairs
from minituner.data.task_file import read_own_task, summary
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    task, control = read_own_task(job.input.pairs, job.input.control)
    write_pairs(job.output.task, task.pairs)
    write_pairs(job.output.control, control.pairs)
    write_json(job.output.summary, summary(task, control))
