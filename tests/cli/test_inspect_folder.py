"""inspect: folders of transformers and PEFT, and the files of a study of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from project import ROOT
from tiny_models import save_folder, tiny_folder, tiny_network

from minituner.adapter_tensors import named_lora_parameters
from minituner.bases import load_base_model
from minituner.cli.inspect import explain
from minituner.cli.main import main
from minituner.data.skeleton import CONTROL, PAIRS
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.storage.adapter import save_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer


@pytest.fixture
def folder(tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a tiny Llama in the working folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_folder(Path("llama"), tokenizer)


def weights_of(folder: Path) -> int:
    return sum(weight.numel() for weight in load_base_model(folder).parameters())


def test_a_model(folder: Path, tokenizer: TextTokenizer) -> None:
    size = (folder / "model.safetensors").stat().st_size
    tokens = f"{tokenizer.vocab_size} tokens"
    text = explain(folder)
    assert text.startswith(
        "A base in transformers' format.\n"
        "  architecture: LlamaForCausalLM\n"
        "  shape: 2 layers, d = 32\n"
        f"  vocabulary: {tokenizer.vocab_size + 6}\n"
        "  context: 64 tokens\n"
        f"  weights: {weights_of(folder):,}, F32, {size:,} bytes in 1 file\n"
        f"  tokenizer: {tokens}; a text begins with <bos> and ends with <eos>\n"
    )
    assert "written by" not in text and "holds: config.json" in text


def test_a_model_in_shards_and_bfloat16(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    network = tiny_network("gpt2", tokenizer).to(torch.bfloat16)
    path = save_folder(tmp_path / "gpt2", network, tokenizer, max_shard_size="40KB")
    count = len(list(path.glob("*.safetensors")))
    text = explain(path)
    assert count > 1 and "BF16, " in text and f"bytes in {count} files" in text
    assert f"weights: {weights_of(path):,}, " in text  # a tied head is stored once
    assert "architecture: GPT2LMHeadModel\n  shape: 2 layers, d = 32" in text


def test_a_model_that_cannot_be_a_base_is_still_explained(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["BertForMaskedLM"], "auto_map": {"AutoModel": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit")
    text = explain(folder)
    assert "architecture: BertForMaskedLM" in text
    assert "cannot be a base: is not a causal language model" in text
    assert "code of its own: config.json names some, which is never executed" in text
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    text = explain(folder)
    assert "cannot be a base: has its weights only as pickles" in text
    assert "pickles, never loaded: pytorch_model.bin" in text


@pytest.fixture
def exports(folder: Path) -> Path:
    """The folder with an adapter of the model, in PEFT's format and merged."""
    model = load_base_model(folder)
    sha256 = weights_sha256(model.state_dict())
    wrap(model, LoRAConfig(4, 12.0, 0.0, ("down_proj",)), 0)
    for parameter in named_lora_parameters(model).values():
        torch.nn.init.normal_(parameter)
    save_adapter("a.pt", model, sha256, 5)
    files = ["--base", "llama", "--adapter", "a.pt"]
    assert main(["export", "--to", "peft", "peft", *files]) == 0
    assert main(["export", "--to", "transformers", "--merge", "merged", *files]) == 0
    return folder.parent


def test_exports(exports: Path) -> None:
    text = explain(exports / "merged")
    assert "written by: minituner export: base with an adapter merged into it\n" in text
    assert f"weights: {weights_of(Path('merged')):,}, F32" in text
    text = explain("peft")
    assert text.startswith("An adapter in PEFT's format.\n  base: llama\n  rank: 4\n")
    assert "kind: LoRA, rank 4, alpha 12, scaling 3\n  layers: model.layers.0.mlp.down_proj" in text
    assert "An adapter, for one base only.\n  kind: LoRA, rank 4" in explain("a.pt")


def test_adapters_that_hide_in_a_models_folder_are_named(exports: Path) -> None:
    for name in ("checkpoint-5", ".hidden"):
        shutil.copytree(exports / "peft", f"llama/{name}")
    assert "adapters in PEFT's format in: .hidden, checkpoint-5\n" in explain("llama")
    shutil.copy("peft/adapter_config.json", "llama")
    text = explain("llama")
    assert text.startswith("An adapter in PEFT's format.\n")
    assert "beside a model: config.json; transformers loads the adapter over its base" in text
    assert "weights: none" in text
    Path("llama/adapter_model.bin").write_bytes(b"cos\nsystem\n")
    assert "only pickles, never loaded: adapter_model.bin" in explain("llama")


def test_what_init_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "s"]) == 0
    assert explain(f"s/{PAIRS}").startswith(
        "A task file: one minimal pair per line.\n"
        "  pairs: 160, 160 of them with a blank, 0 with a list of wrong forms\n"
        "  by group: child 20, foot 20"
    )
    assert explain(f"s/{CONTROL}").startswith(
        "A control set: one text per line.\n  rows: 160, 160 of them texts\n  words per text: "
    )
    assert "keys: task, base, ranks" in explain("s/config.yaml")
    assert explain("s/.gitignore").startswith("Text")
    text = explain("s")
    assert "task: irregular plurals\n  pairs: data/pairs.jsonl\n  scoring: fill_in\n" in text
    assert "base: a MiniGPT that the study pretrains\n  ranks: [2, 8, 32]\n" in text
    assert "report: none yet" in text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [
                {"prompt": "A __.", "target": "x", "wrong": ["y", "z"], "split": "test"},
                {"prompt": "B", "target": "x", "wrong": "y", "form": "f"},
            ],
            "pairs: 2, 1 of them with a blank, 1 with a list of wrong forms\n"
            "  by form: f 1\n  by split: test 1",
        ),
        (
            [{"text": "One two."}, {"text": "One"}],
            "rows: 2, 2 of them texts\n  words per text: 1.5",
        ),
        ([{"text": "One two.", "source": "x"}], "JSON rows."),
    ],
)
def test_task_and_control_files(tmp_path: Path, rows: list[dict[str, object]], words: str) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert words in explain(tmp_path / "rows.jsonl")


def test_a_model_is_explained_without_torch_and_transformers(folder: Path) -> None:
    code = (
        f"import sys; from minituner.cli.inspect import explain; explain({str(folder)!r}); "
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
