"""Files of tensors: the same bytes for the same values, nothing in them executed, a hash."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from minituner.errors import UserError
from minituner.storage.tensors import (
    check_tensors,
    load_safetensors,
    load_tensors,
    save_safetensors,
    save_tensors,
    weights_sha256,
)


def test_weights_sha256_sees_names_types_shapes_and_bytes() -> None:
    x = torch.arange(6.0)
    states = [{"a": x}, {"b": x}, {"a": x.view(2, 3)}, {"a": -x}, {"a": x.double()}, {}]
    assert len({weights_sha256(state) for state in states}) == len(states)
    assert weights_sha256({"a": x, "b": -x}) == weights_sha256({"b": -x, "a": x})


def test_save_tensors_writes_the_same_bytes_for_the_same_values(tmp_path: Path) -> None:
    value = {"format": "x", "weights": {"a": torch.arange(6.0)}, "log": [[1, None, 0.5]]}
    save_tensors(tmp_path / "one.pt", value)
    save_tensors(tmp_path / "another name.pt", {**value, "weights": {"a": torch.arange(6.0)}})
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "another name.pt").read_bytes()
    found = load_tensors(tmp_path / "one.pt", "x")
    assert torch.equal(found["weights"]["a"], torch.arange(6.0)) and found["log"] == value["log"]


def test_load_tensors_refuses_another_format(tmp_path: Path) -> None:
    for value, found in (({"format": "y"}, "y"), ({}, "no format")):
        save_tensors(tmp_path / "a.pt", value)
        with pytest.raises(UserError, match=f"another format\n  found:    {found}\n.*'x'"):
            load_tensors(tmp_path / "a.pt", "x")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.victim), "w")


@pytest.mark.parametrize("kind", ["a pickle", "a checkpoint"])
def test_code_in_a_file_is_never_run(tmp_path: Path, kind: str) -> None:
    path, victim = tmp_path / "best.pt", tmp_path / "victim"
    value = {"format": "x", "weights": {"x": Payload(victim)}}
    if kind == "a pickle":
        path.write_bytes(pickle.dumps(value, protocol=2))
        pickle.loads(path.read_bytes())["weights"]["x"].close()
    else:
        torch.save(value, path)
        torch.load(path, weights_only=False)["weights"]["x"].close()
    assert victim.exists(), "the payload must be live, or the test shows nothing"
    victim.unlink()
    with pytest.raises(UserError, match="nothing in it was executed"):
        load_tensors(path, "x")
    assert not victim.exists()


def test_safetensors_metadata_keep_their_order(tmp_path: Path) -> None:
    # The library's own order differs from run to run, and so would the bytes.
    path = tmp_path / "t.safetensors"
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}
    for names in ([f"key {i}" for i in range(20)], [f"key {i}" for i in reversed(range(20))]):
        save_safetensors(path, tensors, dict.fromkeys(names, "ä"))
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        assert size % 8 == 0
        assert list(json.loads(content[8 : 8 + size])["__metadata__"]) == names
        loaded, texts = load_safetensors(path)
        assert texts == dict.fromkeys(names, "ä")
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
        assert load_file(path).keys() == tensors.keys()  # the library's own reader


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": torch.ones(2)}, "tensors are missing\n  found:    b\n"),
        ({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}, "unknown tensors\n.*: +c\n"),
        ({"a": torch.ones(2).double(), "b": torch.ones(3)}, "float32 tensors\n  found:    a\n"),
        ({"a": 3, "b": torch.ones(3)}, "float32 tensors\n  found:    a\n"),
        ({"a": torch.ones(3), "b": torch.ones(3)}, r"shape\n  found:    a \(3,\)\n.*a \(2,\)\n"),
        ({"a": torch.ones(2), "b": torch.tensor([0, math.inf, 1])}, "not finite.*\n.*: +b\n"),
        ({"a": torch.ones(2), "b": torch.tensor([0, math.nan, 1])}, "not finite.*\n.*: +b\n"),
    ],
)
def test_check_tensors_names_what_differs(state: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        check_tensors(state, {"a": (2,), "b": (3,)}, "file.pt")
    assert str(refusal.value).startswith("file.pt: ")
