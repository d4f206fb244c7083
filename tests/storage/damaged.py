"""What the tests of damaged files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minituner.errors import UserError


def refusal_of(load: Callable[[], object], path: Path) -> str:
    """The message of the UserError that ``load`` raises; it names the path and a way to fix it."""
    with pytest.raises(UserError) as refusal:
        load()
    assert str(refusal.value).startswith(f"{path}: ")
    assert str(refusal.value).rpartition("fix:")[2].strip()
    return str(refusal.value)


def rename(mapping: dict[str, Any], old: str, new: str) -> None:
    """Misspell a key."""
    mapping[new] = mapping.pop(old)
