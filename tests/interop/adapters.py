"""Adapters in PEFT's format, and comparisons of models, for several test modules."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minituner.__main__ import main
from minituner.adapter_tensors import load_lora_state_dict
from minituner.errors import UserError
from minituner.interop.peft_import import import_adapter
from minituner.lora import wrap
from minituner.model import MiniGPT
from minituner.storage.adapter import AdapterConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = "base_model.model.model.decoder.layers.{}.fc2.{}"  # block, part
A0, B0 = (NAME.format(0, part) for part in ("lora_A.weight", "lora_B.weight"))
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}
LENGTHS = (8, 5, 3)  # tokens of the texts in a batch; the rest is padding


def tensors_of(r: int = 4, layers: tuple[int, ...] = (0, 1)) -> dict[str, Tensor]:
    """The tensors that PEFT saves for an adapter on fc2, drawn; the base is 32 wide."""
    torch.manual_seed(0)
    return {
        NAME.format(layer, name): torch.randn(shape)
        for layer in layers
        for name, shape in (("lora_A.weight", (r, 128)), ("lora_B.weight", (32, r)))
    }


def change(folder: Path, **keys: Any) -> None:
    """Change keys of the config; the value ... deletes one."""
    values = json.loads((folder / CONFIG).read_text()) | keys
    values = {key: value for key, value in values.items() if value is not ...}
    (folder / CONFIG).write_text(json.dumps(values))


def refusal(folder: Path, base: MiniGPT) -> str:
    """The message with which the import is refused."""
    with pytest.raises(UserError) as caught:
        import_adapter(folder, base)
    return str(caught.value)


def logits_of(folder: Path, base: MiniGPT, ids: Tensor) -> Tensor:
    """The logits of the base with the imported adapter: (B, T, V)."""
    imported = import_adapter(folder, base)
    model = wrap(copy.deepcopy(base), imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights)
    with torch.no_grad():
        logits: Tensor = model.eval()(ids)
    return logits


def config_of(model: MiniGPT) -> AdapterConfig:
    """The config of a model's adapter, with a made-up base."""
    return AdapterConfig.of(model, base_sha256="ab" * 32, seed=3)


def mask_of(ids: Tensor) -> Tensor:
    """Which tokens are not padding: (B, T)."""
    return torch.arange(ids.shape[1])[None] < torch.tensor(LENGTHS)[:, None]


@torch.no_grad()
def assert_same_logits(theirs: Any, ours: MiniGPT, ids: Tensor) -> None:
    """Compare a model of transformers or PEFT with a MiniGPT on a padded batch."""
    real = mask_of(ids)
    found = theirs(input_ids=ids, attention_mask=real.long()).logits[real]
    expected = ours(ids)[real]  # padding comes after the text, and attention is causal
    assert found.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def run_import(adapter: str = "peft", out: str = "adapter.pt") -> int:
    """Run the command; returns its exit code."""
    return main(["import", "--from", "peft", adapter, out, "--base", "best.pt"])
