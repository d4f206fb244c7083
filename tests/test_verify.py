"""``verify`` and the words it ends with, on manifests that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import read_config
from minituner.pipeline.verify import Stage, describe, verify
from minituner.storage.files import write_json


@pytest.fixture
def config() -> dict[str, Any]:
    return read_config([ROOT / "config.yaml"])


def test_verify_skips_hidden_files_and_folders(tmp_path: Path, config: dict[str, Any]) -> None:
    root = tmp_path / ".a hidden place" / "study"
    keys = ("inputs", "code", "outputs", "config", "versions")
    hidden = ("._manifest.json", ".manifest.json", ".ipynb_checkpoints/manifest.json")
    for name in ("manifest.json", *hidden):
        path = root / "data/filtered" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")
    write_json(root / "data/filtered/manifest.json", {"stage": "filter", **{k: {} for k in keys}})
    stages = verify(config, root)
    assert [stage.path for stage in stages] == ["data/filtered/manifest.json"]
    assert describe(stages) == "1 of 1 stage is current"
    assert describe(stages * 2) == "2 of 2 stages are current"


def manifest_at(root: Path, path: str, parameters: dict[str, Any] | None = None) -> None:
    keys = ("inputs", "code", "outputs", "config", "versions")
    manifest = {"stage": "s", "parameters": parameters or {}} | {key: {} for key in keys}
    write_json(root / path, manifest)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("experiments/28-lora-ablate-rank/manifest.json", "report"),
        ("experiments/28-lora-ablate-rank/rank-8/train.manifest.json", "report"),
        ("experiments/28-lora-ablate-scaling/plot_arm.manifest.json", "ablations"),
        ("experiments/28-lora-ablate-variants/plot_arm.manifest.json", "ablate_variants"),
        ("experiments/28-lora-ablations/manifest.json", "ablations"),
        ("experiments/28-lora-simulation/manifest.json", "simulate"),
    ],
)
def test_verify_names_the_target_of_a_manifest(
    tmp_path: Path, config: dict[str, Any], path: str, target: str
) -> None:
    manifest_at(tmp_path, path)
    (stage,) = verify(config, tmp_path)
    assert stage.target == target
    assert not stage.orphaned


@pytest.mark.parametrize(
    "path",
    [
        "experiments/28-lora-ablate-rank/rank-3/train.manifest.json",
        "experiments/28-lora-ablate-gone/manifest.json",
        "experiments/28-lora-ablate-scaling/gone/rank-8/train.manifest.json",
    ],
)
def test_verify_calls_results_without_a_run_orphaned(
    tmp_path: Path, config: dict[str, Any], path: str
) -> None:
    manifest_at(tmp_path, path)
    stages = verify(config, tmp_path)
    assert [stage.orphaned for stage in stages] == [True]
    assert "left over from a rank, an arm or a run" in describe(stages)


def test_verify_compares_the_overrides_of_a_run(tmp_path: Path, config: dict[str, Any]) -> None:
    path = "experiments/28-lora-ablate-scaling/proportional/rank-2/train.manifest.json"
    for alpha, current in ((4, True), (5, False)):
        manifest_at(tmp_path, path, {"changes": {"lora.alpha": alpha}})
        (stage,) = verify(config, tmp_path)
        assert stage.current is current


def test_verify_refuses_a_damaged_manifest(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="there is nothing to verify"):
        verify(config, tmp_path)
    path = tmp_path / "experiments/28-lora-finetune/manifest.json"
    for text in ("", "[]", '{"stage": "headline"}'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(UserError, match=r"manifest\.json.*"):
            verify(config, tmp_path)


def test_describe_forces_what_was_edited_and_then_makes_the_targets() -> None:
    stage = Stage("experiments/28-lora-finetune/manifest.json", "headline", edited=["a.json"])
    other = Stage("experiments/28-lora-ablations/manifest.json", "x", stale=["b.json has changed"])
    other.target = "ablations"
    text = describe([stage, other])
    assert "edited by hand: a.json" in text
    assert "stale: b.json has changed" in text
    assert "0 of 2 stages are current" in text
    assert text.endswith(
        "snakemake --cores 4 --force a.json && snakemake --cores 4 ablations report"
    )
