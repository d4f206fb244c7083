"""Export, merge and import over the folders of transformers models, against PEFT itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import CONFIG, VARIANTS, change
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_models import SHAPES, tiny_folder
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from minituner.adapter_tensors import named_lora_parameters
from minituner.bases import load_base_model
from minituner.causal_lm import CausalLM
from minituner.cli.main import main
from minituner.interop.export_record import RECORD_FILE
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT has many

BASES = ("llama", "gpt2", "opt", "gpt_neox", "gemma")
every_base = pytest.mark.parametrize("name", BASES)


@pytest.fixture(scope="module")
def folders(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folder of each base."""
    root = tmp_path_factory.mktemp("bases")
    for name in BASES:
        tiny_folder(root / name, tokenizer, name)
    return root


@pytest.fixture(autouse=True)
def in_a_folder(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder, in which each base has a short name."""
    monkeypatch.chdir(tmp_path)
    for name in BASES:
        Path(name).symlink_to(folders / name)


def adapter_over(name: str, **options: Any) -> CausalLM:
    """A base with an adapter in which no weight is zero, which is written to ``a.pt``."""
    model = load_base_model(name)
    sha256 = weights_sha256(model.state_dict())
    wrap(model, LoRAConfig(4, 12.0, 0.0, SHAPES[name][1], **options), 0)
    draw = torch.Generator().manual_seed(3)
    for parameter in named_lora_parameters(model).values():
        nn.init.normal_(parameter, std=0.3, generator=draw)
    save_adapter("a.pt", model, sha256, 0)
    return model.eval()


def export(name: str, to: str, folder: str, *more: str) -> int:
    return main(["export", "--to", to, folder, "--base", name, "--adapter", "a.pt", *more])


@torch.no_grad()
def assert_same_logits(theirs: Any, ours: CausalLM, ids: Tensor) -> None:
    found, expected = theirs(input_ids=ids).logits, ours(ids)
    assert found.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=2e-5)


def plain(folder: str | Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


# --- an adapter for PEFT --------------------------------------------------------------------------


@every_base
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_peft_computes_the_same_with_the_exported_adapter(
    name: str, options: dict[str, Any], ids: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = adapter_over(name, **options)
    assert export(name, "peft", "out") == 0
    assert capsys.readouterr().err == ""
    assert_same_logits(PeftModel.from_pretrained(plain(name), "out").eval(), ours, ids)
    config = json.loads(Path("out", CONFIG).read_text())
    assert config["base_model_name_or_path"] == name
    assert config["fan_in_fan_out"] == (name == "gpt2")


def test_an_exported_adapter_on_some_layers_stays_on_those(ids: Tensor) -> None:
    ours = adapter_over("llama", layers="last 1")
    assert export("llama", "peft", "out") == 0
    theirs = PeftModel.from_pretrained(plain("llama"), "out").eval()
    assert_same_logits(theirs, ours, ids)
    adapted = {key.partition(".lora_A")[0] for key in theirs.state_dict() if ".lora_A." in key}
    assert adapted and all(".layers.1." in key for key in adapted)


def test_an_export_names_a_base_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    adapter_over("llama")
    for base_name, words in (("nowhere", "no base in 'nowhere'"), ("opt", "another base in 'opt'")):
        assert export("llama", "peft", "out", "--base-name", base_name) == 0
        assert words in capsys.readouterr().err


# --- a merged model -------------------------------------------------------------------------------


@every_base
def test_a_merged_export_computes_the_same(name: str, folders: Path, ids: Tensor) -> None:
    ours = adapter_over(name)
    before = {file.name: file.read_bytes() for file in (folders / name).iterdir()}
    assert export(name, "transformers", "out", "--merge") == 0
    assert_same_logits(plain("out"), ours, ids)
    text = "He went to school yesterday."
    theirs, merged = (AutoTokenizer.from_pretrained(folder) for folder in (name, "out"))
    assert merged(text)["input_ids"] == theirs(text)["input_ids"]
    assert merged.eos_token_id == theirs.eos_token_id
    assert {file.name: file.read_bytes() for file in (folders / name).iterdir()} == before


def test_a_merged_export_replaces_only_an_earlier_one(capsys: pytest.CaptureFixture[str]) -> None:
    adapter_over("llama")
    assert export("llama", "transformers", "out", "--merge") == 0
    first = {file.name: file.read_bytes() for file in Path("out").iterdir()}
    assert RECORD_FILE in first
    assert export("llama", "transformers", "out", "--merge") == 0
    assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == first
    Path("out/notes.md").write_text("mine")
    assert export("llama", "transformers", "out", "--merge") == 1
    assert "cannot be replaced by an export\n  found:    other files" in capsys.readouterr().err
    Path("out/notes.md").unlink()
    Path("out/config.json").write_text("{}")
    for folder in ("out", "opt"):  # edited, and a base that is no export
        kept = {file.name: file.read_bytes() for file in Path(folder).iterdir()}
        assert export("llama", "transformers", folder, "--merge") == 1
        assert {file.name: file.read_bytes() for file in Path(folder).iterdir()} == kept
    assert not list(Path().glob(".out*"))


def test_a_merged_export_is_whole_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter_over("llama")

    def fail(*_: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr("minituner.interop.merged_export.copy_file", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        export("llama", "transformers", "out", "--merge")
    assert not Path("out").exists() and not list(Path().glob(".out*"))


def test_there_is_nothing_to_export_without_merge(capsys: pytest.CaptureFixture[str]) -> None:
    assert export("llama", "transformers", "out") == 1
    assert "llama: is a transformers model already" in capsys.readouterr().err
    assert not Path("out").exists()


# --- an adapter of PEFT's -------------------------------------------------------------------------


def trained_in_peft(name: str, ids: Tensor, **options: Any) -> Any:
    """PEFT's model after two steps, saved in the folder ``peft``."""
    options = {"target_modules": list(SHAPES[name][1]), **options}
    theirs: Any = get_peft_model(plain(name), LoraConfig(r=4, lora_alpha=12, **options))
    weights = [weight for weight in theirs.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, 3e-2)
    for _ in range(2):
        theirs(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.eval().save_pretrained("peft")
    return theirs


def imported(name: str) -> CausalLM:
    assert main(["import", "--from", "peft", "peft", "in.pt", "--base", name]) == 0
    return load_adapter("in.pt", load_base_model(name))


@every_base
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_an_imported_adapter_computes_the_same(
    name: str, options: dict[str, Any], ids: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = trained_in_peft(name, ids, **options)
    assert_same_logits(theirs, imported(name), ids)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["c_proj"], "layers_to_transform": [1], "layers_pattern": "h"},
        {"target_modules": ["c_attn"], "layers_to_transform": 0},
        {"target_modules": r".*\.1\.attn\.c_proj"},
    ],
)
def test_pefts_selections_of_layers_are_imported(options: dict[str, Any], ids: Tensor) -> None:
    theirs = trained_in_peft("gpt2", ids, **options)
    assert_same_logits(theirs, imported("gpt2"), ids)


def test_an_adapter_of_another_base_is_not_imported(
    ids: Tensor, tokenizer: TextTokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_in_peft("llama", ids)
    tiny_folder(Path("other"), tokenizer, seed=1)
    words = ["import", "--from", "peft", "peft", "in.pt", "--base"]
    assert main([*words, "other"]) == 1
    assert "was trained over another base\n  found:    llama" in capsys.readouterr().err
    change(Path("peft"), base_model_name_or_path="org/name")
    assert main([*words, "llama"]) == 0
    assert "there is no base in 'org/name'" in capsys.readouterr().err
    assert main([*words, "opt"]) == 1
    assert "tensors" in capsys.readouterr().err


def test_an_exported_adapter_comes_back_as_it_was() -> None:
    ours = adapter_over("gpt2", use_dora=True)
    assert export("gpt2", "peft", "peft") == 0
    back = named_lora_parameters(imported("gpt2"))
    for name, tensor in named_lora_parameters(ours).items():
        assert torch.equal(back[name], tensor)
    assert main(["import", "--from", "peft", "peft", "in.pt", "--base", "llama"]) == 1
