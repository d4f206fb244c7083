"""Finished studies are read from any folder; unfinished, stale and edited ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from finished_study import SWEEP, write_study

from minituner.errors import UserError
from minituner.pipeline.config import DEFAULTS, read_config
from minituner.pipeline.finished import FinishedStudy, labels_of, open_studies
from minituner.storage.files import write_json


def open_study(folder: Path) -> FinishedStudy:
    (study,) = open_studies([folder])
    return study


def edit_config(folder: Path, **sections: Any) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for section, values in sections.items():
        if isinstance(values, dict):
            config[section] |= values
        else:
            config[section] = values
    path.write_text(yaml.safe_dump(config))


def test_a_study_is_read_from_any_folder(tmp_path: Path) -> None:
    study = open_study(write_study(tmp_path / "mine", ranks=(2, 4), seeds=(3, 5), base="b"))
    assert study.label == "mine"
    assert study.task_name == "irregular verbs"
    assert study.ranks == [2, 4]
    assert study.summary["seeds"] == [3, 5]
    assert study.base_manifest["base_checkpoint_sha256"] == "b" * 64
    assert sorted(set(study.items(4)["seed"])) == [3, 5]
    assert study.base_name == "experiments/17-minigpt-train/best.pt"


def test_a_config_holds_only_what_differs_from_the_projects(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "mine", ranks=(2, 4))
    whole = open_study(folder).config
    defaults = read_config([DEFAULTS])
    own = {key: value for key, value in whole.items() if value != defaults[key]}
    assert "task" not in own and "ranks" in own
    (folder / "config.yaml").write_text(yaml.safe_dump(own))
    assert open_study(folder).config == whole


def test_the_config_files_of_the_record_are_merged(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "mine")
    (folder / "own").mkdir()
    (folder / "own/more.yaml").write_text("task: { name: French plurals }\n")
    assert open_study(folder).task_name == "irregular verbs"
    write_json(
        folder / "experiments/study.json", {"config_files": ["config.yaml", "own/more.yaml"]}
    )
    assert open_study(folder).task_name == "French plurals"


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["/x/a", "/x/b"], ["a", "b"]),
        (["/x/a/study", "/x/b/study"], ["a/study", "b/study"]),
        (["/x/a/in/study", "/y/a/in/study", "/z"], ["x/a/in/study", "y/a/in/study", "/z"]),
        (["/x/only"], ["only"]),
    ],
)
def test_labels_tell_folders_apart(folders: list[str], labels: list[str]) -> None:
    assert labels_of([Path(folder) for folder in folders]) == labels


def edit_items(folder: Path) -> None:
    path = folder / f"{SWEEP}/rank-8/items.csv"
    path.write_text(path.read_text().replace("2.000000", "3.000000", 1))


REFUSED: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no config": (lambda f: (f / "config.yaml").unlink(), ["is not a study", "no config.yaml"]),
    "another config": (
        lambda f: (f / "config.yaml").write_text("task: french\n"),
        ["is not a study", "without task.name", "minituner init"],
    ),
    "not yet run": (
        lambda f: (f / f"{SWEEP}/summary.json").unlink(),
        ["has no results yet", f"no {SWEEP}/summary.json", "run it: minituner run {folder}"],
    ),
    "edited": (
        edit_items,
        ["not current", "rank-8/items.csv was edited", "cd {folder} && minituner verify"],
    ),
    "deleted": (
        lambda f: (f / f"{SWEEP}/rank-2/items.csv").unlink(),
        ["not current", "rank-2/items.csv is missing", "minituner run {folder}"],
    ),
    "no manifest": (
        lambda f: (f / f"{SWEEP}/rank-2/train.manifest.json").unlink(),
        ["not current", "rank-2/train.manifest.json is missing"],
    ),
    "another learning rate": (
        lambda f: edit_config(f, train={"learning_rate": 0.5}),
        ["not current", "config: train.learning_rate has changed", "minituner verify"],
    ),
    "another rank": (lambda f: edit_config(f, ranks=[2, 8, 16]), ["config: ranks has changed"]),
    "another seed": (lambda f: edit_config(f, seeds=[0]), ["config: seeds has changed"]),
    "other test items": (
        lambda f: write_json(f / "data/tokenized/test.jsonl", {}),
        ["data/tokenized/test.jsonl has changed"],
    ),
    "results of an older version": (
        lambda f: write_json(f / f"{SWEEP}/summary.json", {"ranks": []}),
        ["is not a results file of the kind SweepSummary"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_unfinished_or_changed_study_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_study(tmp_path / "my study")
    damage, words = REFUSED[name]
    open_study(folder)
    damage(folder)
    with pytest.raises(UserError) as refused:
        open_study(folder)
    for word in words:
        assert word.format(folder=f"'{folder}'") in str(refused.value)


def test_a_clone_without_weights_and_data_can_be_read(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "clone")
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    assert open_study(folder).ranks == [2, 8]


@pytest.mark.parametrize(
    ("name", "found"),
    [("nowhere", "nothing"), ("REPORT.md", "a file"), ("empty", "no config.yaml")],
)
def test_what_is_no_folder_of_a_study_is_refused(tmp_path: Path, name: str, found: str) -> None:
    (tmp_path / "REPORT.md").write_text("#")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is not a study") as refused:
        open_studies([tmp_path / name])
    assert found in str(refused.value)


def test_the_same_study_twice_is_refused(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "mine")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="is named more than once"):
        open_studies([folder, tmp_path / "link"])
