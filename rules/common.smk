"""Paths and functions that the rules share. No rules here, and nothing that is slow to import.

Every output is marked `update()`: Snakemake then keeps the old file until the script replaces it,
and restores it if the job fails. Without it a failing job would lose the last good result.
"""

import os
import re
import sys
from dataclasses import asdict

from minituner import commands
from minituner.base_files import BaseFiles, base_files
from minituner.compute import ComputeSettings, require_gpu
from minituner.data.corpus import corpus_files
from minituner.data.task_file import task_files
from minituner.pipeline import paths
from minituner.pipeline.arms import (
    STUDY,
    arms_of,
    describe_run,
    enabled_arms,
    inherited_keys,
)
from minituner.pipeline.config import check_config
from minituner.pipeline.nested import merge, subset
from minituner.pipeline.ownership import (
    asked_to_overwrite,
    claim_results,
    require_own_results,
)
from minituner.pipeline.paths import (
    ABLATIONS,
    EXPERIMENTS,
    HEADLINE,
    PRETRAINED,
    SIMULATION,
    SWEEP,
    arm_folder,
    base_folder,
    rank_folder,
    tokenized,
)
from minituner.pipeline.source_closure import import_closure
from minituner.reporting.words import is_verb_study
from minituner.storage.strict_yaml import read_yaml

# By default, waiting threads spin and take time from the working ones: on two busy cores that made a
# training step with two threads nine times slower. OpenMP reads this when a job loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


config = merge(DEFAULTS, config)
# Only allowed on the command line, and not part of the config.
given = {
    "overwrite_results": False,
    **config,
    **workflow.config_settings.overwrite_config,
}
overwrite_results = exit_on_user_error(asked_to_overwrite, given["overwrite_results"])
config.pop("overwrite_results", None)
commands.use_config_files(
    workflow.configfiles,
    folder=None if IN_MODULE else FOLDER,
    rule_name=workflow.modifier.modify_rulename("{}"),
)
exit_on_user_error(
    check_config,
    config,
    workflow.source_path("config.schema.yaml"),
    # The files of a module's config are known only to the Snakefile that uses it.
    [] if IN_MODULE else [*default_files(), *commands.config_files()],
)
# Snakemake has read the profiles already, but it silently takes the last of a repeated key; these
# reads refuse that.
for profile in (PROJECT / "profiles").glob("*/*.yaml"):
    exit_on_user_error(read_yaml, profile)

config["study"] = asdict(commands.study())  # for the jobs, whose messages name commands

if not overwrite_results:
    exit_on_user_error(require_own_results, sys.argv[1:])


onstart:
    # Elsewhere, on a cluster, only the jobs know their machine.
    if workflow.local_exec:
        exit_on_user_error(require_gpu, ComputeSettings(**config["compute"]))
    exit_on_user_error(claim_results)


BASE_CORPUS = (
    exit_on_user_error(corpus_files, config["base"]["corpus"])
    if config["base"]["corpus"]
    else []
)
SPLITS = ["train", "val", "test", "control", "probe"]

# The task: pairs and control sets of the user's own, or else what the corpus holds of the study's
# verbs. Their forms are also needed to read a base corpus.
OWN_TASK = not is_verb_study(config["task"])
TASK_WORDS = ["task.name", "task.control_name"]  # what figures speak of
TASK_FILES = exit_on_user_error(task_files, config["task"]["pairs"]) if OWN_TASK else []
CORPUS = [] if OWN_TASK else exit_on_user_error(corpus_files, config["data"]["corpus"])
VERBS = [] if OWN_TASK and not BASE_CORPUS else config["data"]["verbs"]
CONTROLS = {
    name: exit_on_user_error(task_files, control["file"])
    for name, control in config["task"]["controls"].items()
}
FIRST_CONTROL, FURTHER_CONTROLS = [], dict(CONTROLS)
if OWN_TASK:
    FIRST_CONTROL = FURTHER_CONTROLS.pop(next(iter(CONTROLS)))

# The base: pretrained by the study, or one that the config names.
OWN_BASE = config["base"]["checkpoint"] is not None
BASE_FILES = (
    exit_on_user_error(
        base_files, config["base"]["checkpoint"], config["base"]["tokenizer"]
    )
    if OWN_BASE
    else BaseFiles(paths.BASE, paths.TOKENIZER)
)
BASE, TOKENIZER = BASE_FILES.base, BASE_FILES.tokenizer
# What decides how a text is read, besides the tokenizer; a folder has its context length itself.
READING_KEY = "base.start_token" if BASE_FILES.settings else "base.model.context_length"
BASE_FIGURE = [] if OWN_BASE else [paths.BASE_LOSS_FIGURE]

