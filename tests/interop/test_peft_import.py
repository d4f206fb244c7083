"""An adapter that PEFT has trained is imported if it computes the same, and refused otherwise."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import (
    A0,
    CONFIG,
    NAME,
    VARIANTS,
    WEIGHTS,
    assert_same_logits,
    change,
    logits_of,
    refusal,
    run_import,
    tensors_of,
)
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.config import CordaConfig, LoraGAConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from minituner.adapter_tensors import load_lora_state_dict
from minituner.causal_lm import linear_layers
from minituner.errors import UserError
from minituner.interop.opt_export import opt_name
from minituner.interop.peft_export import export_adapter_file
from minituner.interop.peft_import import import_adapter
from minituner.lora import row_norms, wrap
from minituner.model import MiniGPT
from minituner.storage.adapter import load_adapter, read_adapter

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT has many


def trained(
    exported: Path, ids: Tensor, start: Any, converted_in: Path | None = None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """PEFT's model after two steps, and what its save_pretrained needs for a conversion."""
    model: Any = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(
        r=4, lora_alpha=12, target_modules=["v_proj", "fc2"], init_lora_weights=start, **options
    )
    if start == "corda":
        config.corda_config = CordaConfig()
        preprocess_corda(
            model, config, run_model=lambda: [model(input_ids=row[None]) for row in ids]
        )
    if start == "lora_ga":
        config.lora_ga_config = LoraGAConfig()
        preprocess_loraga(model, config, lambda: model(input_ids=ids, labels=ids).loss.backward())
    theirs: Any = get_peft_model(model, config)
    saving = {}
    if converted_in is not None:
        theirs.peft_config["default"].init_lora_weights = True
        theirs.save_pretrained(converted_in)
        theirs.peft_config["default"].init_lora_weights = start
        saving = {"path_initial_model_for_weight_conversion": str(converted_in)}
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], 1e-2)
    for _ in range(2):
        theirs(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return theirs.eval(), saving


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_import_computes_the_same_logits_after_training_in_peft(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, options: dict[str, Any]
) -> None:
    theirs: Any = get_peft_model(
        AutoModelForCausalLM.from_pretrained(exported),
        LoraConfig(r=4, lora_alpha=12, target_modules=["v_proj", "fc2"], **options),
    )
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], 1e-2)
    for _ in range(3):
        theirs(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.eval().save_pretrained(tmp_path / "peft")

    imported = import_adapter(tmp_path / "peft", base)
    assert set(imported.config.lora.target_modules) == {
        f"blocks.{i}.{layer}" for i in range(2) for layer in ("attn.v_proj", "mlp.fc2")
    }
    assert imported.warnings == []
    model = wrap(copy.deepcopy(base), imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights)
    assert_same_logits(theirs, model.eval(), ids)


@pytest.mark.parametrize("blocks", [1, [1], [0, 1]])
def test_import_of_an_adapter_on_some_of_the_layers(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, blocks: int | list[int]
) -> None:
    theirs, _ = trained(exported, ids, True, layers_to_transform=blocks)
    theirs.save_pretrained(tmp_path / "peft")
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    assert torch.allclose(logits_of(tmp_path / "peft", base, ids), expected, atol=1e-5)
    layers = import_adapter(tmp_path / "peft", base).config.lora.target_modules
    found = {int(name.split(".")[1]) for name in layers}
    assert found == set(blocks if isinstance(blocks, list) else [blocks])


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva", "orthogonal", "mica"])
def test_import_computes_the_same_logits_after_each_initialization(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, start: Any
) -> None:
    theirs, _ = trained(exported, ids, start)
    theirs.save_pretrained(tmp_path / "peft")
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    assert torch.allclose(logits_of(tmp_path / "peft", base, ids), expected, atol=1e-5)


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("start", ["pissa", "pissa_niter_2", "olora", "OLoRA", "corda", "lora_ga"])
def test_import_needs_a_conversion_where_the_initialization_changes_the_base(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, start: str, use_rslora: bool
) -> None:
    theirs, saving = trained(exported, ids, start, tmp_path / "start", use_rslora=use_rslora)
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    theirs.save_pretrained(tmp_path / "peft")
    message = refusal(tmp_path / "peft", base)
    assert f"{CONFIG}: init_lora_weights: is an adapter of another kind" in message
    assert start in message
    assert "path_initial_model_for_weight_conversion" in message
    change(tmp_path / "peft", init_lora_weights=True)  # but it is not plain LoRA
    found = logits_of(tmp_path / "peft", base, ids)
    assert (found - expected).abs().max() > 0.1

    theirs.save_pretrained(tmp_path / "converted", **saving)
    found = logits_of(tmp_path / "converted", base, ids)
    assert torch.allclose(found, expected, atol=1e-5)
    assert import_adapter(tmp_path / "converted", base).config.lora.r == 8


def test_import_refuses_an_adapter_over_pissas_residual_base(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor
) -> None:
    """As in PEFT's own example: the residual is saved as another base, and init_lora_weights is
    true."""
    theirs, _ = trained(exported, ids, "pissa", tmp_path / "start")
    theirs.unload().save_pretrained(tmp_path / "rest")
    change(tmp_path / "start", base_model_name_or_path=str(tmp_path / "rest"))
    message = refusal(tmp_path / "start", base)
    assert f"{CONFIG}: base_model_name_or_path: was trained over another base" in message
    assert f"{tmp_path / 'rest'}, with other weights" in message


def test_import_refuses_an_adapter_of_another_base(
    base: MiniGPT, make_base: Callable[..., MiniGPT], adapter: Path
) -> None:
    assert import_adapter(adapter, base).warnings == []
    message = refusal(adapter, make_base(1))
    assert f"{CONFIG}: base_model_name_or_path: was trained over another base" in message


def test_import_warns_if_the_base_cannot_be_found(base: MiniGPT, adapter: Path) -> None:
    for name in ("somebody/opt", None):
        change(adapter, base_model_name_or_path=name)
        (warning,) = import_adapter(adapter, base).warnings
        assert f"{adapter / CONFIG}: base_model_name_or_path: there is no base in" in warning


@pytest.mark.parametrize("use_dora", [False, True])
def test_import_warns_about_an_untrained_adapter(
    base: MiniGPT, exported: Path, tmp_path: Path, use_dora: bool
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(target_modules=["fc2", "q_proj"], use_dora=use_dora)
    get_peft_model(model, config).save_pretrained(tmp_path / "peft")
    (warning,) = import_adapter(tmp_path / "peft", base).warnings
    assert warning.startswith("the adapter changes nothing: ")


def test_import_warns_about_an_adapter_that_changes_nothing(
    files: Path, base: MiniGPT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_import() == 0
    assert capsys.readouterr().err == ""
    for zero in ("lora_A", "lora_B"):
        tensors = tensors_of().items()
        zeroed = {name: t * 0 if zero in name else t for name, t in tensors}
        save_file(zeroed, files / "peft" / WEIGHTS)
        assert run_import() == 0
        assert "warning: the adapter changes nothing: " in capsys.readouterr().err
    change(files / "peft", use_dora=True)
    layers = {opt_name(name): layer for name, layer in linear_layers(base)}
    for stretch, changes in ((1.0, False), (1.1, True)):
        for i in (0, 1):
            norms = row_norms(layers[f"model.decoder.layers.{i}.fc2"].weight)
            zeroed[NAME.format(i, "lora_magnitude_vector")] = stretch * norms
        save_file(zeroed, files / "peft" / WEIGHTS)
        assert run_import() == 0
        assert ("changes nothing" in capsys.readouterr().err) != changes
    load_adapter("adapter.pt", copy.deepcopy(base))


@pytest.mark.parametrize(
    "name", ["config.json", "adapter", "adapter.PT", "adapter.bin", "nowhere/"]
)
def test_import_refuses_names_that_could_not_be_read_back(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_import(out=name) == 1
    assert f"{Path(name)}: cannot be replaced by an adapter" in capsys.readouterr().err
    assert not (files / name).exists()


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_import_overwrites_only_an_earlier_adapter(
    files: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = files / f"adapter{ending}"
    assert run_import(out=out.name) == 0
    save_file({name: 2 * t for name, t in tensors_of().items()}, files / "peft" / WEIGHTS)
    assert run_import(out=out.name) == 0  # an earlier adapter
    _, weights = read_adapter(out)
    assert torch.equal(weights["blocks.0.mlp.fc2.lora_A"], 2 * tensors_of()[A0])
    for content in (b"", b"my thesis", (files / "best.pt").read_bytes()):
        out.write_bytes(content)
        assert run_import(out=out.name) == 1
        assert f"{out.name}: cannot be replaced by an adapter" in capsys.readouterr().err
        assert out.read_bytes() == content
    out.unlink()
    out.mkdir()
    assert run_import(out=out.name) == 1
    assert "cannot be replaced by an adapter" in capsys.readouterr().err
    assert run_import(out=f"{'a' * 300}{ending}") == 1
    assert "cannot be read\n  found:    File name too long" in capsys.readouterr().err
    (files / "file").write_text("")
    assert run_import(out=f"file/adapter{ending}") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("ours", [False, True])
def test_import_does_not_overwrite_its_own_inputs(
    files: Path, capsys: pytest.CaptureFixture[str], ours: bool
) -> None:
    if ours:  # its metadata is that of an adapter file
        assert run_import(out="adapter.pt") == 0
        export_adapter_file("adapter.pt", "best.pt", "ours", "opt")
    folder = files / ("ours" if ours else "peft")
    before = {path: path.read_bytes() for path in (folder / WEIGHTS, files / "best.pt")}
    for path in before:
        assert run_import(folder.name, str(path)) == 1
        assert "cannot be replaced by an adapter" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}


def test_read_adapter_recognizes_pefts_files(files: Path) -> None:
    for path in (files / "peft", files / "peft" / WEIGHTS):
        with pytest.raises(UserError, match=r"is a PEFT adapter(.|\n)*import --from peft"):
            read_adapter(path)
    for name in ("opt", "opt/adapter.safetensors", "best.pt/adapter.pt"):
        with pytest.raises(UserError, match=r"there is no such file"):
            read_adapter(name)
    with pytest.raises(UserError, match=r"found:    a folder"):
        read_adapter("opt")
