from minituner.pipeline.stage import run_stage
from minituner.pretrain import pretrain_base
from minituner.seeding import seed_everything

with run_stage(snakemake) as job:
    config = job.params.config
    seed_everything(job.params.seed, config["threads"]["pretrain"])
    pretrain_base(job.input, config["base"], job.params.seed, job.output)
