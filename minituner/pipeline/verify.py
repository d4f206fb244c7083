"""Check every manifest against what lies there now: current, stale, edited, missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from minituner import commands
from minituner.errors import UserError, number_of
from minituner.pipeline.arms import enabled_arms, parameters_of
from minituner.pipeline.manifest import environment_path, versions
from minituner.storage.files import read_json, sha256

FOLDERS = ("data", "experiments")
# What a fresh clone does not hold: outputs that are made again, weights and their like.
UNCOMMITTED_FOLDERS = ("data/filtered", "data/splits", "data/tokenized")
UNCOMMITTED_ENDINGS = (".pt", ".safetensors")


@dataclass
class Stage:
    """One manifest, and what was found wrong with it."""

    path: str
    name: str
    stale: list[str] = field(default_factory=list)  # why it must run again
    edited: list[str] = field(default_factory=list)  # outputs that are not what it wrote
    missing: list[str] = field(default_factory=list)  # outputs that should be there
    absent: list[str] = field(default_factory=list)  # files that are not there, nor committed
    versions: list[str] = field(default_factory=list)  # packages that have changed since
    left_over: bool = False  # of a rank, an arm or a run that the config no longer has
    target: str = "report"  # what to ask Snakemake for to have it made again

    @property
    def current(self) -> bool:
        """Whether nothing is wrong; files that a clone cannot have are not wrong."""
        return self.left_over or not (self.stale or self.edited or self.missing or self.versions)


def verify(config: Mapping[str, Any], root: str | Path = ".") -> list[Stage]:
    """Check every stage that left a manifest under ``root``.

    Args:
        config: The config as it is now.

    Raises:
        UserError: There are no manifests, or one cannot be read.
    """
    root = Path(root)
    manifests = {
        path.relative_to(root).as_posix(): _read_manifest(path)
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*manifest.json"))
        if not is_hidden(path.relative_to(root))
    }
    if not manifests:
        raise UserError(
            root / "experiments",
            "there is nothing to verify",
            found="no manifest.json",
            expected="the manifests that every stage leaves beside its outputs",
            fix=f"run the study first: {commands.snakemake('report')}",
        )
    written = {
        file: digest
        for manifest in manifests.values()
        for file, digest in manifest["outputs"].items()
    }

    @cache
    def hash_now(file: str) -> str | None:
        return sha256(root / file) if (root / file).is_file() else None

    def excused(path: str, file: str) -> bool:
        """Whether ``file`` may be missing: a clone lacks it, and the stage has not run here."""
        return is_uncommitted(file) and not environment_path(root / path).is_file()

    stages = [
        _check_stage(path, manifest, config, written, hash_now, excused)
        for path, manifest in manifests.items()
    ]
    _check_arms(stages, manifests, config)
    return stages


def is_hidden(path: Path) -> bool:
    """Whether a file or a folder it lies in begins with a dot: no stage of ours writes such."""
    return any(part.startswith(".") for part in path.parts)


RUN_OR_ARM = re.compile(r"experiments/28-lora-ablat(e-rank/rank-\d+|e-(?!rank/)\w+|ions)/")


def _check_arms(
    stages: Sequence[Stage], manifests: Mapping[str, Mapping[str, Any]], config: Mapping[str, Any]
) -> None:
    """Hold the runs and arms against those that the config has now."""
    expected, enabled = parameters_of(config), enabled_arms(config)
    for stage in stages:
        if stage.path.startswith("experiments/28-lora-simulation/"):
            stage.target = "simulate"
        if not RUN_OR_ARM.match(stage.path):
            continue
        stage.left_over = stage.path not in expected
        if manifests[stage.path].get("parameters") != expected.get(stage.path):
            stage.stale.append("config: what its runs change has changed")
        arm = re.match(r"experiments/28-lora-ablate-(\w+)/", stage.path)
        if arm is None or arm[1] in enabled:
            stage.target = "ablations"
        elif arm[1] != "rank":
            stage.target = f"ablate_{arm[1]}"


def _read_manifest(path: Path) -> Any:
    try:
        manifest = read_json(path)
        for key in ("stage", "inputs", "code", "outputs", "config", "versions"):
            manifest[key]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            path,
            "is not a manifest any more",
            found=str(error).splitlines()[0],
            expected="the JSON that its stage wrote",
            fix=f"make it again: {commands.snakemake(str(path), options='--cores 4 --force')}",
        ) from error
    return manifest


def _check_stage(
    path: str,
    manifest: Mapping[str, Any],
    config: Mapping[str, Any],
    written: Mapping[str, str],
    hash_now: Callable[[str], str | None],
    excused: Callable[[str, str], bool],
) -> Stage:
    stage = Stage(path, manifest["stage"])
    for file, digest in manifest["outputs"].items():
        found = hash_now(file)
        if found is None:
            (stage.absent if excused(path, file) else stage.missing).append(file)
        elif found != digest:
            stage.edited.append(file)
    for kind in ("inputs", "code"):
        for file, digest in manifest[kind].items():
            # A file that is not there is judged by what its own stage says it wrote.
            found = hash_now(file) or written.get(file)
            if found is None and excused(path, file):
                stage.absent.append(file)
            elif found is None:
                stage.stale.append(f"{file} is gone")
            elif found != digest:
                stage.stale.append(f"{file} has changed")
    stage.stale += [f"config: {key} has changed" for key in changed(manifest["config"], config)]
    now = versions()
    stage.versions = [
        f"{name} {then}, now {now.get(name, 'not installed')}"
        for name, then in manifest["versions"].items()
        if now.get(name) != then
    ]
    return stage


def is_uncommitted(file: str) -> bool:
    """Whether a clone of the repository lacks this file by design."""
    return file.startswith(UNCOMMITTED_FOLDERS) or file.endswith(UNCOMMITTED_ENDINGS)


def changed(used: Mapping[str, Any], config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys whose value in ``config`` is not the one that was used."""
    keys: list[str] = []
    for key, value in used.items():
        now = config.get(key)
        if isinstance(value, Mapping) and isinstance(now, Mapping):
            keys += changed(value, now, f"{prefix}{key}.")
        elif value != now:
            keys.append(f"{prefix}{key}")
    return keys


