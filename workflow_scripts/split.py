from minituner.data.checks import check_splits
from minituner.data.corpus import iter_files
from minituner.data.filter import iter_pair_rows, pair_rows
from minituner.data.split import SplitSettings, split_pairs
from minituner.data.verbs import load_verbs
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json, write_jsonl

with run_stage(snakemake) as job:
    settings = SplitSettings(**job.params.config["data"]["split"])
    pairs = {name: list(iter_pair_rows(job.input[name])) for name in ("irregular", "regular")}
    splits = split_pairs(pairs["irregular"], pairs["regular"], settings, job.params.seed)
    base_rows = iter_files(job.input.base_corpus, load_verbs(job.input.verbs))
    unseen = check_splits(splits, base_rows)
    for name, pairs in splits.items():
        write_jsonl(job.output[name], pair_rows(pairs))
    write_json(job.output.unseen_words, unseen)
