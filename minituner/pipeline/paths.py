"""Every folder and file of the study that more than one module names.

Paths are relative to the project's root. The module imports only the standard library, because the
rules and every command load it.
"""

from __future__ import annotations

import re

EXPERIMENTS = "experiments"
PRETRAINED = f"{EXPERIMENTS}/17-minigpt-train"
HEADLINE = f"{EXPERIMENTS}/28-lora-finetune"
SWEEP = f"{EXPERIMENTS}/28-lora-ablate-rank"
ABLATIONS = f"{EXPERIMENTS}/28-lora-ablations"
SIMULATION = f"{EXPERIMENTS}/28-lora-simulation"

PREDICTIONS = "logs/plan.json"  # what `plan` predicted, for `cost`
STUDY_RECORD = f"{EXPERIMENTS}/study.json"  # the config files that the results were made with
REPORT = "REPORT.md"

# What the commands read unless told otherwise: the study's own base, headline adapter and verbs.
BASE = f"{PRETRAINED}/best.pt"
TOKENIZER = f"{PRETRAINED}/tokenizer.json"
ADAPTER = f"{HEADLINE}/adapter_final.safetensors"
VERBS = "data/raw/verbs.yaml"

# The figures of the report.
ACCURACY_FIGURE = f"{SWEEP}/accuracy_vs_rank.png"
DRIFT_FIGURE = f"{SWEEP}/drift_vs_rank.png"
SCALE_FIGURE = f"{SWEEP}/scale_vs_rank.png"
LOSS_FIGURE = f"{HEADLINE}/loss_curve.png"
BASE_LOSS_FIGURE = f"{PRETRAINED}/loss_curve.png"
ABLATIONS_FIGURE = f"{ABLATIONS}/learned_vs_forgotten.png"

# Made again by the pipeline and not committed: intermediate data, and weights wherever they are.
UNCOMMITTED_FOLDERS = ("data/filtered", "data/splits", "data/tokenized")
UNCOMMITTED_ENDINGS = (".pt", ".safetensors")

_ARM_FOLDER = re.compile(rf"{EXPERIMENTS}/28-lora-ablate-(\w+)")


def tokenized(split: str) -> str:
    """The token ids of one split."""
    return f"data/tokenized/{split}.jsonl"


def rank_folder(rank: int | str, folder: str = SWEEP) -> str:
    """The results of one rank: of the study's sweep, or of a variant's ``folder``."""
    return f"{folder}/rank-{rank}"


def training_benchmark(rank: int | str, folder: str = SWEEP) -> str:
    """What Snakemake measures of a training job: of the study's, or of a variant's."""
    return f"logs/train/{folder.removeprefix(f'{EXPERIMENTS}/')}/rank-{rank}.benchmark.tsv"


def arm_folder(arm: str) -> str:
    """The results of one ablation arm."""
    return f"{EXPERIMENTS}/28-lora-ablate-{arm}"


def variant_folder(arm: str, name: str) -> str:
    """The results of one variant of an arm."""
    return f"{arm_folder(arm)}/{name}"


def base_folder(seed: int | str) -> str:
    """A further base, pretrained with another seed."""
    return f"{PRETRAINED}/seed-{seed}"


def arm_of(path: str) -> str | None:
    """The arm whose folder a path is in; ``None`` outside the arms and in the study's sweep.

    The sweep over the ranks has a folder of the same form, but it is not an arm.
    """
    found = _ARM_FOLDER.match(path)
    return None if found is None or is_inside(path, SWEEP) else found[1]


def is_run(path: str) -> bool:
    """Whether a path is in the folder of one rank of the study's sweep."""
    return path.startswith(f"{SWEEP}/rank-")


def is_inside(path: str, folder: str) -> bool:
    """Whether ``path`` is a file or folder below ``folder``."""
    return path.startswith(f"{folder}/")


def is_uncommitted(path: str) -> bool:
    """Whether a clone of the repository lacks this file by design."""
    return path.startswith(UNCOMMITTED_FOLDERS) or path.endswith(UNCOMMITTED_ENDINGS)
