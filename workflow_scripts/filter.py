from minituner.data.filter import filter_corpus
from minituner.data.pairs import write_pairs
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    data = job.params.config["data"]
    filtered = filter_corpus(job.input.corpus, job.input.verbs, **data)
    write_pairs(job.output.task, filtered.irregular)
    write_pairs(job.output.control, filtered.regular)
    write_json(job.output.summary, filtered.summary)
