"""Nested mappings such as the config, and their dotted keys such as ``lora.alpha``.

Lists count as values. No function changes its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted key."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def subset(config: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Only the named parts, nested as in ``config``.

    Args:
        keys: Dotted keys of values or of whole sections, such as ``lora.alpha`` or ``train``.

    Raises:
        KeyError: ``config`` does not have one of them.
    """
    result: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, result
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return result


def merge(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with a second nested mapping laid over it, key by key as Snakemake does."""
    result = dict(config)
    for key, value in overrides.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = merge(below, value)
        result[key] = value
    return result


def with_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with the values of dotted keys replaced."""
    result = dict(config)
    for key, value in overrides.items():
        first, _, rest = key.partition(".")
        result[first] = with_overrides(result.get(first, {}), {rest: value}) if rest else value
    return result


def changed_keys(used: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of ``used`` whose value in ``now`` is different or missing."""
    keys: list[str] = []
    for key, value in used.items():
        current = now.get(key)
        if isinstance(value, Mapping) and isinstance(current, Mapping):
            keys += changed_keys(value, current, f"{prefix}{key}.")
        elif value != current:
            keys.append(f"{prefix}{key}")
    return keys
