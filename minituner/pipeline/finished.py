"""A finished study, read from outside: its folder may be anywhere, and nothing in it is changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minituner.commands import CONFIG
from minituner.errors import UserError, first_of
from minituner.pipeline import paths
from minituner.pipeline.config import default_files, read_config
from minituner.pipeline.manifest import Manifest, environment_path
from minituner.pipeline.nested import changed_keys
from minituner.pipeline.verify import read_manifest
from minituner.results import ModelMetrics, SweepSummary, TunedMetrics, read_results
from minituner.storage.files import read_json, sha256
from minituner.storage.items import read_items

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = f"{paths.SWEEP}/summary.json"
SUMMARY_MANIFEST = f"{paths.SWEEP}/summarize.manifest.json"
BASE = f"{paths.SWEEP}/base"
TEST_ITEMS = paths.tokenized("test")
TOKENIZATION = "data/tokenized/manifest.json"  # not committed


@dataclass(frozen=True)
class FinishedStudy:
    """The config and the results of a study whose sweep has run; made by :func:`open_studies`.

    Paths of files are those of ``minituner.pipeline.paths``, relative to ``folder``.
    """

    folder: Path
    label: str  # its name among the studies that were opened with it
    config: dict[str, Any]
    summary: SweepSummary

    def path(self, file: str) -> Path:
        """Where one of the study's files is."""
        return self.folder / file

    @property
    def task_name(self) -> str:
        """What the study teaches."""
        return str(self.config["task"]["name"])

    @property
    def ranks(self) -> list[int]:
        """The ranks of the sweep, in ascending order."""
        return [row["rank"] for row in self.summary["ranks"] if row["rank"] is not None]

    @property
    def base_name(self) -> str:
        """The checkpoint that the config names, or that the study pretrained."""
        return str(self.config["base"]["checkpoint"] or paths.BASE)

    @cached_property
    def base_manifest(self) -> Manifest:
        """The manifest of the base's evaluation."""
        return self.manifest(f"{BASE}/manifest.json")

    @property
    def test_hashes(self) -> set[str]:
        """The sha256 of the test items with their token ids and, where it is known, of the texts
        that these were made from, which do not depend on the tokenizer."""
        tokenized = self.base_manifest["inputs"].get(TEST_ITEMS)
        hashes = {tokenized} if tokenized else set()
        if tokenized and self.path(TOKENIZATION).is_file():
            manifest = self.manifest(TOKENIZATION)
            if manifest["outputs"].get(TEST_ITEMS) == tokenized:
                hashes |= {
                    h for f, h in manifest["inputs"].items() if f == "data/splits/test.jsonl"
                }
        return hashes

    @cached_property
    def base_metrics(self) -> ModelMetrics:
        """The untuned base's metrics."""
        return read_results(self.path(f"{BASE}/metrics.json"), ModelMetrics)

    @cached_property
    def base_items(self) -> pd.DataFrame:
        """The untuned base's scores, a row per item."""
        return self._items(BASE)

    def items(self, rank: int) -> pd.DataFrame:
        """One rank's scores, a row per item and seed."""
        return self._items(paths.rank_folder(rank))

    def metrics(self, folder: str) -> TunedMetrics:
        """The metrics of one setting."""
        return read_results(self.path(f"{folder}/metrics.json"), TunedMetrics)

    def manifest(self, file: str) -> Manifest:
        """One manifest."""
        return read_manifest(self.path(file), self.folder)

    def environment(self, manifest: str) -> dict[str, Any]:
        """When and where the stage of a manifest ran; empty in a clone, which lacks that file."""
        path = environment_path(self.path(manifest))
        return dict(read_json(path)) if path.is_file() else {}

    def _items(self, folder: str) -> pd.DataFrame:
        return read_items(self.path(f"{folder}/items.csv"))


def open_studies(folders: Sequence[str | Path]) -> list[FinishedStudy]:
    """Open finished studies; each gets a label of its own.

    Raises:
        UserError: A folder is named twice, is not a study's, has no results yet, or has results
            that are stale or were edited.
    """
    roots = [Path(folder).resolve() for folder in folders]
    twice = {root for root in roots if roots.count(root) > 1}
    if twice:
        raise UserError(
            min(twice),
            "is named more than once",
            found=f"{len(roots)} folders, among them the same one twice",
            expected="different studies",
            fix="name each study once",
        )
    labels = labels_of(roots)
    return [_open(root, label) for root, label in zip(roots, labels, strict=True)]


def labels_of(folders: Sequence[Path]) -> list[str]:
    """The name of each folder, with as many of the folders around it as tell all apart."""
    longest = max(len(folder.parts) for folder in folders)
    for depth in range(1, longest + 1):
        labels = [str(Path(*folder.parts[-depth:])) for folder in folders]
        if len(set(labels)) == len(folders):
            break
    return labels


