from minituner.data import SPLITS, read_pair_rows
from minituner.files import read_json, write_json, write_jsonl
from minituner.manifest import run_stage
from minituner.pairs import summarize_pairs, tokenize_pair, tokenized_rows
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    tokenizer = load_tokenizer(job.input.tokenizer)
    context_length = job.params.config["base"]["model"]["context_length"]
    splits = {
        name: [tokenize_pair(p, tokenizer, context_length) for p in read_pair_rows(job.input[name])]
        for name in SPLITS
    }
    for name, pairs in splits.items():
        write_jsonl(job.output[name], tokenized_rows(pairs))
    write_json(job.output.summary, summarize_pairs(splits, read_json(job.input.distributions)))
