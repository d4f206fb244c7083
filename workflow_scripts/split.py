from minituner.corpus import iter_files, load_verbs
from minituner.data import SplitSettings, check_splits, pair_rows, read_pair_rows, split_pairs
from minituner.files import write_json, write_jsonl
from minituner.manifest import run_stage

with run_stage(snakemake) as job:
    settings = SplitSettings(**job.params.config["data"]["split"])
    irregular, regular = read_pair_rows(job.input.irregular), read_pair_rows(job.input.regular)
    splits = split_pairs(irregular, regular, settings, job.params.seed)
    base_rows = iter_files(job.input.base_corpus, load_verbs(job.input.verbs))
    distributions = check_splits(splits, base_rows, settings)
    for name, pairs in splits.items():
        write_jsonl(job.output[name], pair_rows(pairs))
    write_json(job.output.distributions, distributions)
