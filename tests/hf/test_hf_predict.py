"""``predict`` over the folder of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import ROOT
from torch import nn

from minituner.adapter_tensors import named_lora_parameters
from minituner.bases import load_base_model
from minituner.cli.main import main
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.storage.adapter import save_adapter
from minituner.storage.tensors import weights_sha256


@pytest.fixture
def arguments(folder: Path) -> list[str]:
    model = load_base_model(folder)
    sha256 = weights_sha256(model.state_dict())
    wrap(model, LoRAConfig(2, target_modules=("down_proj",)), 0)
    for parameter in named_lora_parameters(model).values():
        nn.init.normal_(parameter)
    save_adapter(folder / "a.safetensors", model, sha256, 0)
    options = {"base": folder, "adapter": folder / "a.safetensors"}
    options["verbs"] = ROOT / "data/raw/verbs.yaml"
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_predict_over_a_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = ["predict", "He __ to school yesterday.", "--json", "--top", "2", *arguments]
    answers = []
    for more in ([], ["--start-token", "<unk>"]):
        assert main([*line, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for prediction in answers:
        assert len(prediction["base"]) == len(prediction["tuned"]) == 2
        assert prediction["base"] != prediction["tuned"]
    assert answers[0]["base"] != answers[1]["base"]
    assert main([*line, "--start-token", "<|start|>"]) == 1
    assert "is not a token of the base" in capsys.readouterr().err
