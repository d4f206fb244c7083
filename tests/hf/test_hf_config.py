"""A config whose base is a folder, or the name of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from tiny_models import save_folder, tiny_network

from minituner.errors import UserError
from minituner.hf.names import stored_matrices
from minituner.pipeline.config import check_config, read_config
from minituner.tokenizer import TextTokenizer

GPT2_LAYERS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
SCHEMA = ROOT / "rules/config.schema.yaml"


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The study's config over the folder of a tiny Llama."""
    monkeypatch.chdir(ROOT)
    config = read_config(["config.yaml"])
    config["base"] |= {"checkpoint": str(folder), "tokenizer": None, "corpus": None}
    config["lora"]["target_modules"] = "all-linear"
    return config


def refusal_of(config: dict[str, Any]) -> str:
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    return str(refusal.value)


def test_folder_needs_no_tokenizer(config: dict[str, Any], folder: Path) -> None:
    check_config(config, SCHEMA)
    config["base"]["start_token"] = "<s>"
    check_config(config, SCHEMA)
    config["base"]["tokenizer"] = str(folder / "tokenizer.json")
    check_config(config, SCHEMA)


def test_the_corpus_of_the_projects_base_is_not_a_folders(config: dict[str, Any]) -> None:
    config["base"]["corpus"] = "data/processed/base-corpus"
    message = refusal_of(config)
    assert "base.corpus: is what the project's own base reads" in message
    assert "write corpus: null under base" in message
    config["base"]["corpus"] = "data/processed/verb-corpus"  # rows of the user's
    check_config(config, SCHEMA)


def test_mistakes_in_a_folder_are_mistakes_in_the_config(
    config: dict[str, Any], folder: Path
) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer.json").unlink()
    config["train"]["epochs"] = 0
    message = refusal_of(config)
    assert "3 mistakes" in message
    for words in (
        "model.safetensors: is not a safetensors",
        "tokenizer.json: there is no",
        "epoch",
    ):
        assert words in message
    config["base"]["tokenizer"] = "no/tokenizer.json"
    assert "base.tokenizer: there is no such file" in refusal_of(config)


@pytest.mark.parametrize("targets", [["down_proj"], ["mlp.up_proj", "q_proj"], "all-linear"])
def test_targets_of_a_folder_are_accepted(config: dict[str, Any], targets: Any) -> None:
    config["lora"]["target_modules"] = targets
    check_config(config, SCHEMA)


def test_stored_matrices_of_shards_and_of_bfloat16(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    network = tiny_network("gpt2", tokenizer)
    save_folder(tmp_path / "one", network, tokenizer)
    save_folder(tmp_path / "more", network.bfloat16(), tokenizer, max_shard_size="20KB")
    assert len(list((tmp_path / "more").glob("*.safetensors"))) > 1
    one, more = (sorted(stored_matrices(str(tmp_path / name))) for name in ("one", "more"))
    layers = [f"h.{i}.{name}" for i in range(2) for name in GPT2_LAYERS]
    assert one == more == sorted(f"transformer.{name}" for name in [*layers, "wte", "wpe"])
    assert stored_matrices(str(tmp_path / "none")) == []


def test_targets_that_a_folder_lacks_are_refused_before_anything_runs(
    config: dict[str, Any],
) -> None:
    """Among them the default, which is a layer of a MiniGPT."""
    config["lora"]["target_modules"] = ["mlp.fc2", "q_proj", "down_prj"]
    message = refusal_of(config)
    assert "2 mistakes" in message
    assert "config.yaml: lora.target_modules.0: the base has no such layer" in message
    assert "mlp.down_proj, mlp.gate_proj, mlp.up_proj, self_attn.k_proj" in message
    assert "embed_tokens" not in message


@pytest.mark.parametrize("layers", ["last 3", [0, 2]])
def test_layers_that_a_folder_lacks_are_refused_before_anything_runs(
    config: dict[str, Any], layers: Any
) -> None:
    """The tiny Llama has two."""
    config["lora"]["layers"] = layers
    message = refusal_of(config)
    assert "lora.layers: asks for layers that the model does not have" in message
    assert "some of the 2 layers" in message
    config["lora"]["layers"] = "last 2"
    check_config(config, SCHEMA)


def test_further_bases_and_another_start_token_are_of_a_minigpt_and_a_folder(
    config: dict[str, Any],
) -> None:
    config["base"]["seeds"] = [1]
    assert "a base of your own has no other seeds" in refusal_of(config)
    config["base"] |= {"seeds": [], "checkpoint": None, "start_token": "<s>"}
    assert "base.start_token: only a transformers base" in refusal_of(config)


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ("no/such/folder", "no/such/folder: there is no such folder"),
        ("some/model", "some/model: there is no such folder, and the model cannot be downloaded"),
        ("data", "data: is not the folder of a model"),
        ("own/{a}", "has a brace in its name"),
    ],
)
def test_base_that_is_not_there_is_refused(
    config: dict[str, Any], checkpoint: str, words: str
) -> None:
    config["base"]["checkpoint"] = checkpoint
    assert words in refusal_of(config)


def test_weights_file_is_not_a_checkpoint(config: dict[str, Any], folder: Path) -> None:
    config["base"]["checkpoint"] = str(folder / "model.safetensors")
    assert f"fix:      name the folder: {folder}" in refusal_of(config)
