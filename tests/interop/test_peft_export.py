"""An exported adapter computes the same in PEFT."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import (
    VARIANTS,
    WEIGHTS,
    assert_same_logits,
    config_of,
    refusal,
    run_import,
    tensors_of,
)
from models import bytes_of
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear as PeftLinear
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from minituner.__main__ import main
from minituner.adapter_tensors import lora_state_dict
from minituner.interop.opt_export import export_base, opt_name
from minituner.interop.peft_export import export_adapter, export_adapter_file
from minituner.interop.peft_import import import_adapter
from minituner.lora import LoRALinear, lora_layers, merge_
from minituner.model import MiniGPT
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT has many


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_export_adapter_gives_the_same_logits_and_merged_weights_in_peft(
    make_tuned: Callable[..., MiniGPT],
    exported: Path,
    tmp_path: Path,
    ids: Tensor,
    options: dict[str, Any],
) -> None:
    model = make_tuned("q_proj", "o_proj", "mlp.fc1", **options)
    export_adapter(
        config_of(model), lora_state_dict(model), tmp_path / "peft", model, str(exported)
    )
    theirs: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(exported), tmp_path / "peft"
    ).eval()
    assert_same_logits(theirs, model, ids)

    merged = theirs.merge_and_unload()
    merge_(model)
    for name, layer in lora_layers(model):
        their_weight = merged.get_submodule(opt_name(name)).weight
        assert torch.allclose(their_weight, layer.base.weight, atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_lora_linear_equals_pefts_layer_in_values_and_gradients(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(12, 20)
    ours = LoRALinear(linear, r=4, alpha=12.0, **options)
    config = LoraConfig(r=4, lora_alpha=12, init_lora_weights=True, **options)
    theirs = PeftLinear(copy.deepcopy(linear), "default", config, r=4, lora_alpha=12)
    nn.init.normal_(ours.lora_B)
    named = {
        "lora_A": theirs.lora_A["default"].weight,
        "lora_B": theirs.lora_B["default"].weight,
    }
    if ours.magnitude is not None:
        named["magnitude"] = theirs.lora_magnitude_vector["default"].weight
        nn.init.uniform_(ours.magnitude, 0.5, 2.0)
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(getattr(ours, name))
    x = torch.randn(3, 5, 12)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(each) for layer, each in zip((ours, theirs), inputs, strict=True)]
    assert torch.allclose(*outputs, atol=1e-5)
    for output in outputs:
        output.square().sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-3, rtol=1e-4)
    for name, parameter in named.items():
        assert torch.allclose(getattr(ours, name).grad, parameter.grad, atol=1e-3, rtol=1e-4), name


def test_export_adapter_records_config_and_provenance(
    make_tuned: Callable[..., MiniGPT], tmp_path: Path
) -> None:
    model = make_tuned("q_proj", "mlp.fc2", use_rslora=True)
    export_adapter(config_of(model), lora_state_dict(model), tmp_path, model, "opt")
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as stream:
        metadata = stream.metadata()
    assert metadata["base_sha256"] == "ab" * 32
    expected = {"r": "4", "alpha": "12.0", "scaling": "6.0", "seed": "3"}
    assert expected.items() <= metadata.items()
    assert "blocks.0.attn.q_proj" in json.loads(metadata["target_modules"])


def test_export_and_import_commands_round_trip(
    make_tuned: Callable[..., MiniGPT],
    base: MiniGPT,
    tokenizer: TextTokenizer,
    tmp_path: Path,
    ids: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_tuned("q_proj", "mlp.fc2", use_dora=True)
    save_tokenizer(tokenizer, "tokenizer.json")
    save_base("best.pt", base, "tokenizer.json")
    save_adapter("adapter.pt", model, weights_sha256(base.state_dict()), seed=3)
    common = ["--base", "best.pt"]
    tokens = ["--tokenizer", "tokenizer.json"]
    assert main(["export", "--to", "transformers", "opt", *common, *tokens]) == 0
    adapter = ["--adapter", "adapter.pt", "--base-name", "opt"]
    assert main(["export", "--to", "peft", "peft", *common, *adapter]) == 0
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("opt"), "peft").eval()
    assert_same_logits(theirs, model, ids)

    assert main(["import", "--from", "peft", "peft", "again.pt", *common]) == 0
    again = load_adapter("again.pt", copy.deepcopy(base))
    assert torch.equal(again(ids), model(ids))


@pytest.mark.parametrize("targets", ["all-linear", "q_proj"])
@pytest.mark.usefixtures("files")
def test_an_adapter_on_some_of_the_layers_is_the_same_in_peft_and_back(
    make_tuned: Callable[..., MiniGPT], base: MiniGPT, ids: Tensor, targets: str
) -> None:
    model = make_tuned(targets, layers="last 1")
    save_adapter("adapter.pt", model, weights_sha256(base.state_dict()), seed=3)
    assert torch.equal(load_adapter("adapter.pt", copy.deepcopy(base))(ids), model(ids))
    assert export_adapter_file("adapter.pt", "best.pt", "new", "opt") == []
    theirs: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("opt"), "new")
    adapted = {name for name, part in theirs.named_modules() if isinstance(part, PeftLinear)}
    assert adapted == {f"base_model.model.{opt_name(name)}" for name, _ in lora_layers(model)}
    assert all(".layers.1." in name for name in adapted)
    assert_same_logits(theirs.eval(), model, ids)

    theirs.save_pretrained("again")  # by PEFT itself
    imported = import_adapter("again", base)
    assert imported.config.lora.target_modules == tuple(name for name, _ in lora_layers(model))
    assert bytes_of(imported.weights) == bytes_of(lora_state_dict(model))


def test_export_warns_if_peft_will_not_find_the_base(
    files: Path,
    make_base: Callable[..., MiniGPT],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_import() == 0
    export_base(make_base(1), files / "tokenizer.json", files / "other")
    for name, words in (
        ("opt", ""),
        ("nowhere", "warning: there is no base in 'nowhere'"),
        ("", "warning: there is no base in ''"),
        ("other", "warning: there is another base in 'other'"),
    ):
        command = ["export", "--to", "peft", "new", "--base", "best.pt", "--adapter", "adapter.pt"]
        assert main([*command, "--base-name", name]) == 0
        errors = capsys.readouterr().err
        assert words in errors
        assert bool(errors) == bool(words)
        assert load_file(files / "new" / WEIGHTS).keys() == tensors_of().keys()


@pytest.mark.usefixtures("files")
def test_an_exported_adapter_keeps_the_hash_of_its_base(
    make_base: Callable[..., MiniGPT], base: MiniGPT
) -> None:
    assert run_import() == 0
    export_adapter_file("adapter.pt", "best.pt", "new", "nowhere")
    assert import_adapter("new", base).warnings == []
    assert "expected: base" in refusal(Path("new"), make_base(1))