ADAPTER = "adapter_final.pt"
MODEL = "model_final.pt"  # all weights trained
HEADLINE_RUN = rank_folder(config["lora"]["rank"])
HEADLINE_SEED_FOLDER = f"{HEADLINE_RUN}/seed-{config['seeds'][0]}"
LORA_KEYS = [f"lora.{key}" for key in config["lora"] if key != "rank"]

ARMS = arms_of(config)  # the runs of every arm
ENABLED = enabled_arms(config)


def wildcard_of(variant):
    """A variant's name in the paths of its results and logs."""
    return variant.folder.removeprefix(f"{EXPERIMENTS}/")


VARIANTS = {
    wildcard_of(variant): variant
    for variant in [STUDY, *(r.computed_by for runs in ARMS.values() for r in runs)]
}


def one_of(names):
    """A wildcard's constraint: any of the names. No path has the name `none`, used if there are none."""
    return "|".join(map(re.escape, names)) or "none"


wildcard_constraints:
    rank=r"\d+",
    base_seed=r"\d+",
    arm=one_of(ARMS),
    control=one_of(FURTHER_CONTROLS),
    variant=one_of(name for name, v in VARIANTS.items() if not v.full),
    full_variant=one_of(name for name, v in VARIANTS.items() if v.full),


# --- What a rule reruns on ------------------------------------------------------------------------


def source(script):
    """A rule's script and every module of the package that it imports, so that an edit of any of
    them reruns the rule: Snakemake itself compares only the script."""
    files = import_closure(f"workflow_scripts/{script}.py", PROJECT)
    return [from_study(file) for file in files]


def config_for(*keys):
    """The parts of the config that a rule uses, so that only a change of these reruns it."""
    return subset(config, *keys)


def after_tokenize(split):
    """A file of checkpoint `tokenize`. Requesting it through the checkpoint makes Snakemake
    re-evaluate every later rule after tokenize; if the pairs did not change, nothing downstream
    runs. Every rule after tokenize has such an input; where it is not read its name is `after`.
    """
    return lambda wildcards: checkpoints.tokenize.get().output[split]


# --- Inputs ---------------------------------------------------------------------------------------

# The inputs of every evaluation, besides the model.
EVALUATION_INPUTS = {
    "test": after_tokenize("test"),
    **{name: tokenized(name) for name in ("val", "control", "probe")},
    "controls": [tokenized(f"controls/{name}") for name in FURTHER_CONTROLS],
    "tokenizer": TOKENIZER,
}


def of_every_split(stage):
    """The file of every split after a stage; those of further control sets under `controls`."""
    files = {name: f"data/{stage}/{name}.jsonl" for name in SPLITS}
    further = [f"data/{stage}/controls/{name}.jsonl" for name in FURTHER_CONTROLS]
    return files | ({"controls": further} if further else {})


def of_every_seed(folder, file):
    return [f"{folder}/seed-{seed}/{file}" for seed in config["seeds"]]


def of_every_rank(file):
    """One file of the study's run at each rank."""
    return [f"{rank_folder(rank)}/{file}" for rank in config["ranks"]]


def arm_files(file):
    """One file of every run of an arm, wherever it was computed."""
    return lambda wildcards: [f"{run.folder}/{file}" for run in ARMS[wildcards.arm]]


def weights_of_arm(arm):
    """The weights of every run of an arm: adapters, or whole models."""
    return [
        file
        for run in ARMS[arm]
        for file in of_every_seed(run.folder, MODEL if run.rank is None else ADAPTER)
    ]


# For `force_run`, an input that is not read: weights are not committed, so a rule that asks for them
# makes a fresh clone train instead of finding the committed results and nothing to do.
STUDY_ADAPTERS = [
    file
    for rank in config["ranks"]
    for file in of_every_seed(rank_folder(rank), ADAPTER)
]


# --- Variants -------------------------------------------------------------------------------------


def variant_of(wildcards):
    return VARIANTS[wildcards.get("variant") or wildcards.full_variant]


def rank_of(wildcards):
    """The rank of a run; None where all weights are trained."""
    return int(wildcards.rank) if "rank" in wildcards.keys() else None


def inherited_config(*parts):
    """The parts of the config that a run takes from the study. What its variant overrides is left
    out: that is in `overrides_of`."""

    def inherited(wildcards):
        keys = inherited_keys(config, variant_of(wildcards), parts)
        return config_for(*keys, "seeds")

    return inherited


def overrides_of(wildcards):
    return variant_of(wildcards).overrides(rank_of(wildcards))


def base_of(wildcards):
    """The base that a variant is trained over: the study's, or one from another seed."""
    seed = variant_of(wildcards).base_seed
    return BASE if seed is None else f"{base_folder(seed)}/best.pt"


def base_metrics_of(wildcards):
    return base_results(variant_of(wildcards), "metrics.json")


def base_results(variant, file):
    """A file of the untuned base's evaluation: the study's base, or a variant's own."""
    folder = SWEEP if variant.base_seed is None else variant.folder
    return f"{folder}/base/{file}"
