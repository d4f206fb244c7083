from minituner.data.corpus import iter_files
from minituner.data.filter import filter_rows, pair_rows
from minituner.data.verbs import load_verbs
from minituner.pipeline.stage import run_stage
from minituner.storage.files import write_json, write_jsonl

with run_stage(snakemake) as job:
    verbs = load_verbs(job.input.verbs)
    irregular, regular, summary = filter_rows(
        iter_files(job.input.corpus, verbs),
        verbs,
        job.params.config["data"]["irregular_verbs"],
        job.params.config["data"]["regular_verbs"],
    )
    write_jsonl(job.output.irregular, pair_rows(irregular))
    write_jsonl(job.output.regular, pair_rows(regular))
    write_json(job.output.summary, summary)
