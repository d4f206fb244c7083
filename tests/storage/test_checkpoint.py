"""Base checkpoints: what is saved comes back bit for bit, and every file that does not fit is
refused."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged import refusal_of, rename
from models import bytes_of
from torch import Tensor

from minituner.errors import UserError
from minituner.fast.minigpt import FastMiniGPT
from minituner.lora import merge_, merge_and_unwrap
from minituner.model import MiniGPT, parameter_count
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.checkpoint import load_base, save_base
from minituner.storage.files import sha256
from minituner.storage.tensors import save_tensors, weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer


def test_save_base_and_load_base_keep_every_bit(base: MiniGPT, ids: Tensor, tmp_path: Path) -> None:
    save_base(tmp_path / "best.pt", base.train())
    loaded = load_base(tmp_path / "best.pt")
    assert loaded.config == base.config
    assert bytes_of(loaded.state_dict()) == bytes_of(base.state_dict())
    assert torch.equal(loaded(ids), base(ids))
    assert not loaded.training and isinstance(loaded, FastMiniGPT)
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_save_base_writes_the_same_bytes_for_the_same_model(base: MiniGPT, tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_base(tmp_path / name / "best.pt", copy.deepcopy(base))
    before = (tmp_path / "one" / "best.pt").read_bytes()
    assert before == (tmp_path / "two" / "best.pt").read_bytes()
    with torch.no_grad():
        base.ln_f.bias[0] += 1
    save_base(tmp_path / "one" / "best.pt", base)
    assert (tmp_path / "one" / "best.pt").read_bytes() != before


def test_base_file_holds_its_weights_and_nothing_else(base: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    assert set(torch.load(path, weights_only=True)) == {
        "format",
        "config",
        "tokenizer_sha256",
        "weights",
    }
    weights = 4 * parameter_count(base.config)
    assert weights < path.stat().st_size < 1.2 * weights


def test_loading_draws_no_random_numbers(base: MiniGPT, tmp_path: Path) -> None:
    save_base(tmp_path / "best.pt", base)
    state = torch.get_rng_state()
    load_base(tmp_path / "best.pt")
    assert torch.equal(torch.get_rng_state(), state)


def test_load_base_refuses_another_tokenizer_than_the_saved_one(
    base: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    best, own, other = (tmp_path / name for name in ("best.pt", "own.json", "other.json"))
    save_tokenizer(tokenizer, own)
    other.write_bytes(own.read_bytes() + b"\n")
    save_base(best, base, own)
    assert torch.load(best)["tokenizer_sha256"] == sha256(own)
    load_base(best, own)
    load_base(best)
    assert "not the file that the base was saved with" in refusal_of(
        lambda: load_base(best, other), other
    )
    refusal_of(lambda: load_base(best, tmp_path / "none.json"), tmp_path / "none.json")
    save_base(best, base)
    load_base(best, other)  # it names none


@pytest.mark.parametrize("merged", [False, True])
def test_save_base_refuses_a_model_with_adapters(
    tuned: MiniGPT, tmp_path: Path, merged: bool
) -> None:
    path = tmp_path / "best.pt"
    if merged:
        merge_(tuned)
    message = refusal_of(lambda: save_base(path, tuned), path)
    assert "blocks.0.attn.q_proj" in message and "merge_and_unwrap" in message
    assert not list(tmp_path.iterdir())


def test_save_base_takes_what_merge_and_unwrap_gives(
    tuned: MiniGPT, ids: Tensor, tmp_path: Path
) -> None:
    logits = tuned(ids)
    save_base(tmp_path / "best.pt", merge_and_unwrap(tuned))
    torch.testing.assert_close(load_base(tmp_path / "best.pt")(ids), logits, rtol=0, atol=1e-4)


BASE_DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing tensor": (lambda v: v["weights"].pop("ln_f.bias"), "missing.*ln_f.bias"),
    "an extra tensor": (lambda v: v["weights"].update(bonus=torch.ones(1)), "unknown.*bonus"),
    "a wrong shape": (
        lambda v: v["weights"].update({"ln_f.bias": torch.ones(3)}),
        r"shape.*ln_f.bias \(3,\).*ln_f.bias \(32,\)",
    ),
    "a NaN": (lambda v: v["weights"]["ln_f.bias"].fill_(math.nan), "not finite.*ln_f.bias"),
    "an infinity": (lambda v: v["weights"]["ln_f.bias"].fill_(math.inf), "not finite.*ln_f.bias"),
    "a misspelt key": (lambda v: rename(v["config"], "d_model", "d_modle"), "config.*d_modle"),
    "an impossible shape": (lambda v: v["config"].update(n_heads=5), "config.*n_heads 5"),
    "another width": (lambda v: v["config"].update(d_model=16), "shape.*expected.*16"),
    "no config": (lambda v: v.pop("config"), "config"),
    "another format": (lambda v: v.update(format="gpt2"), "another format.*gpt2.*minigpt-1"),
    "no format": (lambda v: v.pop("format"), "another format.*minigpt-1"),
}


@pytest.mark.parametrize("damage", BASE_DAMAGES)
def test_load_base_refuses_what_does_not_fit(base: MiniGPT, tmp_path: Path, damage: str) -> None:
    change, expected = BASE_DAMAGES[damage]
    path = tmp_path / "best.pt"
    save_base(path, base)
    value = torch.load(path)
    change(value)
    save_tensors(path, value)
    message = refusal_of(lambda: load_base(path), path)
    assert re.search(expected, message, re.DOTALL), message


@pytest.mark.parametrize(("key", "value"), [("d_model", 32.0), ("n_layers", "2"), ("n_heads", 0)])
def test_load_base_refuses_a_shape_that_is_not_a_whole_number(
    base: MiniGPT, tmp_path: Path, key: str, value: object
) -> None:
    save_base(tmp_path / "best.pt", base)
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    content["config"][key] = value
    save_tensors(tmp_path / "best.pt", content)
    with pytest.raises(UserError, match=f"its config cannot be used(.|\n)*{key} must be a whole"):
        load_base(tmp_path / "best.pt")


@pytest.mark.parametrize("tensor", [3, torch.ones(32).half(), torch.ones(32).long()])
def test_load_base_refuses_a_tensor_of_another_type(
    base: MiniGPT, tmp_path: Path, tensor: object
) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    value = torch.load(path)
    value["weights"]["ln_f.bias"] = tensor
    save_tensors(path, value)
    refusal_of(lambda: load_base(path), path)


def test_load_base_refuses_another_kind_of_file(base: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    assert "no such file" in refusal_of(lambda: load_base(path), path)
    save_base(path, base)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", b"no checkpoint at all\n" * 99):
        path.write_bytes(damaged)
        assert "cannot be read" in refusal_of(lambda: load_base(path), path)
    save_tensors(path, {"ln_f.bias": torch.ones(32)})  # a bare state_dict
    assert "another format" in refusal_of(lambda: load_base(path), path)


def test_base_and_adapter_are_not_confused(base: MiniGPT, tuned: MiniGPT, tmp_path: Path) -> None:
    best, adapter = tmp_path / "best.pt", tmp_path / "adapter.pt"
    save_base(best, base)
    save_adapter(adapter, tuned, weights_sha256(base.state_dict()), seed=5)
    assert "minituner-lora-1" in refusal_of(lambda: load_base(adapter), adapter)
    assert "minigpt-1" in refusal_of(lambda: load_adapter(best, base), best)
