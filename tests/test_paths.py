"""The study's paths, and what a path belongs to."""

from __future__ import annotations

import pytest
from project import ROOT

from minituner.pipeline import paths


@pytest.mark.parametrize(
    ("path", "arm", "run"),
    [
        ("experiments/28-lora-ablate-rank/rank-8/metrics.json", None, True),
        ("experiments/28-lora-ablate-rank/base/manifest.json", None, False),
        ("experiments/28-lora-ablate-rank/manifest.json", None, False),
        ("experiments/28-lora-ablate-scaling/manifest.json", "scaling", False),
        ("experiments/28-lora-ablate-scaling/rslora/rank-8/metrics.json", "scaling", False),
        ("experiments/28-lora-ablate-rank_2/manifest.json", "rank_2", False),
        ("experiments/28-lora-ablations/manifest.json", None, False),
        ("experiments/28-lora-finetune/manifest.json", None, False),
        ("data/filtered/manifest.json", None, False),
    ],
)
def test_arm_of_and_is_run(path: str, arm: str | None, run: bool) -> None:
    assert paths.arm_of(path) == arm
    assert paths.is_run(path) is run


def test_arm_of_reverses_arm_folder() -> None:
    for arm in ("scaling", "bases", "lr_2"):
        assert paths.arm_of(f"{paths.arm_folder(arm)}/summary.json") == arm
        assert paths.arm_of(f"{paths.variant_folder(arm, 'q+v')}/items.csv") == arm


def test_rank_folder_is_the_sweeps_unless_another_is_given() -> None:
    assert paths.rank_folder(8) == "experiments/28-lora-ablate-rank/rank-8"
    assert paths.rank_folder(8, paths.variant_folder("scaling", "rslora")) == (
        "experiments/28-lora-ablate-scaling/rslora/rank-8"
    )


def test_is_uncommitted_agrees_with_gitignore() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    for folder in paths.UNCOMMITTED_FOLDERS:
        assert f"{folder}/" in ignored
    for ending in paths.UNCOMMITTED_ENDINGS:
        assert f"experiments/**/*{ending}" in ignored
    assert paths.is_uncommitted(paths.BASE)
    assert paths.is_uncommitted(paths.tokenized("test"))
    assert not paths.is_uncommitted(paths.REPORT)


def test_experiment_folders_are_spelled_only_in_paths() -> None:
    """Docstrings and messages for a reader may name them."""
    for folder in ("17-minigpt-train", "28-lora"):
        spelled = {
            path.relative_to(ROOT).as_posix()
            for part in ("minituner", "rules", "workflow_scripts", "benchmarks")
            for path in (ROOT / part).rglob("*")
            if path.suffix in (".py", ".smk")
            and f'"experiments/{folder}' in path.read_text(encoding="utf-8")
        }
        assert not spelled
