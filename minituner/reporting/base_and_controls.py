"""What the report says about a base of the user's own, and about further control sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

from minituner.results import Gates, HeadlineMetrics, SplitMetrics


class Base(TypedDict):
    """A base as the config names it."""

    path: str
    architecture: str | None  # of a transformers model: "LlamaForCausalLM"; None if not known


def base_of(path: str) -> Base:
    """A checkpoint, or a transformers model in a folder, whose ``config.json`` has its class."""
    found: Any = None
    with suppress(OSError, ValueError):  # no such folder, or a file of the hub's cache
        found = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    names = found.get("architectures") if isinstance(found, dict) else None
    return {"path": path, "architecture": names[0] if isinstance(names, list) and names else None}


class ControlSet(TypedDict):
    """One control set before and after tuning, at the headline rank and seed."""

    name: str
    before: SplitMetrics
    after: SplitMetrics
    limit: float | None  # of the relative change of its perplexity; None if there is none


def control_sets(
    metrics: HeadlineMetrics, gates: Gates, task: Mapping[str, Any]
) -> list[ControlSet]:
    """Every control set, the one of the gate ``control_ppl_drift`` first; none if there is only
    that one."""
    before: Mapping[str, SplitMetrics] = metrics["before"].get("controls", {})
    after: Mapping[str, SplitMetrics] = metrics["after"].get("controls", {})
    first: ControlSet = {
        "name": task["control_name"],
        "before": metrics["before"]["control"],
        "after": metrics["after"]["control"],
        "limit": gates["control_ppl_drift"]["threshold"],
    }
    limits = {name: settings.get("max_drift") for name, settings in _settings(task).items()}
    further: list[ControlSet] = [
        {"name": name, "before": before[name], "after": after[name], "limit": limits.get(name)}
        for name in after
    ]
    return [first, *further] if further else []


def _settings(task: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The control sets of the config that have settings besides their file."""
    controls = task.get("controls") or {}
    return {name: value for name, value in controls.items() if isinstance(value, Mapping)}
