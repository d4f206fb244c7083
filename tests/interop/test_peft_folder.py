"""Folders and files that are mistaken for a PEFT adapter are refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import CONFIG, WEIGHTS, change, logits_of, refusal
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from minituner.model import MiniGPT

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT has many


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")


FOLDERS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "empty": ((), ["an empty folder", "save_pretrained wrote"]),
    "pickled": ((CONFIG, "adapter_model.bin"), ["adapter_model.bin, a pickle", "save_pretrained"]),
    "MLX": ((CONFIG, "adapters.safetensors"), ["adapters.safetensors, an MLX adapter"]),
    "named": (
        ("mine/" + CONFIG, "mine/" + WEIGHTS, "README.md"),
        ["adapters: mine", "FOLDER/mine"],
    ),
    "Trainer's": (
        (f"checkpoint-5/{CONFIG}", f"checkpoint-9/{CONFIG}", "trainer_state.json"),
        ["adapters: checkpoint-5, checkpoint-9", "FOLDER/checkpoint-9"],
    ),
    "model": (("config.json", "model.safetensors"), ["model.safetensors: a whole model"]),
    "shards": (("config.json", "model-00001-of-2.safetensors"), ["a whole model"]),
    "old model": (("config.json", "pytorch_model.bin"), ["pytorch_model.bin: a whole model"]),
    "DeepSpeed": (("zero_to_fp32.py", "latest", "global_step2/x.pt"), ["DeepSpeed", "gather"]),
    "no weights": ((CONFIG,), [f"{CONFIG}, but no {WEIGHTS}", "copy the whole folder again"]),
    "no config": ((WEIGHTS,), [f"{WEIGHTS}, but no {CONFIG}", "copy the whole folder again"]),
    "other": (("notes.txt",), ["other files: notes.txt"]),
}


@pytest.mark.parametrize(("names", "words"), FOLDERS.values(), ids=FOLDERS)
def test_folders_mistaken_for_an_adapter_are_named(
    base: MiniGPT, tmp_path: Path, names: tuple[str, ...], words: list[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    touch(folder, *names)
    message = refusal(folder, base)
    assert message.startswith(f"{folder}: cannot be read as a PEFT adapter")
    for word in words:
        assert word.replace("FOLDER", str(folder)) in message


def test_missing_paths_and_files_are_named(base: MiniGPT, adapter: Path) -> None:
    assert "found:    nothing" in refusal(adapter / "nowhere", base)
    message = refusal(adapter / WEIGHTS, base)
    assert f"name its folder: {adapter}" in message
    assert "found:    a file" in refusal(Path(__file__), base)
    assert "found:    File name too long" in refusal(adapter / ("a" * 300), base)
    change(adapter, base_model_name_or_path="a" * 300)
    assert "found:    File name too long" in refusal(adapter, base)


def test_the_parent_folder_of_a_named_adapter_is_refused(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(r=4, target_modules=["fc2"], init_lora_weights=False)
    theirs: Any = get_peft_model(model, config, adapter_name="mine").eval()
    theirs.save_pretrained(tmp_path / "around")
    assert f"such as {tmp_path / 'around' / 'mine'}" in refusal(tmp_path / "around", base)
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    assert torch.allclose(logits_of(tmp_path / "around/mine", base, ids), expected, atol=1e-5)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_nothing_is_unpickled(base: MiniGPT, adapter: Path, tmp_path: Path, name: str) -> None:
    (adapter / WEIGHTS).unlink()
    (adapter / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert "a pickle" in refusal(adapter, base)
    assert not (tmp_path / "sprung").exists()
