"""The config: its files, merged and checked. Each mistake is reported by its file and key."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.pipeline.config_rules import rule_problems
from minituner.pipeline.nested import flatten, merge, with_overrides
from minituner.pipeline.ownership import OVERWRITE
from minituner.pipeline.project import LINK, PROJECT, is_project, locate
from minituner.storage.messages import brief
from minituner.storage.schema import Keys, Problem, load_schema, schema_problems
from minituner.storage.strict_yaml import read_yaml
from minituner.storage.text import not_utf8

Config = Mapping[str, Any]
COMMAND_LINE = "--config"  # in place of a file in messages
SCHEMA = PROJECT / "rules/config.schema.yaml"
# The project's config.yaml, for whatever a study in another folder does not set.
DEFAULTS = f"{LINK}/config.yaml"
# Of its values, those that are paths.
PATHS = (
    *("data.verbs", "data.corpus", "base.corpus", "base.checkpoint", "base.tokenizer"),
    *("task.pairs", "task.controls.*.file"),
)
NOTHING = object()  # the value of a missing key


def check_config(config: Config, schema_path: str | Path, paths: Iterable[str | Path] = ()) -> None:
    """Refuse a config that does not fit its schema, contradicts itself, or names missing files.

    Args:
        schema_path: The schema; it is read once per process.
        paths: The files that the config was merged from, in that order, so that messages name the
            right one; a value that none of them holds is from the command line. Without paths,
            messages name config.yaml.

    Raises:
        UserError: It names every key that is wrong, what was found and what was expected.
    """
    layers = _read_layers(paths)
    mistakes = Mistakes()
    for name in (name for name, layer in layers.items() if OVERWRITE in layer):
        mistakes.add(_not_in_a_file(name))
    problems = schema_problems(dict(config), load_schema(schema_path), "config.yaml", overlays=True)
    for problem in problems:
        source = _source(problem, config, layers)
        mistakes.add(
            (_at_command_line(problem) if source == COMMAND_LINE else problem).error(source)
        )
    for found in rule_problems(config, problems):
        mistakes.add(
            found if isinstance(found, UserError) else _last_written(found, config, layers)
        )
    mistakes.raise_if_any()


def _not_in_a_file(name: str) -> UserError:
    """In a file, it would let every later run replace another study's results."""
    return UserError(
        f"{name}: {OVERWRITE}",
        "is only for the command line",
        found=f"{OVERWRITE} in a file",
        expected=f"--config {OVERWRITE}=true, with the run that it is meant for",
        fix="remove it from the file",
    )


def _at_command_line(problem: Problem) -> Problem:
    """The same problem of a value from the command line that does not fit the schema."""
    fix = (
        "write it into a file and pass that with --configfile: Snakemake reads everything that is "
        "nested in --config as text"
    )
    return replace(problem, fix=fix)


def _last_written(problem: Problem, config: Config, layers: Mapping[str, Config]) -> UserError:
    """The error for values that do not agree, at the one that was written last; at the problem's
    own key if none was written after that."""
    order = [*(layers or ["config.yaml"]), COMMAND_LINE]

    def source(keys: Keys) -> str:
        return _source(replace(problem, keys=keys), config, layers)

    last = max((problem.keys, *problem.others), key=lambda keys: order.index(source(keys)))
    return replace(problem, keys=last).error(source(last))


def _source(problem: Problem, config: Config, layers: Mapping[str, Config]) -> str:
    """The last file that holds the value; for a missing key, the first that holds its parent."""
    if not layers:
        return "config.yaml"
    if problem.missing:
        parents = ((name, _value_at(layer, problem.keys[:-1])) for name, layer in layers.items())
        return next((name for name, at in parents if isinstance(at, Mapping)), COMMAND_LINE)
    value = _value_at(config, problem.keys)
    for name, layer in reversed(list(layers.items())):
        found = _value_at(layer, problem.keys)
        if found == value or repr(found) == repr(value):  # NaN differs from itself
            return name
        if isinstance(found, Mapping) and isinstance(value, Mapping):
            return name
    return COMMAND_LINE


def _value_at(config: Any, keys: Keys) -> Any:
    """The value of these keys, or :data:`NOTHING`; a list counts as one value."""
    for key in keys:
        if not isinstance(config, Mapping):
            return config
        if key not in config:
            return NOTHING
        config = config[key]
    return config


def require_study(folder: str) -> None:
    """Refuse a working folder without a config.yaml.

    Args:
        folder: Its name, for the message.

    Raises:
        UserError: It has none.
    """
    if not Path("config.yaml").exists():
        raise UserError(
            Path(folder, "config.yaml"),
            "there is no such file",
            found="a folder without a study",
            expected="the config of a study: what differs from the project's config.yaml",
            fix=f"check the folder's name, or begin a study: minituner init {shlex.quote(folder)}",
        )


def default_files(folder: str | Path = ".") -> list[str]:
    """The file with the defaults of a study in ``folder``; none in the project's own folder, whose
    config.yaml is that file."""
    return [] if is_project(folder) else [DEFAULTS]


def read_config(paths: Iterable[str | Path]) -> dict[str, Any]:
    """A config with its overlays, merged key by key as Snakemake does.

    Raises:
        UserError: A file is missing, is not YAML, has no keys, or has a key twice.
    """
    config: dict[str, Any] = {}
    for overlay in _read_layers(paths).values():
        config = merge(config, overlay)
    return config


def _read_layers(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """The content of each file, by its name as messages show it."""
    mistakes = Mistakes()
    layers = {}
    for path in map(str, paths):
        file = locate(path)
        name = str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)
        with mistakes.noted():
            layer = _read_layer(name)
            layers[name] = _from_study(layer) if path == DEFAULTS else layer
    mistakes.raise_if_any()
    return layers


def _from_study(defaults: Config) -> dict[str, Any]:
    """The defaults with their paths as a study in another folder names them."""
    named = {
        key: f"{LINK}/{value}"
        for key, value in flatten(defaults)
        if any(fnmatch(key, path) for path in PATHS)
        and isinstance(value, str)
        and not Path(value).is_absolute()
        # Else it may be the name of a model of the hub.
        and (key != "base.checkpoint" or locate(f"{LINK}/{value}").exists())
    }
    return with_overrides(defaults, named)


def _read_layer(path: str) -> dict[str, Any]:
    layer = read_yaml(path)
    raw = Path(path).read_bytes()
    try:
        raw.decode("utf-8")
    except (
        UnicodeDecodeError
    ) as error:  # a byte-order mark of another encoding: Snakemake ignores it
        raise not_utf8(path, raw, error.start) from error
    if not isinstance(layer, dict) or not layer:
        raise UserError(
            path,
            "has no keys",
            found=brief(layer),
            expected="the keys of config.yaml, or some of them",
            fix="write the keys to change, or leave the file out",
        )
    return layer
