from minituner.data import SPLITS, iter_pair_rows
from minituner.files import read_json, write_json, write_jsonl
from minituner.manifest import run_stage
from minituner.pairs import SplitSummary, tokenize_pairs, tokenized_rows
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    tokenizer = load_tokenizer(job.input.tokenizer)
    context_length = job.params.config["base"]["model"]["context_length"]
    summaries = {name: SplitSummary() for name in SPLITS}
    for name, summary in summaries.items():
        rows = iter_pair_rows(job.input[name])
        pairs = tokenize_pairs(rows, tokenizer, context_length, job.input.tokenizer)
        write_jsonl(job.output[name], tokenized_rows(summary.counting(pairs)))
    splits = {name: summary.as_json() for name, summary in summaries.items()}
    distributions = read_json(job.input.distributions)
    write_json(job.output.summary, {"splits": splits, "distributions": distributions})