def run_command(folder: Path) -> str:
    """The command that runs or continues the study in ``folder``."""
    return f"minituner run {shlex.quote(str(folder))}"


def _open(folder: Path, label: str) -> FinishedStudy:
    _require_study(folder)
    files = [str(folder / name) for name in _config_files(folder)]
    config = read_config([*default_files(folder), *files])
    if not isinstance(config.get("task"), dict) or "name" not in config["task"]:
        raise _not_a_study(folder, f"a {CONFIG} without task.name")
    if not (folder / SUMMARY).is_file() or not (folder / SUMMARY_MANIFEST).is_file():
        raise UserError(
            folder,
            "the study has no results yet",
            found=f"no {SUMMARY if not (folder / SUMMARY).is_file() else SUMMARY_MANIFEST}",
            expected="the results of its rank sweep",
            fix=f"run it: {run_command(folder)}",
        )
    study = FinishedStudy(folder, label, config, read_results(folder / SUMMARY, SweepSummary))
    require_current(study, _manifests(study))
    return study


def _require_study(folder: Path) -> None:
    if not folder.exists():
        raise _not_a_study(folder, "nothing")
    if not folder.is_dir():
        raise _not_a_study(folder, "a file")
    if not (folder / CONFIG).is_file():
        raise _not_a_study(folder, f"no {CONFIG}")


def _not_a_study(folder: Path, found: str) -> UserError:
    return UserError(
        folder,
        "is not a study",
        found=found,
        expected=f"a folder with a {CONFIG} and, once it has run, the results in "
        f"{paths.EXPERIMENTS}/",
        fix="name the folder of a study, or make one: minituner init FOLDER",
    )


def _config_files(folder: Path) -> list[str]:
    """The config files that the results were made with, relative to the study's folder."""
    record = folder / paths.STUDY_RECORD
    found = read_json(record) if record.is_file() else {}
    names = found.get("config_files") if isinstance(found, dict) else None
    return [str(name) for name in names] if isinstance(names, list) and names else [CONFIG]


# --- whether the results are what the stages wrote ----------------------------------------------


def require_current(study: FinishedStudy, manifests: Sequence[str]) -> None:
    """Refuse results that are not those of the config as it is now, or were changed by hand.

    Weights and code are not checked: weights may be large and are rarely read, and code may have
    changed since without making the results wrong. ``verify`` checks both.

    Args:
        manifests: Those of the stages whose results are read.

    Raises:
        UserError: Naming the first of what is not current, and ``verify``.
    """
    problems = list(dict.fromkeys(_problems(study, manifests)))
    if not problems:
        return
    command = f"cd {shlex.quote(str(study.folder))} && minituner verify"
    raise UserError(
        study.folder,
        "its results are not current",
        found=first_of(problems, most=5),
        expected="results that are as their stages wrote them, with the config as it is now",
        fix=f"see everything that is stale or edited: {command}; then run it again: "
        f"{run_command(study.folder)}",
    )


def _problems(study: FinishedStudy, manifests: Sequence[str]) -> Iterator[str]:
    """What makes results unfit to be read, in plain words."""
    yield from (f"config: {key} has changed" for key in _changed_ranks(study))
    for file in manifests:
        if not study.path(file).is_file():
            yield f"{file} is missing"
            continue
        manifest = study.manifest(file)
        changed = changed_keys(manifest["config"], study.config)
        yield from (f"config: {key} has changed since {file}" for key in changed)
        for output, digest in manifest["outputs"].items():
            if not paths.is_uncommitted(output) and not study.path(output).is_file():
                yield f"{output} is missing"
            elif _differs(study, output, digest):
                yield f"{output} was edited"
        for name, digest in manifest["inputs"].items():
            if _differs(study, name, digest):
                yield f"{name} has changed since {file}"


def _changed_ranks(study: FinishedStudy) -> list[str]:
    ranks, seeds = sorted(study.config["ranks"]), list(study.config["seeds"])
    changed = {"ranks": ranks != study.ranks, "seeds": seeds != study.summary["seeds"]}
    return [key for key, different in changed.items() if different]


def _manifests(study: FinishedStudy) -> list[str]:
    """The manifests of everything that is read from a study."""
    stages = ("train.manifest.json", "evaluate.manifest.json")
    return [
        SUMMARY_MANIFEST,
        f"{BASE}/manifest.json",
        *(f"{paths.rank_folder(rank)}/{stage}" for rank in study.ranks for stage in stages),
    ]


def _differs(study: FinishedStudy, file: str, digest: str) -> bool:
    """Whether a file that is here, and is not weights, has another hash."""
    path = study.path(file)
    weights = file.endswith(paths.UNCOMMITTED_ENDINGS)
    return not weights and path.is_file() and sha256(path) != digest
