"""The study that a command is about: its config, and its files as defaults of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minituner import commands
from minituner.errors import UserError
from minituner.pipeline.ownership import owner
from minituner.pipeline.paths import ADAPTER, BASE, TOKENIZER, VERBS
from minituner.pipeline.project import from_study, locate

Config = Mapping[str, Any]
TOKENIZER_NAME = Path(TOKENIZER).name
FILES = ("base", "tokenizer", "adapter", "verbs")  # arguments whose default is the study's


def use_study(folder: str) -> None:
    """Let the commands in messages name a study's folder, and the config files of its results.

    Raises:
        UserError: There is no such folder, or the record of the config files is damaged.
    """
    if not Path(folder).is_dir():
        raise UserError(
            folder or "''",
            "there is no such folder",
            found="a file" if Path(folder).exists() else "nothing",
            expected="the folder of a study",
            fix="fix the path",
        )
    files = (Path(folder, name) for name in owner(folder) or ())
    commands.use_config_files(files, folder=folder, root=folder)


def read_study_config(folder: str) -> dict[str, Any]:
    """The config of the study in a folder, with the defaults.

    Raises:
        UserError: A file is missing, or is not a config.
    """
    from minituner.pipeline.config import default_files, read_config

    files = [str(Path(folder, name)) for name in commands.config_files()]
    return read_config([*default_files(folder), *files])


def with_defaults(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a command, with the study's own file for each that was not given.

    Raises:
        UserError: The study's config cannot be read.
    """
    missing = [name for name in FILES if name in arguments and arguments[name] is None]
    if not missing:
        return dict(arguments)
    folder = arguments["study"]
    config = read_study_config(folder) if _has_config(folder) else {}
    checkpoint = _setting(config, "base", "checkpoint")
    in_base = checkpoint is not None and locate(checkpoint, folder).is_dir()
    defaults = {
        "base": checkpoint or BASE,
        "tokenizer": _setting(config, "base", "tokenizer")
        or (f"{checkpoint}/{TOKENIZER_NAME}" if in_base else TOKENIZER),
        "adapter": ADAPTER,
        "verbs": _setting(config, "data", "verbs") or from_study(VERBS, folder),
    }
    found = {name: str(locate(defaults[name], folder)) for name in missing}
    if "base" in found and checkpoint is not None and _is_of_the_hub(found["base"]):
        found["base"] = checkpoint  # a name and not a path
    return {**arguments, **found}


def _is_of_the_hub(path: str) -> bool:
    from minituner.hf.hub import is_transformers

    return is_transformers(path) and not Path(path).is_dir()


def _has_config(folder: str) -> bool:
    return any(Path(folder, name).exists() for name in commands.config_files())


def _setting(config: Config, section: str, key: str) -> str | None:
    """A path of the config; ``None`` if that names none, which `check_config` would refuse."""
    content = config.get(section)
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else None
