"""An exported base computes the same in transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import VARIANTS, assert_same_logits, config_of
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from minituner.__main__ import main
from minituner.adapter_tensors import lora_state_dict
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.evaluate import perplexities
from minituner.interop.opt_export import export_base, is_export_of
from minituner.interop.peft_export import export_adapter
from minituner.lora import merge_, unwrap
from minituner.model import MiniGPT
from minituner.scoring import ScoringBatches, score_pairs
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer


def test_export_base_gives_the_same_logits_in_transformers(
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


def test_export_base_gives_the_same_token_ids_in_transformers(
    exported: Path, tokenizer: TextTokenizer
) -> None:
    theirs = AutoTokenizer.from_pretrained(exported)
    for text in ("He __ to school yesterday. =>", " went / fue", "ñandú 🎉"):
        assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_export_of_recognizes_its_base_in_any_float_type(
    base: MiniGPT, make_base: Callable[..., MiniGPT], exported: Path, tmp_path: Path, dtype: Any
) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(exported, dtype=dtype)
    theirs.save_pretrained(tmp_path / "again")
    assert is_export_of(tmp_path / "again", base)
    assert not is_export_of(tmp_path / "again", make_base(1))
    assert not is_export_of(tmp_path / "again", make_base(0, n_layers=3))
    assert is_export_of(tmp_path / "nowhere", base) is None


@pytest.fixture
def study(
    base: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base and its tokenizer in the working folder."""
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tokenizer, "tokenizer.json")
    save_base("best.pt", base, "tokenizer.json")


EXPORT = ["export", "--to", "transformers", "--base", "best.pt", "--tokenizer", "tokenizer.json"]


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_export_merge_gives_the_adapted_models_logits_in_transformers(
    make_tuned: Callable[..., MiniGPT], base: MiniGPT, ids: Tensor, options: dict[str, Any]
) -> None:
    model = make_tuned("q_proj", "mlp.fc2", **options)
    save_adapter("adapter.safetensors", model, weights_sha256(base.state_dict()), seed=5)
    assert main([*EXPORT, "--merge", "--adapter", "adapter.safetensors", "merged"]) == 0
    theirs = AutoModelForCausalLM.from_pretrained("merged").eval()
    assert_same_logits(theirs, model, ids)
    with torch.no_grad():
        assert not torch.allclose(theirs(input_ids=ids).logits, base(ids), atol=0.1)
    assert main([*EXPORT, "plain"]) == 0
    assert is_export_of("plain", base)
    assert not is_export_of("merged", base)


@pytest.mark.usefixtures("study")
def test_export_merge_refuses_peft_and_adapters_of_another_base(
    tuned: MiniGPT, capsys: pytest.CaptureFixture[str]
) -> None:
    save_adapter("adapter.pt", tuned, base_sha256="ab" * 32, seed=5)
    command = [*EXPORT, "--merge", "--adapter", "adapter.pt", "merged"]
    assert main(command) == 1
    assert "adapter.pt: was made for another base" in capsys.readouterr().err
    assert main([*command, "--to", "peft"]) == 1
    assert "export: --merge: cannot be used with --to peft" in capsys.readouterr().err
    assert not Path("merged").exists()


def test_export_base_refuses_a_model_with_adapters(
    tuned: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    for merge in (False, True):
        if merge:
            merge_(tuned)
        with pytest.raises(UserError, match="LoRA layers such as blocks"):
            export_base(tuned, tmp_path / "tokenizer.json", tmp_path / "opt")
        assert not (tmp_path / "opt").exists()
    export_base(unwrap(tuned), tmp_path / "tokenizer.json", tmp_path / "opt")


def test_export_command_refuses_missing_and_mismatched_files(
    tuned: MiniGPT,
    make_base: Callable[..., MiniGPT],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--to", "transformers", "opt", "--base", "no.pt"]) == 1
    assert "no.pt: there is no such file" in capsys.readouterr().err
    save_base("best.pt", make_base(1))
    save_adapter("adapter.pt", tuned, weights_sha256(make_base(0).state_dict()), seed=3)
    command = ["export", "--to", "peft", "peft", "--base", "best.pt", "--adapter", "adapter.pt"]
    assert main(command) == 1
    assert "adapter.pt: was made for another base" in capsys.readouterr().err
    assert not (tmp_path / "peft").exists()


@torch.no_grad()
def loglikelihood(model: Any, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """The request of this name in lm-evaluation-harness: the sum of log P over the continuation's
    tokens, each given all tokens before it, and whether greedy decoding gives the continuation."""
    ids = torch.tensor([context + continuation])
    logits = model(input_ids=ids[:, :-1]).logits[0, -len(continuation) :]
    log_probs = logits.double().log_softmax(-1)
    tokens = torch.tensor(continuation)
    total = float(log_probs.gather(1, tokens[:, None]).sum())
    return total, bool((logits.argmax(-1) == tokens).all())


@pytest.mark.parametrize("with_adapter", [False, True])
def test_scores_equal_those_of_a_harness_with_transformers(
    make_tuned: Callable[..., MiniGPT],
    base: MiniGPT,
    pairs: list[TokenizedPair],
    exported: Path,
    tmp_path: Path,
    with_adapter: bool,
) -> None:
    theirs: Any = AutoModelForCausalLM.from_pretrained(exported).eval()
    ours = base
    if with_adapter:
        ours = make_tuned("mlp.fc2")
        export_adapter(
            config_of(ours), lora_state_dict(ours), tmp_path / "peft", ours, str(exported)
        )
        theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "peft")).eval()
    scores = score_pairs(ours, ScoringBatches.of(pairs, pad_id=2))
    nll = tokens = 0.0
    for pair, score in zip(pairs, scores, strict=True):
        right, _ = loglikelihood(theirs, pair.prompt_ids, pair.correct_ids)
        wrong, _ = loglikelihood(theirs, pair.prompt_ids, pair.wrong_ids[0])
        assert score.margin == pytest.approx(right - wrong, abs=1e-4)
        target, greedy = loglikelihood(theirs, pair.prompt_ids, pair.target_ids)
        assert float(score.target.sum()) == pytest.approx(target, abs=1e-4)
        assert greedy == (score.greedy_prefix == pair.target_ids)
        text = pair.prompt_ids + pair.target_ids
        nll -= loglikelihood(theirs, text[:1], text[1:])[0]  # the harness's loglikelihood_rolling
        tokens += len(text) - 1
    assert perplexities(scores)["text"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)


@pytest.mark.usefixtures("study")
def test_export_merge_and_the_base_do_not_replace_each_other(
    base: MiniGPT, tuned: MiniGPT, capsys: pytest.CaptureFixture[str]
) -> None:
    save_adapter("adapter.safetensors", tuned, weights_sha256(base.state_dict()), seed=5)
    merge = [*EXPORT, "--merge", "--adapter", "adapter.safetensors"]
    assert main([*EXPORT, "base"]) == main([*merge, "merged"]) == main([*merge, "merged"]) == 0
    for command, folder in ((merge, "base"), (EXPORT, "merged")):
        before = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        capsys.readouterr()
        assert main([*command, folder]) == 1
        assert "another kind of export" in capsys.readouterr().err
        assert {path.name: path.read_bytes() for path in Path(folder).iterdir()} == before
