"""Nested mappings and dotted keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from minituner.pipeline.nested import changed_keys, flatten, merge, subset, with_overrides

CONFIG: dict[str, Any] = {"lora": {"alpha": 16, "target_modules": ["q"]}, "seeds": [0]}


def test_flatten_gives_dotted_keys_and_keeps_lists() -> None:
    assert dict(flatten(CONFIG)) == {
        "lora.alpha": 16,
        "lora.target_modules": ["q"],
        "seeds": [0],
    }


def test_subset_keeps_the_nesting() -> None:
    assert subset(CONFIG, "lora.alpha", "seeds") == {"lora": {"alpha": 16}, "seeds": [0]}
    assert subset(CONFIG, "lora") == {"lora": CONFIG["lora"]}
    with pytest.raises(KeyError):
        subset(CONFIG, "lora.rnak")


def test_with_overrides_changes_a_copy() -> None:
    before = json.dumps(CONFIG)
    assert with_overrides(CONFIG, {"lora.alpha": 4, "train.epochs": 6}) == {
        "lora": {"alpha": 4, "target_modules": ["q"]},
        "seeds": [0],
        "train": {"epochs": 6},
    }
    assert with_overrides(CONFIG, dict(flatten(CONFIG))) == CONFIG
    assert json.dumps(CONFIG) == before


def test_merge_replaces_values_and_lists_key_by_key() -> None:
    before = json.dumps(CONFIG)
    assert merge(CONFIG, {"lora": {"alpha": 4}, "seeds": [1, 2], "new": {"key": 1}}) == {
        "lora": {"alpha": 4, "target_modules": ["q"]},
        "seeds": [1, 2],
        "new": {"key": 1},
    }
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}
    assert merge({"a": {"b": 2}}, {"a": None}) == {"a": None}
    assert json.dumps(CONFIG) == before


def test_changed_keys_names_differing_and_missing_values() -> None:
    used = {"lora": {"alpha": 16, "dropout": 0.05}, "seeds": [0, 1]}
    now = {"lora": {"alpha": 16, "dropout": 0.1, "rank": 8}, "seeds": [0, 1], "ranks": [2]}
    assert changed_keys(used, now) == ["lora.dropout"]
    assert changed_keys(used, json.loads(json.dumps(used))) == []
    assert changed_keys(used, {"seeds": [0]}) == ["lora", "seeds"]
