"""The study of this process, and commands for the user that name its folder and config files."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.pipeline.project import PROJECT, is_project

CONFIG = "config.yaml"
CORES = "--cores 4"  # the default of `minituner run`


@dataclass(frozen=True)
class Study:
    """What a command names.

    Args:
        config_files: ``config.yaml`` and then the others, relative to the study if inside it.
        folder: The study's folder as the user named it; ``None`` if commands are typed in the
            project's own folder.
        root: The study's folder from the working folder of this process.
        rule_name: A format string for the name of a rule, which Snakemake's ``module`` may change.
    """

    config_files: tuple[str, ...] = (CONFIG,)
    folder: str | None = None
    root: str = "."
    rule_name: str = "{}"


_study = Study()


def use_study(study: Study) -> None:
    """Set the study of this process, for every command that is printed later."""
    global _study
    _study = study


def use_config_files(
    paths: Iterable[str | Path], folder: str | None = ".", root: str = ".", rule_name: str = "{}"
) -> tuple[str, ...]:
    """Set the study of this process, by its files.

    Args:
        paths: The files that were merged; ``config.yaml`` may be anywhere among them.
        folder: The study's folder as the user named it; ``None`` if Snakemake itself is to be
            called there.
        root, rule_name: See :class:`Study`.

    Returns:
        ``config.yaml`` and then the other files in their order, each relative to the study's
        folder if it is inside: so a study has the same name in another folder.
    """
    overlays = [name for name in (_name_of(path, root) for path in paths) if name != CONFIG]
    in_project = folder == "." and is_project(root)
    files = tuple(dict.fromkeys([CONFIG, *overlays]))
    use_study(Study(files, None if in_project else folder, root, rule_name))
    return files


def study() -> Study:
    """The study of this process."""
    return _study


def config_files() -> tuple[str, ...]:
    """The config files of this process."""
    return _study.config_files


def folder() -> str:
    """The study's folder as the user named it."""
    return _study.folder or "."


def in_config(key: str) -> str:
    """``own/config.yaml: data.corpus``: a dotted key after the last config file that holds it.

    ``config.yaml`` if none does. The files are only read when a message needs them.
    """
    holding = [
        name for name in config_files() if _holds(_content_of(_study.root, name), key.split("."))
    ]
    return f"{(holding or [CONFIG])[-1]}: {key}"


def _content_of(root: str, path: str) -> Any:
    """The contents of a config file; ``None`` if it can no longer be read."""
    import yaml  # here, because only a message needs it

    with suppress(OSError, ValueError, yaml.YAMLError):
        return yaml.safe_load(Path(root, path).read_text(encoding="utf-8-sig"))
    return None


def _holds(content: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def _name_of(path: str | Path, root: str) -> str:
    path, study = Path(path), Path(root).resolve()
    absolute = path.parent.resolve() / path.name  # whichever link leads to the folder
    if absolute.is_relative_to(study):
        return absolute.relative_to(study).as_posix()
    return str(absolute)


def snakemake(
    *targets: str, options: str = CORES, files: Iterable[str] = (), inside: bool = False
) -> str:
    """A command that makes ``targets``: of Snakemake in the project's own folder, and of
    ``minituner run`` elsewhere.

    Args:
        files: The config files of another study in the same folder.
        inside: Whether it is typed in the study's folder, as by a reader of its report.
    """
    where = "." if inside else folder()
    overlays = [Path(where, name).as_posix() for name in files or config_files() if name != CONFIG]
    # Without the dashes Snakemake would read the targets as more config files.
    configs = ["--configfile", shlex.join(overlays), "--"] if overlays else []
    if _study.folder is None:
        program = f"snakemake {options}"
    else:
        program = f"minituner run {shlex.quote(where)} {options.removeprefix(CORES).strip()}"
    return " ".join([program.strip(), *configs, shlex.join(map(_renamed, targets))])


def _renamed(target: str) -> str:
    """A target with its rule's name in the user's workflow; a file stays as it is."""
    return _study.rule_name.format(target) if target.isidentifier() else target


def reproduce(target: str) -> str:
    """For a reader of a report: how to make it, in Markdown."""
    command = f"`{snakemake(target, inside=True)}`"
    if _study.folder is not None or _study.rule_name != Study.rule_name:
        return f"{command} in the study's folder"
    overlays = shlex.join(_study.config_files[1:])
    make = f"make {target}" + (f" CONFIG={shlex.quote(overlays)}" if overlays else "")
    return f"`{make}`, or {command} in the environment that it sets up"


def run_arguments(folder: str) -> list[str]:
    """What `minituner run` passes to Snakemake before the user's own arguments."""
    return [
        *("--snakefile", str(PROJECT / "Snakefile"), "--directory", folder),
        "--target-files-omit-workdir-adjustment",  # they are relative to the study
        *("--workflow-profile", str(PROJECT / "profiles/default")),
    ]


def with_config(arguments: Sequence[str], key: str, value: str) -> str:
    """A Snakemake command with these arguments and ``--config key=value``.

    If `minituner run` has made the arguments, the command is that, with the user's part of them.
    """
    program, words = ["snakemake"], list(arguments)
    made = run_arguments(folder())
    if words[: len(made)] == made:
        program = ["minituner", "run", folder()]
        words = words[len(made) + (words[len(made) :][:2] == shlex.split(CORES)) * 2 :]
    words = [word for word in words if not word.startswith(f"{key}=")]
    if "--config" in words:
        at, added = words.index("--config") + 1, [f"{key}={value}"]
    else:
        at, added = (
            words.index("--") if "--" in words else len(words),
            ["--config", f"{key}={value}"],
        )
    return shlex.join([*program, *words[:at], *added, *words[at:]])
