"""What is exported is computed alike by transformers and PEFT, and what PEFT trains comes back."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear as PeftLinear
from transformers import AutoModelForCausalLM, AutoTokenizer

from minituner.__main__ import main
from minituner.adapter_tensors import load_lora_state_dict, lora_state_dict
from minituner.data.pairs import TokenizedPair
from minituner.evaluate import ScoringBatches, perplexities, score_pairs
from minituner.interop.opt import export_base, opt_name
from minituner.interop.peft_files import export_adapter, import_adapter
from minituner.lora import LoRALinear, lora_layers, merge_, wrap, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.storage.adapter import AdapterConfig, load_adapter, save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import encode, save_tokenizer

VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}
PAD_ID = 2
LENGTHS = (8, 5, 3)  # of the texts in a batch; what comes after is padding


@pytest.fixture
def exported(base: MiniGPT, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    export_base(base, tmp_path / "tokenizer.json", tmp_path / "opt")
    return tmp_path / "opt"


def adapted(base: MiniGPT, **options: Any) -> MiniGPT:
    """A copy of ``base`` with an adapter all of whose weights are drawn."""
    options = {"target_modules": ("q_proj", "o_proj", "mlp.fc1"), **options}
    model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, 12.0, dropout=0.1, seed=0, **options)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B)
        if layer.magnitude is not None:
            nn.init.uniform_(layer.magnitude, 0.5, 2.0)
    return model.eval()


def config_of(model: MiniGPT) -> AdapterConfig:
    return AdapterConfig.of(model, base_sha256="ab" * 32, seed=3)


def mask_of(ids: Tensor) -> Tensor:
    return torch.arange(ids.shape[1])[None] < torch.tensor(LENGTHS)[:, None]


@torch.no_grad()
def assert_same_logits(theirs: Any, ours: MiniGPT, ids: Tensor) -> None:
    real = mask_of(ids)
    found = theirs(input_ids=ids, attention_mask=real.long()).logits[real]
    expected = ours(ids)[real]
    assert found.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def test_transformers_computes_an_exported_base_alike(
    base: MiniGPT, exported: Path, ids: Tensor
) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(exported).eval()
    assert_same_logits(theirs, base, ids)
    assert {path.name for path in exported.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_exported_tokenizer_reads_alike(exported: Path, tokenizer: Tokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(exported)
    for text in ("He __ to school yesterday. =>", " went / fue", "ñandú 🎉"):
        assert theirs(text)["input_ids"] == encode(tokenizer, text)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 1, 2)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_peft_computes_an_exported_adapter_alike_and_merges_it_alike(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, options: dict[str, Any]
) -> None:
    model = adapted(base, **options)
    export_adapter(config_of(model), lora_state_dict(model), tmp_path / "peft", str(exported))
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
def test_an_adapter_that_peft_trained_comes_back_and_computes_alike(
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
    assert imported.notes == []
    model = wrap(copy.deepcopy(base), imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights)
    assert_same_logits(theirs, model.eval(), ids)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_our_layer_is_pefts_in_values_and_gradients(options: dict[str, Any]) -> None:
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


def test_an_exported_adapter_says_where_it_comes_from(base: MiniGPT, tmp_path: Path) -> None:
    model = adapted(base, use_rslora=True)
    export_adapter(config_of(model), lora_state_dict(model), tmp_path, "opt")
    with safe_open(tmp_path / "adapter_model.safetensors", framework="pt") as stream:
        said = stream.metadata()
    assert said["base_sha256"] == "ab" * 32
    assert (said["r"], said["alpha"], said["scaling"], said["seed"]) == ("4", "12.0", "6.0", "3")
    assert "blocks.0.attn.q_proj" in json.loads(said["target_modules"])


# --- scoring, the way lm-evaluation-harness does it through transformers -------------------------


@torch.no_grad()
def loglikelihood(model: Any, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """The harness's request of that name: the sum of log P over the continuation's tokens given
    all before, one text at a time, and whether greedy decoding would give just these."""
    ids = torch.tensor([context + continuation])
    logits = model(input_ids=ids[:, :-1]).logits[0, -len(continuation) :]
    log_probs = logits.double().log_softmax(-1)
    own = torch.tensor(continuation)
    total = float(log_probs.gather(1, own[:, None]).sum())
    return total, bool((logits.argmax(-1) == own).all())


@pytest.mark.parametrize("with_adapter", [False, True])
def test_scores_equal_those_of_a_harness_over_transformers(
    base: MiniGPT,
    pairs: list[TokenizedPair],
    exported: Path,
    tmp_path: Path,
    with_adapter: bool,
) -> None:
    theirs: Any = AutoModelForCausalLM.from_pretrained(exported).eval()
    ours = base
    if with_adapter:
        ours = adapted(base, target_modules=("mlp.fc2",))
        export_adapter(config_of(ours), lora_state_dict(ours), tmp_path / "peft", str(exported))
        theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "peft")).eval()
    found = score_pairs(ours, ScoringBatches.of(pairs, PAD_ID))
    nll = tokens = 0.0
    for pair, score in zip(pairs, found, strict=True):
        right, _ = loglikelihood(theirs, pair.prompt_ids, pair.correct_ids)
        wrong, _ = loglikelihood(theirs, pair.prompt_ids, pair.wrong_ids)
        assert score.margin == pytest.approx(right - wrong, abs=1e-4)
        target, greedy = loglikelihood(theirs, pair.prompt_ids, pair.target_ids)
        assert float(score.target.sum()) == pytest.approx(target, abs=1e-4)
        assert greedy == (score.greedy_prefix == pair.target_ids)
        text = pair.prompt_ids + pair.target_ids
        nll -= loglikelihood(theirs, text[:1], text[1:])[0]  # its loglikelihood_rolling
        tokens += len(text) - 1
    perplexity = perplexities(found)["text"]
    assert perplexity == pytest.approx(math.exp(nll / tokens), rel=1e-5)


# --- the command line ---------------------------------------------------------------------------


def test_the_commands_export_and_import_to_the_same_weights(
    base: MiniGPT,
    tokenizer: Tokenizer,
    tmp_path: Path,
    ids: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = adapted(base, use_dora=True)
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


def test_a_mistake_on_the_command_line_ends_in_words_and_code_1(
    make_base: Callable[..., MiniGPT],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--to", "transformers", "opt", "--base", "no.pt"]) == 1
    assert "no.pt: there is no such file" in capsys.readouterr().err
    save_base("best.pt", make_base(1))
    model = adapted(make_base(0))
    save_adapter("adapter.pt", model, weights_sha256(make_base(0).state_dict()), seed=3)
    command = ["export", "--to", "peft", "peft", "--base", "best.pt", "--adapter", "adapter.pt"]
    assert main(command) == 1
    assert "adapter.pt: was made for another base" in capsys.readouterr().err
    assert not (tmp_path / "peft").exists()