def describe(stages: Sequence[Stage]) -> str:
    """What was found, in plain words, with the commands that fix it."""
    lines = []
    for stage in stages:
        verdicts = [
            *(f"edited by hand: {file}" for file in stage.edited),
            *(f"missing: {file}" for file in stage.missing),
            *(f"stale: {reason}" for reason in stage.stale),
            *(f"made by other versions: {version}" for version in stage.versions),
        ]
        if not stage.current:
            lines += [f"{stage.path} ({stage.name})", *(f"    {verdict}" for verdict in verdicts)]
    absent = sorted({file for stage in stages for file in stage.absent})
    if absent:
        lines += [
            "not here, because they are not committed: "
            f"{number_of(len(absent), 'file')}, such as {absent[0]}"
        ]
    left_over = [stage for stage in stages if stage.left_over]
    if left_over:
        lines.append(
            "left over from a rank, an arm or a run that the config no longer has: "
            f"{number_of(len(left_over), 'stage')}, such as {left_over[0].path}; delete what you "
            "do not want"
        )
    wanted = [stage for stage in stages if not stage.left_over]
    current = sum(stage.current for stage in wanted)
    verb = "is" if current == 1 else "are"
    lines.append(f"{current} of {number_of(len(wanted), 'stage')} {verb} current")
    return "\n".join([*lines, *_fix(wanted)])


def _fix(stages: Sequence[Stage]) -> list[str]:
    targets = sorted({stage.target for stage in stages if not stage.current})
    remade = sorted({file for stage in stages for file in (*stage.edited, *stage.missing)})
    outdated = sorted({stage.path for stage in stages if stage.versions})
    if remade or outdated:
        files = [*remade, *outdated]
        force = commands.snakemake(*files, options="--cores 4 --force")
        command = f"{force} && {commands.snakemake(*targets)}"
    elif any(stage.stale for stage in stages):
        command = commands.snakemake(*targets)
    else:
        return []
    return ["", "To fix it:", f"    {command}"]
