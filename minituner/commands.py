"""The config files of this process's study, and commands for the user that name them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

CONFIG = "config.yaml"

_config_files: tuple[str, ...] = (CONFIG,)


def use_config_files(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Set the config files of this process, for every command that is printed later.

    Args:
        paths: The files that were merged; ``config.yaml`` may be anywhere among them.

    Returns:
        ``config.yaml`` and then the other files in their order, each relative to the working
        folder if it is inside: so a study has the same name in another folder.
    """
    global _config_files
    overlays = [name for name in map(_name_of, paths) if name != CONFIG]
    _config_files = tuple(dict.fromkeys([CONFIG, *overlays]))
    return _config_files


def config_files() -> tuple[str, ...]:
    """The config files of this process."""
    return _config_files


def in_config(key: str) -> str:
    """``own/config.yaml: data.corpus``: a dotted key after the last config file that holds it.

    ``config.yaml`` if none does. The files are only read when a message needs them.
    """
    holding = [name for name in _config_files if _holds(_content_of(name), key.split("."))]
    return f"{(holding or [CONFIG])[-1]}: {key}"


def _content_of(path: str) -> Any:
    """The contents of a config file; ``None`` if it can no longer be read."""
    import yaml  # here, because only a message needs it

    with suppress(OSError, ValueError, yaml.YAMLError):
        return yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    return None


def _holds(content: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def _name_of(path: str | Path) -> str:
    path, here = Path(path), Path.cwd().resolve()
    absolute = path.parent.resolve() / path.name  # whichever link leads to the folder
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else str(absolute)


def snakemake(*targets: str, options: str = "--cores 4", files: Iterable[str] = ()) -> str:
    """A Snakemake command for ``targets``, of this process's study or of the one with ``files``."""
    overlays = [name for name in files or _config_files if name != CONFIG]
    configs = f"--configfile {shlex.join(overlays)}" if overlays else ""
    # Without the dashes Snakemake would read the targets as more config files.
    dashes = "--" if overlays else ""
    parts = ("snakemake", options, configs, dashes, shlex.join(targets))
    return " ".join(part for part in parts if part)


def with_config(arguments: Sequence[str], key: str, value: str) -> str:
    """A Snakemake command with these arguments and ``--config key=value``."""
    words = [word for word in arguments if not word.startswith(f"{key}=")]
    if "--config" in words:
        at, added = words.index("--config") + 1, [f"{key}={value}"]
    else:
        at, added = (
            words.index("--") if "--" in words else len(words),
            ["--config", f"{key}={value}"],
        )
    return shlex.join(["snakemake", *words[:at], *added, *words[at:]])


def make(target: str) -> str:
    """A make command for this process's study."""
    overlays = shlex.join(_config_files[1:])
    return f"make {target}" + (f" CONFIG={shlex.quote(overlays)}" if overlays else "")
