"""What the report says about a base of the user's own, and about further control sets."""

from __future__ import annotations

import json
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
    limit: float  # of the relative change of its perplexity


def control_sets(metrics: HeadlineMetrics, gates: Gates, name: str) -> list[ControlSet]:
    """Every control set, if there are several; first the one that the study is named by.

    Args:
        name: What the report calls the first control set.
    """
    before, after = metrics["before"], metrics["after"]
    gate = "control_ppl_drift"
    sets: list[ControlSet] = [
        {
            "name": name,
            "before": before["control"],
            "after": after["control"],
            "limit": gates[gate]["threshold"],
        }
    ]
    for further, tuned in after.get("controls", {}).items():
        limit = gates.get(f"{gate}/{further}", gates[gate])["threshold"]
        untuned = before["controls"][further]
        sets.append({"name": further, "before": untuned, "after": tuned, "limit": limit})
    return sets if len(sets) > 1 else []
