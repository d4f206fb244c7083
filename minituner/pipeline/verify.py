"""Compare every manifest with the files and the config as they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from minituner import commands
from minituner.errors import UserError, number_of
from minituner.pipeline import paths
from minituner.pipeline.arms import enabled_arms, parameters_of
from minituner.pipeline.manifest import Manifest, environment_path, versions
from minituner.pipeline.nested import changed_keys
from minituner.pipeline.project import locate
from minituner.storage.files import read_json, sha256

FOLDERS = ("data", paths.EXPERIMENTS)


@dataclass
class Stage:
    """One manifest, and what was found wrong with it."""

    path: str
    name: str
    stale: list[str] = field(default_factory=list)  # why it must run again
    edited: list[str] = field(default_factory=list)  # outputs that differ from what it wrote
    missing: list[str] = field(default_factory=list)  # outputs that should exist
    not_committed: list[str] = field(default_factory=list)  # missing, as in every fresh clone
    versions: list[str] = field(default_factory=list)  # packages whose version has changed
    orphaned: bool = False  # of a rank, an arm or a run that the config no longer has
    target: str = "report"  # the Snakemake target that makes it again

    @property
    def current(self) -> bool:
        """Whether nothing is wrong; files that a clone cannot have do not count."""
        return self.orphaned or not (self.stale or self.edited or self.missing or self.versions)


def verify(config: Mapping[str, Any], root: str | Path = ".") -> list[Stage]:
    """Check every stage that left a manifest under ``root``.

    Args:
        config: The config as it is now.

    Raises:
        UserError: There are no manifests, or one cannot be read.
    """
    root = Path(root)
    manifests = {
        path.relative_to(root).as_posix(): read_manifest(path, root)
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*manifest.json"))
        if not is_hidden(path.relative_to(root))
    }
    if not manifests:
        raise UserError(
            root / paths.EXPERIMENTS,
            "there is nothing to verify",
            found="no manifest.json",
            expected="the manifests that every stage writes next to its outputs",
            fix=f"run the study first: {commands.snakemake('report')}",
        )
    written = {
        file: digest
        for manifest in manifests.values()
        for file, digest in manifest["outputs"].items()
    }

    @cache
    def hash_now(file: str) -> str | None:
        found = locate(file, root)
        return sha256(found) if found.is_file() else None

    def may_be_missing(path: str, file: str) -> bool:
        """Whether a clone lacks ``file`` and the stage with manifest ``path`` has not run here."""
        return paths.is_uncommitted(file) and not environment_path(root / path).is_file()

    stages = [
        _check_stage(path, manifest, config, written, hash_now, may_be_missing)
        for path, manifest in manifests.items()
    ]
    _check_arms(stages, manifests, config)
    return stages


def is_hidden(path: Path) -> bool:
    """Whether a file or a folder it is in begins with a dot; no stage writes such files."""
    return any(part.startswith(".") for part in path.parts)


def _check_arms(
    stages: Sequence[Stage], manifests: Mapping[str, Manifest], config: Mapping[str, Any]
) -> None:
    """Compare the runs and arms with those that the config has now, and name their targets."""
    expected, enabled = parameters_of(config), enabled_arms(config)
    for stage in stages:
        arm = paths.arm_of(stage.path)
        in_ablations = paths.is_inside(stage.path, paths.ABLATIONS)
        if paths.is_inside(stage.path, paths.SIMULATION):
            stage.target = "simulate"
        elif in_ablations or arm in enabled:
            stage.target = "ablations"
        elif arm is not None:
            stage.target = f"ablate_{arm}"
        if in_ablations or arm is not None or paths.is_run(stage.path):
            stage.orphaned = stage.path not in expected
            if manifests[stage.path].get("parameters") != expected.get(stage.path):
                stage.stale.append("config: the overrides of its runs have changed")


def read_manifest(path: Path, root: Path) -> Manifest:
    """Read one manifest of the study in the folder ``root``.

    Raises:
        UserError: It is not what a stage wrote.
    """
    try:
        manifest: Manifest = read_json(path)
        for key in ("stage", "inputs", "code", "outputs", "config", "versions"):
            manifest[key]
    except (ValueError, KeyError, TypeError) as error:
        target = path.relative_to(root).as_posix()
        raise UserError(
            path,
            "is no longer a manifest",
            found=str(error).splitlines()[0],
            expected="the JSON that its stage wrote",
            fix=f"make it again: {commands.snakemake(target, options='--cores 4 --force')}",
        ) from error
    return manifest


def _check_stage(
    path: str,
    manifest: Manifest,
    config: Mapping[str, Any],
    written: Mapping[str, str],
    hash_now: Callable[[str], str | None],
    may_be_missing: Callable[[str, str], bool],
) -> Stage:
    stage = Stage(path, manifest["stage"])
    for file, digest in manifest["outputs"].items():
        found = hash_now(file)
        if found is None:
            (stage.not_committed if may_be_missing(path, file) else stage.missing).append(file)
        elif found != digest:
            stage.edited.append(file)
    for file, digest in (manifest["inputs"] | manifest["code"]).items():
        # For a file that does not exist, what its own stage says it wrote.
        found = hash_now(file) or written.get(file)
        if found is None and may_be_missing(path, file):
            stage.not_committed.append(file)
        elif found is None:
            stage.stale.append(f"{file} is gone")
        elif found != digest:
            stage.stale.append(f"{file} has changed")
    stage.stale += [
        f"config: {key} has changed" for key in changed_keys(manifest["config"], config)
    ]
    now = versions(manifest["versions"])
    stage.versions = [
        f"{name} {then}, now {now.get(name, 'not installed')}"
        for name, then in manifest["versions"].items()
        if now.get(name) != then
    ]
    return stage


def describe(stages: Sequence[Stage]) -> str:
    """The findings in plain words, with the commands that fix them."""
    lines = []
    for stage in stages:
        findings = [
            *(f"edited by hand: {file}" for file in stage.edited),
            *(f"missing: {file}" for file in stage.missing),
            *(f"stale: {reason}" for reason in stage.stale),
            *(f"made by other versions: {version}" for version in stage.versions),
        ]
        if not stage.current:
            lines += [f"{stage.path} ({stage.name})", *(f"    {finding}" for finding in findings)]
    not_committed = sorted({file for stage in stages for file in stage.not_committed})
    if not_committed:
        lines.append(
            "not here, because they are not committed: "
            f"{number_of(len(not_committed), 'file')}, such as {not_committed[0]}"
        )
    orphaned = [stage for stage in stages if stage.orphaned]
    if orphaned:
        lines.append(
            "left over from a rank, an arm or a run that the config no longer has: "
            f"{number_of(len(orphaned), 'stage')}, such as {orphaned[0].path}; delete what you "
            "do not want"
        )
    wanted = [stage for stage in stages if not stage.orphaned]
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
