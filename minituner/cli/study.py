"""The study that a command is about: its config, and its files as defaults of arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minituner import commands
from minituner.errors import UserError
from minituner.hf.hub import HUB_NAME, is_transformers
from minituner.pipeline.ownership import owner
from minituner.pipeline.paths import ADAPTER, BASE, TOKENIZER, VERBS
from minituner.pipeline.project import from_study, locate

Config = Mapping[str, Any]
# Arguments whose default is the study's.
DEFAULTED = ("base", "tokenizer", "start_token", "adapter", "verbs", "pairs", "scoring")


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
    """The arguments of a command, with what the study uses for each that was not given.

    With a base that was given, the study's start token and the tokenizer of its transformers base
    are not used; with verbs that were given, its pairs are not.

    Raises:
        UserError: The study's config cannot be read.
    """
    missing = [name for name in DEFAULTED if name in arguments and arguments[name] is None]
    if not missing:
        return dict(arguments)
    folder = arguments["study"]
    config = read_study_config(folder) if _has_config(folder) else {}
    defaults = _defaults_of(config, folder)
    given = {name for name, value in arguments.items() if value is not None}
    if "base" in given:  # not the study's
        defaults |= {"start_token": None}
        if is_transformers(arguments["base"]):
            defaults |= {"tokenizer": None}
    if "verbs" in given:
        defaults |= {"pairs": None}
    return {**arguments, **{name: defaults[name] for name in missing}}


def _defaults_of(config: Config, folder: str) -> dict[str, str | None]:
    """What a study uses; None where it has no such file or setting, or a transformers base's own
    tokenizer."""

    def file(path: str | None) -> str | None:
        return None if path is None else str(locate(path, folder))

    base = file(_setting(config, "base", "checkpoint") or BASE)
    tokenizer = _setting(config, "base", "tokenizer")
    if base is not None and not Path(base).exists():
        base = _hub_name(_setting(config, "base", "checkpoint")) or base
    if tokenizer is None and not is_transformers(base):
        tokenizer = TOKENIZER
    return {
        "base": base,
        "tokenizer": file(tokenizer),
        "start_token": _setting(config, "base", "start_token"),
        "adapter": file(ADAPTER),
        "verbs": file(_setting(config, "data", "verbs") or from_study(VERBS, folder)),
        "pairs": file(_setting(config, "task", "pairs")),
        "scoring": _setting(config, "task", "scoring"),
    }


def _hub_name(checkpoint: str | None) -> str | None:
    """The name of a model of the hub, which is no path in the study; None if it is not one."""
    is_name = is_transformers(checkpoint) and HUB_NAME.fullmatch(checkpoint or "")
    return checkpoint if is_name else None


def _has_config(folder: str) -> bool:
    return any(Path(folder, name).exists() for name in commands.config_files())


def _setting(config: Config, section: str, key: str) -> str | None:
    """A text of the config; ``None`` if it has none, which `check_config` may refuse."""
    content = config.get(section)
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, str) else None
