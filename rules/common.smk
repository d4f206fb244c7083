"""Paths and helpers that the rules share. No rules here, and nothing that is slow to import.

Every output is marked `update()`: Snakemake then leaves what stood there until the script replaces
it, and puts it back if the job fails. Without it a failing job would lose the last good result.
"""

import os

from snakemake.exceptions import WorkflowError

from minituner.config import check_config, config_subset
from minituner.corpus import corpus_files
from minituner.errors import UserError
from minituner.imports import import_closure

# Threads that wait spin by default, and steal the time of those that work: on two busy cores that made
# a training step of two threads nine times slower. Read by OpenMP when a job loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def or_stop(function, *arguments):
    """Call ``function``; a user's mistake ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(f"minituner cannot go on.\n\n{error}\n")


or_stop(check_config, config, workflow.source_path("config.schema.yaml"))

VERBS = config["data"]["verbs"]
CORPUS = or_stop(corpus_files, config["data"]["corpus"])
BASE_CORPUS = (
    or_stop(corpus_files, config["base"]["corpus"]) if config["base"]["corpus"] else []
)

PRETRAINED = "experiments/17-minigpt-train"
HEADLINE = "experiments/28-lora-finetune"
SWEEP = "experiments/28-lora-ablate-rank"
TARGETS = "experiments/28-lora-ablate-targets"
HEADLINE_RUN = f"{SWEEP}/rank-{config['lora']['rank']}"

BASE = config["base"]["checkpoint"] or f"{PRETRAINED}/best.pt"
TOKENIZER = config["base"]["tokenizer"] or f"{PRETRAINED}/tokenizer.json"
OWN_BASE = config["base"]["checkpoint"] is not None
BASE_FIGURE = [] if OWN_BASE else [f"{PRETRAINED}/loss_curve.png"]

SPLITS = ["train", "val", "test", "control", "probe"]


wildcard_constraints:
    rank=r"\d+",


def source(script):
    """The script of a rule and every module of ours that it imports, so that an edit to any of
    them reruns the rule: Snakemake itself looks at the script alone."""
    return import_closure(f"workflow_scripts/{script}.py")


def settings(*keys):
    """The parts of the config that a rule uses, and so the parts whose change reruns it."""
    return config_subset(config, *keys)


def tokenized(split):
    return f"data/tokenized/{split}.jsonl"


def gated(split):
    """An output of ``tokenize`` that is looked at again once that has run. One such input in
    each rule that comes later is what lets an edit without effect on the pairs stop there, in the
    same run. The rules are decided on anew, and their inputs are found to hold what they held.
    """

    def pairs(wildcards):
        return checkpoints.tokenize.get().output[split]

    return pairs


def adapters(rank):
    """The adapter of every seed at one rank."""
    return expand(
        f"{SWEEP}/rank-{rank}/seed-{{seed}}/adapter_final.pt", seed=config["seeds"]
    )


def of_every_rank(file):
    """One file from the folder of each rank."""
    return expand(f"{SWEEP}/rank-{{rank}}/{file}", rank=config["ranks"])
