from minituner.data.corpus import read_rows
from minituner.data.rows import base_text
from minituner.data.verbs import load_verbs
from minituner.pipeline.stage import run_stage
from minituner.tokenizer import save_tokenizer, train_tokenizer

with run_stage(snakemake) as job:
    rows = read_rows(job.input.corpus, load_verbs(job.input.verbs))
    tokenizer = train_tokenizer(map(base_text, rows), job.params.config["base"]["vocab_size"])
    save_tokenizer(tokenizer, job.output.tokenizer)
