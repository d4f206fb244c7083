"""The ablation arms: which variants of the study each compares, and where the results of each are.

A variant is a set of overrides on the study's config. Runs that come out with the same config share
one folder, so an arm's run at the study's own config is the study's run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minituner.pipeline import paths
from minituner.pipeline.nested import flatten, subset

ADAPTER_ONLY_KEY = "train.loraplus_lr_ratio"  # without effect where all weights are trained


@dataclass(frozen=True)
class Variant:
    """A named set of overrides, and the folder of its results."""

    arm: str
    name: str
    folder: str
    config: Mapping[str, Any] = field(default_factory=dict)  # nested, as in config.yaml

    @property
    def full(self) -> bool:
        """Whether all weights are trained and there is no adapter."""
        return bool(self.config.get("full", False))

    @property
    def base_seed(self) -> int | None:
        """The seed of the variant's own base; ``None`` if it uses the study's."""
        seed: int | None = self.config.get("base", {}).get("pretrain", {}).get("seed")
        return seed

    def overrides(self, rank: int | None) -> dict[str, Any]:
        """The values that replace the study's at a rank, by dotted key."""
        overrides = dict(flatten(self.config))
        overrides.pop("full", None)
        if (verb := overrides.pop("held_out_verb", None)) is not None:
            overrides["train.held_out_verb"] = verb
        if (ratio := overrides.pop("lora.alpha_over_rank", None)) is not None:
            if rank is None:
                raise ValueError(f"{self.folder}: alpha_over_rank needs a rank")
            overrides["lora.alpha"] = ratio * rank
        return overrides


STUDY = Variant("rank", "study", paths.SWEEP)


@dataclass(frozen=True)
class Run:
    """A variant at one rank (``None`` where all weights are trained).

    ``computed_by`` is the variant whose results it uses: its own, or an earlier one's if both come
    out with the same config.
    """

    variant: Variant
    rank: int | None
    computed_by: Variant

    @property
    def folder(self) -> str:
        """The folder of the results."""
        folder = self.computed_by.folder
        return folder if self.rank is None else paths.rank_folder(self.rank, folder)


def arms_of(config: Mapping[str, Any]) -> dict[str, list[Run]]:
    """The runs of every arm, the enabled arms first; ``base.seeds`` adds the arm ``bases``."""
    ranks = sorted(config["ranks"])
    known = [(Run(STUDY, rank, STUDY), effective_config(config, STUDY, rank)) for rank in ranks]
    arms: dict[str, list[Run]] = {}
    sections = sorted(_sections(config).items(), key=lambda item: not item[1]["enabled"])
    for arm, section in sections:
        arm_ranks = ranks if section["ranks"] == "sweep" else [config["lora"]["rank"]]
        arms[arm] = []
        for name, overrides in section["runs"].items():
            variant = Variant(arm, name, paths.variant_folder(arm, name), overrides)
            for rank in [None] if variant.full else arm_ranks:
                effective = effective_config(config, variant, rank)
                equal = (run.computed_by for run, other in known if other == effective)
                run = Run(variant, rank, next(equal, variant))
                known.append((run, effective))
                arms[arm].append(run)
    return arms


def enabled_arms(config: Mapping[str, Any]) -> list[str]:
    """The arms that the target `ablations` includes."""
    return [arm for arm, section in _sections(config).items() if section["enabled"]]


def _sections(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    sections = dict(config["ablations"])
    seeds = [config["base"]["pretrain"]["seed"], *config["base"]["seeds"]]
    if len(seeds) > 1:
        runs = {f"seed-{seed}": {"base": {"pretrain": {"seed": seed}}} for seed in seeds}
        sections["bases"] = {"enabled": True, "ranks": "sweep", "runs": runs}
    return sections


def effective_config(
    config: Mapping[str, Any], variant: Variant, rank: int | None
) -> dict[str, Any]:
    """Everything that decides a run's results except seeds and data: equal ones are the same run.

    Returns:
        Values by dotted key, with the study's replaced by the variant's.
    """
    parts = ("train", "base.pretrain") if variant.full else ("lora", "train", "base.pretrain")
    effective = dict(flatten(subset(config, *parts))) | variant.overrides(rank)
    effective.pop("lora.rank", None)
    if variant.full:
        effective.pop(ADAPTER_ONLY_KEY)
    else:
        for key in ("lora.target_modules", "lora.layers"):  # the order of a list has no effect
            value = effective.get(key)
            effective[key] = sorted(value) if isinstance(value, list) else value
    return effective | {"rank": rank, "full": variant.full}


def inherited_keys(config: Mapping[str, Any], variant: Variant, parts: Sequence[str]) -> list[str]:
    """The dotted keys under ``parts`` whose values a variant takes from the study."""
    overridden = set(variant.overrides(rank=1))
    if variant.full:
        overridden.add(ADAPTER_ONLY_KEY)
    return [key for key, _ in flatten(subset(config, *parts)) if key not in overridden]


def describe_run(run: Run) -> dict[str, Any]:
    """A run as it is passed to ``compare`` and stored in the arm's manifest and summary."""
    return {
        "run": run.variant.name,
        "rank": run.rank,
        "folder": run.folder,
        "changes": run.variant.overrides(run.rank),
    }


def parameters_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The ``parameters`` that the manifest of each run and arm must have, by the manifest's path.

    This repeats what the ``params`` of rules/experiment.smk and rules/ablations.smk say, because
    ``verify`` must work without Snakemake. tests/pipeline/test_arms.py compares the two.
    """
    arms = arms_of(config)
    parameters: dict[str, dict[str, Any]] = {}
    runs = [Run(STUDY, rank, STUDY) for rank in config["ranks"]]
    for run in [*runs, *(run for members in arms.values() for run in members)]:
        if run.variant != run.computed_by:
            continue
        overrides = run.variant.overrides(run.rank)
        parameters[f"{run.folder}/train.manifest.json"] = {"changes": overrides}
        parameters[f"{run.folder}/evaluate.manifest.json"] = {}
        if run.variant.base_seed is not None:
            parameters[f"{run.variant.folder}/base/manifest.json"] = {}
    for arm, members in arms.items():
        described = [describe_run(run) for run in members]
        parameters[f"{paths.arm_folder(arm)}/manifest.json"] = {"runs": described}
        parameters[f"{paths.arm_folder(arm)}/plot_arm.manifest.json"] = {}
    for name in ("manifest.json", "plot_ablations.manifest.json"):
        parameters[f"{paths.ABLATIONS}/{name}"] = {"arms": enabled_arms(config)}
    return parameters
