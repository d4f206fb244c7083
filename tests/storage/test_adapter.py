"""Adapter files of both kinds: what is saved comes back, and every file that does not fit is
refused."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged import refusal_of, rename
from models import bytes_of
from safetensors import safe_open
from torch import Tensor

from minituner.adapter_tensors import lora_state_dict, named_lora_parameters
from minituner.errors import UserError
from minituner.lora import lora_layers, merge_
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.storage.adapter import AdapterConfig, load_adapter, read_adapter, save_adapter
from minituner.storage.tensors import (
    load_safetensors,
    save_safetensors,
    save_tensors,
    weights_sha256,
)

KINDS = pytest.mark.parametrize("kind", ["pt", "safetensors"])


@KINDS
def test_save_adapter_and_load_adapter_keep_every_bit(
    base: MiniGPT, tuned: MiniGPT, ids: Tensor, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"adapter.{kind}"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    logits, plain = tuned(ids), base(ids)
    loaded = load_adapter(path, base.train())
    assert not torch.equal(logits, plain)
    assert torch.equal(loaded(ids), logits)
    assert bytes_of(lora_state_dict(loaded)) == bytes_of(lora_state_dict(tuned))
    layers = dict(lora_layers(loaded))
    assert set(layers) == {f"blocks.{i}.{x}" for i in range(2) for x in ("attn.q_proj", "mlp.fc2")}
    configs = {(x.config.r, x.config.alpha, x.config.dropout) for x in layers.values()}
    assert configs == {(4, 12.0, 0.1)}
    assert {layer.scaling for layer in layers.values()} == {3.0}


@KINDS
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_read_adapter_gives_the_saved_config(
    make_tuned: Callable[..., MiniGPT], tmp_path: Path, kind: str, options: dict[str, bool]
) -> None:
    model = make_tuned("blocks.1.mlp.fc2", "k_proj", **options)
    save_adapter(tmp_path / f"a.{kind}", model, "ab" * 32, seed=7)
    config, weights = read_adapter(tmp_path / f"a.{kind}")
    targets = ("blocks.0.attn.k_proj", "blocks.1.attn.k_proj", "blocks.1.mlp.fc2")
    assert config == AdapterConfig("ab" * 32, LoRAConfig(4, 12.0, 0.1, targets, **options), 7)
    assert bytes_of(weights) == bytes_of(lora_state_dict(model))


@KINDS
def test_save_adapter_writes_the_same_bytes_for_the_same_model(
    tuned: MiniGPT, tmp_path: Path, kind: str
) -> None:
    for name in ("one", "two"):
        save_adapter(tmp_path / name / f"a.{kind}", copy.deepcopy(tuned), "0" * 64, seed=5)
    one, two = ((tmp_path / name / f"a.{kind}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_safetensors_metadata_name_config_and_provenance(tuned: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, tuned, "ab" * 32, seed=5, provenance={"tokenizer_sha256": "cd" * 32})
    with safe_open(path, framework="pt") as stream:  # the library's own reader
        texts = stream.metadata()
        names = set(stream.keys())
        assert all(stream.get_tensor(name).any() for name in names if name.endswith("lora_A"))
    assert names == set(lora_state_dict(tuned))
    layers = [f"blocks.{i}.{x}" for i in range(2) for x in ("attn.q_proj", "mlp.fc2")]
    assert texts | {"target_modules": json.loads(texts["target_modules"])} == {
        "format": "pt",
        "minituner_format": "minituner-lora-1",
        "base_sha256": "ab" * 32,
        "r": "4",
        "alpha": "12.0",
        "dropout": "0.1",
        "target_modules": layers,
        "seed": "5",
        "use_rslora": "false",
        "use_dora": "false",
        "scaling": "3.0",
        "tokenizer_sha256": "cd" * 32,
    }


@pytest.mark.parametrize("damage", ["cut short", "no config", "a word for a number", "not there"])
def test_safetensors_that_are_not_an_adapter_are_refused(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    tensors, texts = load_safetensors(path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "no config":
        save_safetensors(path, tensors, {"format": "pt"})
    elif damage == "a word for a number":
        save_safetensors(path, tensors, texts | {"r": "four"})
    else:
        path.unlink()
    with pytest.raises(UserError) as refusal:
        load_adapter(path, base)
    assert str(refusal.value).startswith(f"{path}: ")


def test_loaded_adapter_is_ready_to_evaluate(base: MiniGPT, tuned: MiniGPT, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter.pt", tuned, weights_sha256(base.state_dict()), seed=5)
    loaded = load_adapter(tmp_path / "adapter.pt", base.train())
    assert not any(module.training for module in loaded.modules())
    trained = {name for name, p in loaded.named_parameters() if p.requires_grad}
    assert trained == set(lora_state_dict(loaded))


def test_load_adapter_refuses_a_model_with_adapters(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    base_sha256 = weights_sha256(base.state_dict())
    save_adapter(tmp_path / "adapter.pt", tuned, base_sha256, seed=5)
    once = load_adapter(tmp_path / "adapter.pt", base)
    with pytest.raises(UserError):
        load_adapter(tmp_path / "adapter.pt", once)
    with pytest.raises(UserError):
        load_adapter(tmp_path / "adapter.pt", once, base_sha256)


def test_save_adapter_does_not_overwrite_with_a_broken_one(tuned: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, "0" * 64, seed=5)
    before = path.read_bytes()
    with torch.no_grad():
        named_lora_parameters(tuned)["blocks.1.mlp.fc2.lora_B"][0, 0] = math.nan
    with pytest.raises(UserError, match=r"not finite[\s\S]*blocks\.1\.mlp\.fc2\.lora_B"):
        save_adapter(path, tuned, "0" * 64, seed=5)
    assert path.read_bytes() == before


def test_save_adapter_refuses_an_unwrapped_or_merged_model(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="has no adapters"):
        save_adapter(tmp_path / "a.pt", base, "0" * 64, seed=0)
    merge_(tuned)
    with pytest.raises(UserError, match="merged into the base"):
        save_adapter(tmp_path / "a.pt", tuned, "0" * 64, seed=0)
    assert not (tmp_path / "a.pt").exists()


ADAPTER_DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a missing tensor": (
        lambda v: v["weights"].pop("blocks.0.mlp.fc2.lora_A"),
        r"missing.*blocks\.0\.mlp\.fc2\.lora_A",
    ),
    "an extra tensor": (lambda v: v["weights"].update(bonus=torch.ones(1)), "unknown.*bonus"),
    "another rank": (lambda v: v["config"].update(r=8), r"shape.*lora_A \(4, "),
    "a NaN": (
        lambda v: v["weights"]["blocks.0.mlp.fc2.lora_B"].fill_(math.nan),
        r"not finite.*blocks\.0\.mlp\.fc2\.lora_B",
    ),
    "a misspelt key": (lambda v: rename(v["config"], "alpha", "aplha"), "config.*aplha"),
    "no alpha": (lambda v: v["config"].pop("alpha"), "config.*alpha"),
    "no targets": (lambda v: v["config"].pop("target_modules"), "config.*target_modules"),
    "another format": (lambda v: v.update(format="minituner-lora-0"), "format.*minituner-lora-1"),
}


@pytest.mark.parametrize("damage", ADAPTER_DAMAGES)
def test_load_adapter_refuses_what_does_not_fit(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, damage: str
) -> None:
    change, expected = ADAPTER_DAMAGES[damage]
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    value = torch.load(path)
    change(value)
    save_tensors(path, value)
    message = refusal_of(lambda: load_adapter(path, base), path)
    assert re.search(expected, message, re.DOTALL), message
    assert not list(lora_layers(base)), "a refused adapter must leave nothing behind"


@pytest.mark.parametrize(
    "values",
    [
        {"r": 0},
        {"r": "4"},
        {"r": 4.0},
        {"alpha": -1.0},
        {"target_modules": ["gate"]},
        {"base_sha256": None},
    ],
)
def test_load_adapter_refuses_an_impossible_value(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "adapter.pt"
    save_adapter(path, tuned, weights_sha256(base.state_dict()), seed=5)
    value = torch.load(path)
    value["config"] |= values
    save_tensors(path, value)
    refusal_of(lambda: load_adapter(path, base), path)


@KINDS
def test_load_adapter_refuses_the_adapter_of_another_base(
    base: MiniGPT, tuned: MiniGPT, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"adapter.{kind}"
    own = weights_sha256(base.state_dict())
    save_adapter(path, tuned, own, seed=5)
    with torch.no_grad():
        base.ln_f.bias[0] += 1e-6  # one weight, one bit or so
    other = weights_sha256(base.state_dict())
    message = refusal_of(lambda: load_adapter(path, base), path)
    assert f"found:    base {own[:12]}\n" in message
    assert f"expected: base {other[:12]}\n" in message
    assert not list(lora_layers(base))
