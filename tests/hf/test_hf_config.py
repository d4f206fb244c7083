"""A config whose base is a folder, or the name of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import check_config, read_config

SCHEMA = ROOT / "rules/config.schema.yaml"


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The study's config over the folder of a tiny Llama."""
    monkeypatch.chdir(ROOT)
    config = read_config(["config.yaml"])
    config["base"] |= {"checkpoint": str(folder), "tokenizer": None}
    return config


def refusal_of(config: dict[str, Any]) -> str:
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    return str(refusal.value)


def test_folder_needs_no_tokenizer(config: dict[str, Any], folder: Path) -> None:
    check_config(config, SCHEMA)
    config["base"] |= {"start_token": "<s>", "corpus": None}
    check_config(config, SCHEMA)
    config["base"]["tokenizer"] = str(folder / "tokenizer.json")
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
