"""What a report says about a base of the user's own."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict


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
