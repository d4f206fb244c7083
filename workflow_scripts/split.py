from minituner.data.leakage import check_leakage
from minituner.data.pairs import write_splits
from minituner.data.split import SplitSettings, split_files
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json

with run_stage(snakemake) as job:
    settings = SplitSettings(**job.params.config["data"]["split"])
    splits = split_files(job.input.irregular, job.input.regular, settings, job.params.seed)
    unseen = check_leakage(splits, job.input.base_corpus, job.input.verbs)
    write_json(job.output.unseen_words, unseen)
    write_splits(job.output, splits)
