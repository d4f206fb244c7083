"""The config: its files, merged and checked; what is wrong names the file and the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.pipeline.config_rules import RULES
from minituner.pipeline.config_schema import COMMAND_LINE, Keys, Problem, schema_problems
from minituner.pipeline.ownership import OVERWRITE
from minituner.storage.sections import brief
from minituner.storage.strict_yaml import read_yaml
from minituner.storage.text import not_utf8

Config = Mapping[str, Any]
NOTHING = object()  # where no value stands


def check_config(config: Config, schema_path: str | Path, paths: Iterable[str | Path] = ()) -> None:
    """Refuse a config that does not fit its schema, contradicts itself, or names missing files.

    Args:
        paths: The files it was merged from, in that order, to name the one that an error is in; a
            value that stands in none of them is the command line's. Without any, config.yaml.

    Raises:
        UserError: Naming every key that is wrong, what was found and what was expected.
    """
    layers = _read_layers(paths)
    mistakes = Mistakes()
    for name in (name for name, layer in layers.items() if OVERWRITE in layer):
        mistakes.add(_not_in_a_file(name))
    problems = schema_problems(config, read_yaml(schema_path))
    for problem in problems:
        source = _source(problem, config, layers)
        mistakes.add(
            (problem.at_command_line() if source == COMMAND_LINE else problem).error(source)
        )
    for reads, rule in RULES:
        # A rule can only look at values that are there and of their kinds.
        if not any(_overlap(problem.keys, key) for problem in problems for key in reads):
            for found in rule(config):
                error = _placed(found, config, layers) if isinstance(found, Problem) else found
                mistakes.add(error)
    mistakes.raise_if_any()


def _not_in_a_file(name: str) -> UserError:
    """There it would let every later run replace another study's results."""
    return UserError(
        f"{name}: {OVERWRITE}",
        "is for the command line alone",
        found=f"{OVERWRITE} in a file",
        expected=f"--config {OVERWRITE}=true, on the run that it is meant for",
        fix="remove it from the file",
    )


def _overlap(keys: Keys, dotted: str) -> bool:
    """Whether one of two ways to a value is the beginning of the other."""
    return all(one == other for one, other in zip(keys, dotted.split("."), strict=False))


def _placed(problem: Problem, config: Config, layers: Mapping[str, Config]) -> UserError:
    """Values that do not agree: the mistake is where the last of them was written. That is the
    problem's own value if it was written with that one, or later."""
    order = [*(layers or ["config.yaml"]), COMMAND_LINE]

    def source(keys: Keys) -> str:
        return _source(replace(problem, keys=keys), config, layers)

    last = max((problem.keys, *problem.others), key=lambda keys: order.index(source(keys)))
    if source(last) != source(problem.keys):
        problem = replace(problem, place=".".join(last))
    return problem.error(source(last))


def _source(problem: Problem, config: Config, layers: Mapping[str, Config]) -> str:
    """The last of the files to hold what a problem is about; of a missing key, the first."""
    if not layers:
        return "config.yaml"
    if problem.missing:
        return next(iter(layers))
    value = _value_at(config, problem.keys)
    for name, layer in reversed(list(layers.items())):
        found = _value_at(layer, problem.keys)
        if found == value or repr(found) == repr(value):  # NaN is unlike itself
            return name
        if isinstance(found, Mapping) and isinstance(value, Mapping):
            return name
    return COMMAND_LINE


def _value_at(config: Any, keys: Keys) -> Any:
    """What stands there, or :data:`NOTHING`; a list counts as one value."""
    for key in keys:
        if not isinstance(config, Mapping):
            return config
        if key not in config:
            return NOTHING
        config = config[key]
    return config


def read_config(paths: Iterable[str | Path]) -> dict[str, Any]:
    """A config with its overlays, merged key by key as Snakemake does.

    Raises:
        UserError: Files are missing, are not YAML or hold no keys, or hold a key twice.
    """
    config: dict[str, Any] = {}
    for overlay in _read_layers(paths).values():
        _merge(config, overlay)
    return config


def _read_layers(paths: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """What each file holds, by its name as a message shows it."""
    mistakes = Mistakes()
    layers = {}
    for path in map(Path, paths):
        name = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
        with mistakes.noted():
            layers[name] = _read_layer(name)
    mistakes.raise_if_any()
    return layers


def _read_layer(path: str) -> dict[str, Any]:
    layer = read_yaml(path)
    raw = Path(path).read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:  # another encoding by its mark, which Snakemake ignores
        raise not_utf8(path, raw, error.start) from error
    if not isinstance(layer, dict) or not layer:
        raise UserError(
            path,
            "holds no keys",
            found=brief(layer),
            expected="the keys of config.yaml, or some of them",
            fix="write the keys to change, or leave the file out",
        )
    return layer


def _merge(config: dict[str, Any], overlay: Config) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value


def config_subset(config: Config, *keys: str) -> dict[str, Any]:
    """Only the named parts of a config, nested as they are there.

    Args:
        keys: Dotted paths, such as ``train`` or ``lora.alpha``.
    """
    subset: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, subset
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return subset
