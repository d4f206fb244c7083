"""The ablation arms: which settings each compares, and where the results of each lie.

A setting is an overlay on the study's config. Where two come out the same at some rank they share
one folder, so an arm's run at the study's own settings is the study's run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minituner.pipeline.config import config_subset
from minituner.pipeline.nested import flat

STUDY = "28-lora-ablate-rank"


@dataclass(frozen=True)
class Setting:
    """One named overlay, and its folder under experiments/."""

    arm: str
    name: str
    folder: str
    overlay: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether all weights are trained and there is no adapter."""
        return bool(self.overlay.get("full", False))

    @property
    def base_seed(self) -> int | None:
        """The seed of another base, if the setting is for one."""
        seed: int | None = self.overlay.get("base", {}).get("pretrain", {}).get("seed")
        return seed

    def changes(self, rank: int | None) -> dict[str, Any]:
        """What differs from the study's config at a rank: dotted keys and their values."""
        changes = dict(flat(self.overlay))
        changes.pop("full", None)
        if (verb := changes.pop("held_out_verb", None)) is not None:
            changes["train.held_out_verb"] = verb
        if (ratio := changes.pop("lora.alpha_over_rank", None)) is not None:
            assert rank is not None
            changes["lora.alpha"] = ratio * rank
        return changes


@dataclass(frozen=True)
class Run:
    """A setting at one rank (``None`` where all weights are trained), and whose results it takes:
    its own or, if those would be the same, those of a setting that came before."""

    setting: Setting
    rank: int | None
    owner: Setting

    @property
    def folder(self) -> str:
        """Where the results lie, under experiments/."""
        return self.owner.folder if self.rank is None else f"{self.owner.folder}/rank-{self.rank}"


def study_setting() -> Setting:
    """The study itself: nothing is changed."""
    return Setting("rank", "study", STUDY)


def arms_of(config: Mapping[str, Any]) -> dict[str, list[Run]]:
    """The runs of every arm, those of the enabled arms first; ``base.seeds`` makes one more."""
    ranks = sorted(config["ranks"])
    study = study_setting()
    known = [(Run(study, rank, study), settings_of(config, study, rank)) for rank in ranks]
    arms: dict[str, list[Run]] = {}
    for arm, body in sorted(_bodies(config).items(), key=lambda item: not item[1]["enabled"]):
        at = ranks if body["ranks"] == "sweep" else [config["lora"]["rank"]]
        arms[arm] = []
        for name, overlay in body["runs"].items():
            setting = Setting(arm, name, f"28-lora-ablate-{arm}/{name}", overlay)
            for rank in [None] if setting.full else at:
                settings = settings_of(config, setting, rank)
                same = (run.owner for run, others in known if others == settings)
                run = Run(setting, rank, next(same, setting))
                known.append((run, settings))
                arms[arm].append(run)
    return arms


def enabled_arms(config: Mapping[str, Any]) -> list[str]:
    """The arms that are part of `ablations`."""
    return [arm for arm, body in _bodies(config).items() if body["enabled"]]


def _bodies(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    bodies = dict(config["ablations"])
    seeds = [config["base"]["pretrain"]["seed"], *config["base"]["seeds"]]
    if len(seeds) > 1:
        runs = {f"seed-{seed}": {"base": {"pretrain": {"seed": seed}}} for seed in seeds}
        bodies["bases"] = {"enabled": True, "ranks": "sweep", "runs": runs}
    return bodies


def parameters_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the jobs of the sweep and of the arms are told beside the config, by their manifest."""
    arms, enabled = arms_of(config), enabled_arms(config)
    study = study_setting()
    parameters: dict[str, dict[str, Any]] = {}
    runs = [Run(study, rank, study) for rank in config["ranks"]]
    for run in [*runs, *(run for members in arms.values() for run in members)]:
        if run.setting == run.owner:
            told = {"changes": run.setting.changes(run.rank)}
            parameters[f"experiments/{run.folder}/train.manifest.json"] = told
            parameters[f"experiments/{run.folder}/evaluate.manifest.json"] = {}
            if run.setting.base_seed is not None:
                parameters[f"experiments/{run.owner.folder}/base/manifest.json"] = {}
    for arm, members in arms.items():
        described = [describe_run(run) for run in members]
        parameters[f"experiments/28-lora-ablate-{arm}/manifest.json"] = {"runs": described}
    for name in ("manifest.json", "plot_ablations.manifest.json"):
        parameters[f"experiments/28-lora-ablations/{name}"] = {"arms": enabled}
    return parameters


def describe_run(run: Run) -> dict[str, Any]:
    """A run as ``compare`` is told of it."""
    return {
        "run": run.setting.name,
        "rank": run.rank,
        "folder": f"experiments/{run.folder}",
        "changes": run.setting.changes(run.rank),
    }


ONLY_ADAPTERS = "train.loraplus_lr_ratio"


def settings_of(config: Mapping[str, Any], setting: Setting, rank: int | None) -> dict[str, Any]:
    """All that decides a run's results, seeds and data apart: two that are equal are one run."""
    parts = ("train", "base.pretrain") if setting.full else ("lora", "train", "base.pretrain")
    settings = dict(flat(config_subset(config, *parts))) | setting.changes(rank)
    settings.pop("lora.rank", None)
    if setting.full:
        settings.pop(ONLY_ADAPTERS)
    else:
        settings["lora.target_modules"] = sorted(settings["lora.target_modules"])
    return settings | {"rank": rank, "full": setting.full}


def used_keys(config: Mapping[str, Any], setting: Setting, parts: Sequence[str]) -> list[str]:
    """The dotted keys under ``parts`` that a setting takes from the study as they are."""
    changed = set(setting.changes(rank=1))
    if setting.full:
        changed.add(ONLY_ADAPTERS)
    return [key for key, _ in flat(config_subset(config, *parts)) if key not in changed]
