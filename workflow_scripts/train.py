from minituner.pipeline.nested import with_overrides
from minituner.pipeline.stage import run_stage
from minituner.seeding import seed_everything
from minituner.train_seeds import train_setting

with run_stage(snakemake) as job:
    config = with_overrides(job.params.config, job.params.changes)
    seed_everything(config["seeds"][0], config["threads"]["train"])
    train_setting(job.input, config, job.params.rank, job.output.summary)
