"""A base exported for transformers, and an adapter in PEFT's format over it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before transformers is imported; the tests need no network.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

from adapters import WEIGHTS, tensors_of
from peft import LoraConfig
from safetensors.torch import save_file

from minituner.interop.opt_export import export_base
from minituner.model import MiniGPT
from minituner.storage.checkpoint import save_base
from minituner.tokenizer import TextTokenizer, save_tokenizer


@pytest.fixture
def exported(base: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path) -> Path:
    """A folder with the base in transformers' format."""
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    export_base(base, tmp_path / "tokenizer.json", tmp_path / "opt")
    return tmp_path / "opt"


@pytest.fixture
def adapter(exported: Path, tmp_path: Path) -> Path:
    """A folder as PEFT saves it, with every key of the installed PEFT."""
    folder = tmp_path / "peft"
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=["fc2"],
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(exported),
    )
    config.save_pretrained(folder)
    save_file(tensors_of(), folder / WEIGHTS)
    return folder


@pytest.fixture
def files(base: MiniGPT, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the base's checkpoint, its export and PEFT's adapter."""
    monkeypatch.chdir(adapter.parent)
    save_base("best.pt", base, "tokenizer.json")
    return adapter.parent
