"""The ablation arms: what their variants override, and which runs share a folder."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from project import ROOT

from minituner.pipeline.arms import (
    STUDY,
    arms_of,
    enabled_arms,
    inherited_keys,
    parameters_of,
)
from minituner.pipeline.config import read_config
from minituner.pipeline.nested import flatten, subset
from minituner.pipeline.paths import SWEEP, arm_folder, variant_folder


@pytest.fixture
def config() -> dict[str, Any]:
    return read_config([ROOT / "config.yaml"])


def test_enabled_arms(config: dict[str, Any]) -> None:
    assert enabled_arms(config) == ["scaling", "targets", "full"]
    assert set(arms_of(config)) - set(enabled_arms(config)) == {"variants", "epochs", "verbs"}


def test_runs_with_equal_configs_share_a_folder(config: dict[str, Any]) -> None:
    arms = arms_of(config)
    folders = {(run.variant.name, run.rank): run.folder for run in arms["scaling"]}
    for rank in config["ranks"]:
        assert folders["fixed", rank] == f"{SWEEP}/rank-{rank}"
        assert folders["rslora", rank] == f"{variant_folder('scaling', 'rslora')}/rank-{rank}"
    # alpha = 2 r is the study's 16 only at r = 8
    shared = {rank for rank in config["ranks"] if folders["proportional", rank].startswith(SWEEP)}
    assert shared == {8}
    targets = {run.variant.name: run.folder for run in arms["targets"]}
    assert targets["fc2"] == f"{SWEEP}/rank-8"
    assert len(set(targets.values())) == len(targets) == 7
    full = {run.variant.name: (run.folder, run.rank) for run in arms["full"]}
    assert full.pop("lora") == (f"{SWEEP}/rank-8", 8)
    assert all(rank is None for _, rank in full.values())


def test_two_arms_share_runs_that_the_study_lacks(config: dict[str, Any]) -> None:
    config["ablations"]["twice"] = copy.deepcopy(config["ablations"]["targets"])
    for overrides in config["ablations"]["twice"]["runs"].values():
        overrides["lora"]["target_modules"].reverse()  # their order has no effect
    arms = arms_of(config)
    assert [run.folder for run in arms["twice"]] == [run.folder for run in arms["targets"]]


def test_full_runs_ignore_adapter_only_keys(config: dict[str, Any]) -> None:
    before = {run.folder for run in arms_of(config)["full"]}
    full = next(run.variant for run in arms_of(config)["full"] if run.rank is None)
    assert "train.loraplus_lr_ratio" not in inherited_keys(config, full, ["train"])
    config["ablations"]["again"] = {
        "enabled": True,
        "ranks": "headline",
        "runs": {"it": {"full": True, "train": {"learning_rate": 3.0e-5}}},
    }
    assert {run.folder for run in arms_of(config)["again"]} < before


def test_enabled_arms_compute_the_shared_runs(config: dict[str, Any]) -> None:
    config["ablations"] = {
        "later": {"enabled": False, "ranks": "headline", "runs": {"it": {"full": True}}},
        "now": {"enabled": True, "ranks": "headline", "runs": {"it": {"full": True}}},
    }
    arms = arms_of(config)
    assert {run.folder for run in arms["later"]} == {variant_folder("now", "it")}


def test_arms_of_sorts_the_ranks(config: dict[str, Any]) -> None:
    config["ranks"] = [8, 2, 4]
    assert [run.rank for run in arms_of(config)["scaling"]][:3] == [2, 4, 8]


def test_a_changed_study_shares_other_runs(config: dict[str, Any]) -> None:
    config["lora"]["alpha"] = 32
    scaling = {(run.variant.name, run.rank): run for run in arms_of(config)["scaling"]}
    shared = {key for key, run in scaling.items() if run.folder.startswith(SWEEP)}
    assert shared == {("fixed", rank) for rank in config["ranks"]} | {("proportional", 16)}


def test_overrides_are_keys_of_the_config(config: dict[str, Any]) -> None:
    overrides = {
        (arm, run.variant.name, run.rank): run.variant.overrides(run.rank)
        for arm, runs in arms_of(config).items()
        for run in runs
    }
    assert overrides["scaling", "proportional", 32] == {"lora.alpha": 64}
    assert overrides["scaling", "rslora", 2] == {"lora.use_rslora": True}
    assert overrides["full", "lr-3e-5", None] == {"train.learning_rate": 3e-5}
    assert overrides["verbs", "go", 8] == {"train.held_out_verb": "go"}
    for keys in overrides.values():
        assert set(keys) - {"train.held_out_verb"} <= set(dict(flatten(config)))


def test_parameters_of_every_manifest(config: dict[str, Any]) -> None:
    parameters = parameters_of(config)
    arm = arm_folder("scaling")
    assert parameters[f"{arm}/proportional/rank-2/train.manifest.json"] == {
        "changes": {"lora.alpha": 4}
    }
    assert parameters[f"{SWEEP}/rank-8/train.manifest.json"] == {"changes": {}}
    assert f"{arm}/proportional/rank-8/train.manifest.json" not in parameters, "the study's"
    runs = parameters[f"{arm}/manifest.json"]["runs"]
    assert [(run["run"], run["rank"]) for run in runs][:2] == [("fixed", 2), ("fixed", 4)]
    arms = parameters["experiments/28-lora-ablations/manifest.json"]["arms"]
    assert arms == ["scaling", "targets", "full"]


def test_inherited_keys_leave_out_the_overrides(config: dict[str, Any]) -> None:
    proportional = next(
        run.variant for run in arms_of(config)["scaling"] if run.variant.name == "proportional"
    )
    parts = ["lora", "train"]
    everything = {key for key, _ in flatten(subset(config, *parts))}
    assert set(inherited_keys(config, STUDY, parts)) == everything
    assert set(inherited_keys(config, proportional, parts)) == everything - {"lora.alpha"}


def test_base_seeds_add_an_arm_over_the_whole_sweep(config: dict[str, Any]) -> None:
    config["base"]["seeds"] = [1, 2]
    runs = arms_of(config)["bases"]
    assert len(runs) == 3 * len(config["ranks"])
    assert {run.folder for run in runs if run.variant.name == "seed-0"} == {
        f"{SWEEP}/rank-{rank}" for rank in config["ranks"]
    }
    assert {run.variant.base_seed for run in runs if run.variant.name != "seed-0"} == {1, 2}
