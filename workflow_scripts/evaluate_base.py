from minituner.data.tokenize import read_pairs
from minituner.evaluate import EVALUATED, Questions, evaluate_model
from minituner.pipeline.manifest import run_stage
from minituner.seeding import seed_everything
from minituner.storage.checkpoint import load_base
from minituner.storage.files import write_json
from minituner.storage.items import write_items
from minituner.tokenizer import PAD, load_tokenizer, special_id

with run_stage(snakemake) as job:
    seed_everything(0, job.params.config["threads"]["evaluate"])
    model = load_base(job.input.base, job.input.tokenizer)
    tokenizer = load_tokenizer(job.input.tokenizer, model.config.vocab_size)
    pad_id = special_id(tokenizer, PAD)
    questions = {name: Questions.of(read_pairs(job.input[name]), pad_id) for name in EVALUATED}
    metrics, items = evaluate_model(model, tokenizer, questions)
    write_json(job.output.metrics, metrics)
    write_items(job.output.per_item, items)
