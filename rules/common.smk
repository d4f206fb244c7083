"""Paths and helpers that the rules share. No rules here, and nothing that is slow to import.

Every output is marked `update()`: Snakemake then leaves what stood there until the script replaces
it, and puts it back if the job fails. Without it a failing job would lose the last good result.
"""

import os
import re
import sys
from pathlib import Path

from minituner import commands
from minituner.pipeline.arms import (
    arms_of,
    describe_run,
    enabled_arms,
    study_setting,
    used_keys,
)
from minituner.pipeline.config import check_config, config_subset
from minituner.data.corpus import corpus_files
from minituner.pipeline.source_closure import import_closure
from minituner.pipeline.ownership import (
    asked_to_overwrite,
    claim_results,
    require_own_results,
)
from minituner.storage.strict_yaml import read_yaml

# Threads that wait spin by default, and steal the time of those that work: on two busy cores that made
# a training step of two threads nine times slower. Read by OpenMP when a job loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# Of the command line alone, and no part of the config.
overwrite_results = or_stop(asked_to_overwrite, config.pop("overwrite_results", False))
CONFIG_FILES = list(commands.use_config_files(workflow.configfiles))
or_stop(check_config, config, workflow.source_path("config.schema.yaml"), CONFIG_FILES)
# Snakemake has read these itself, and takes the last of a key that stands twice.
for profile in Path("profiles").glob("*/*.yaml"):
    or_stop(read_yaml, profile)

config["config_files"] = CONFIG_FILES  # for the jobs, which print commands

if not overwrite_results:
    or_stop(require_own_results, sys.argv[1:])


onstart:
    or_stop(claim_results)


VERBS = config["data"]["verbs"]
CORPUS = or_stop(corpus_files, config["data"]["corpus"])
BASE_CORPUS = (
    or_stop(corpus_files, config["base"]["corpus"]) if config["base"]["corpus"] else []
)

PRETRAINED = "experiments/17-minigpt-train"
HEADLINE = "experiments/28-lora-finetune"
SWEEP = "experiments/28-lora-ablate-rank"
ABLATIONS = "experiments/28-lora-ablations"
SIMULATION = "experiments/28-lora-simulation"
HEADLINE_RUN = f"{SWEEP}/rank-{config['lora']['rank']}"

BASE = config["base"]["checkpoint"] or f"{PRETRAINED}/best.pt"
TOKENIZER = config["base"]["tokenizer"] or f"{PRETRAINED}/tokenizer.json"
OWN_BASE = config["base"]["checkpoint"] is not None
BASE_FIGURE = [] if OWN_BASE else [f"{PRETRAINED}/loss_curve.png"]

# The runs of every arm, and each setting of theirs by its folder under experiments/.
ARMS = arms_of(config)
ENABLED = enabled_arms(config)
SETTINGS = {
    setting.folder: setting
    for setting in [study_setting(), *(r.owner for runs in ARMS.values() for r in runs)]
}

LORA_SETTINGS = [f"lora.{key}" for key in config["lora"] if key != "rank"]
SPLITS = ["train", "val", "test", "control", "probe"]


wildcard_constraints:
    rank=r"\d+",
    base_seed=r"\d+",
    arm="|".join(map(re.escape, ARMS)) or "none",
    setting="|".join(re.escape(folder) for folder, s in SETTINGS.items() if not s.full),
    full_setting="|".join(re.escape(f) for f, s in SETTINGS.items() if s.full) or "none",


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


# What every evaluation reads beside a model.
SCORED = {
    "test": gated("test"),
    **{name: tokenized(name) for name in ("val", "control", "probe")},
    "tokenizer": TOKENIZER,
}


def adapters(run):
    """The adapter of every seed of one run, such as 28-lora-ablate-rank/rank-8."""
    return of_every_seed(run, "adapter_final.pt")


def of_every_seed(run, file):
    return expand(f"experiments/{run}/seed-{{seed}}/{file}", seed=config["seeds"])


def of_every_rank(file):
    """One file from the study's folder of each rank."""
    return expand(f"{SWEEP}/rank-{{rank}}/{file}", rank=config["ranks"])


def run_settings(*parts):
    """The parts of the config that a run uses: what its setting changes is left out, and stands in
    `run_changes`."""

    def used(wildcards):
        return settings(*used_keys(config, setting_of(wildcards), parts), "seeds")

    return used


def run_changes(wildcards):
    return setting_of(wildcards).changes(rank_of(wildcards))


def setting_of(wildcards):
    return SETTINGS[wildcards.get("setting") or wildcards.full_setting]


def rank_of(wildcards):
    """The rank of a run; None where all weights are trained."""
    return int(wildcards.rank) if "rank" in wildcards.keys() else None


def base_of(wildcards):
    """The base that a setting is trained over: the study's, or one from another seed."""
    seed = setting_of(wildcards).base_seed
    return BASE if seed is None else f"{PRETRAINED}/seed-{seed}/best.pt"


def base_metrics_of(wildcards):
    return base_results(setting_of(wildcards), "metrics.json")


def base_results(setting, file):
    """A file of the untuned base's evaluation: the study's base, or a setting's own."""
    folder = SWEEP if setting.base_seed is None else f"experiments/{setting.folder}"
    return f"{folder}/base/{file}"


STUDY_ADAPTERS = [
    path
    for rank in config["ranks"]
    for path in adapters(f"{study_setting().folder}/rank-{rank}")
]


def arm_files(file):
    """One file of every run of an arm, shared or its own."""

    def files(wildcards):
        return [f"experiments/{run.folder}/{file}" for run in ARMS[wildcards.arm]]

    return files


def tuned_weights(arm):
    """What every run of an arm has trained: adapters, or whole models."""
    return [
        file
        for run in ARMS[arm]
        for file in of_every_seed(
            run.folder, "model_final.pt" if run.rank is None else "adapter_final.pt"
        )
    ]
