from minituner.data.leakage import check_leakage
from minituner.data.pairs import split_files_of, write_splits
from minituner.data.split import SplitSettings, split_files
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    task, data = job.params.config["task"], job.params.config["data"]
    splits = split_files(job.input, SplitSettings(**data["split"]), job.params.seed, task)
    unseen = check_leakage(splits, job.input.base_corpus, job.input.verbs, task)
    write_json(job.output.unseen_words, unseen)
    write_splits(split_files_of(job.output), splits)
