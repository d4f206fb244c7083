from minituner.corpus import read_rows
from minituner.manifest import run_stage
from minituner.prompts import base_text
from minituner.tokenizer import save_tokenizer, train_tokenizer
from minituner.verbs import load_verbs

with run_stage(snakemake) as job:
    rows = read_rows(job.input.corpus, load_verbs(job.input.verbs))
    tokenizer = train_tokenizer(map(base_text, rows), job.params.config["base"]["vocab_size"])
    save_tokenizer(tokenizer, job.output.tokenizer)
