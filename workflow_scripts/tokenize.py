from minituner.data.filter import SPLITS, iter_pair_rows
from minituner.data.likeness import Likeness, LikenessLimits
from minituner.data.tokenize import ContextLimit, tokenize_splits
from minituner.pipeline.stage import run_stage
from minituner.storage.files import read_json, write_json
from minituner.tokenizer import load_tokenizer

with run_stage(snakemake) as job:
    config = job.params.config
    limit = ContextLimit(
        config["base"]["model"]["context_length"], config["data"]["max_share_too_long"]
    )
    likeness = Likeness(
        LikenessLimits(**config["data"]["split"]), read_json(job.input.unseen_words)
    )
    summary = tokenize_splits(
        {name: iter_pair_rows(job.input[name]) for name in SPLITS},
        {name: job.output[name] for name in SPLITS},
        load_tokenizer(job.input.tokenizer),
        limit,
        likeness,
        job.input.tokenizer,
        iter_pair_rows(job.input.regular),
    )
    write_json(job.output.summary, summary)
