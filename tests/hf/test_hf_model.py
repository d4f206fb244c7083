"""Every architecture against transformers and PEFT, in float64 where nothing is saved."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import bytes_of
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from tiny_models import ARCHITECTURES, SHAPES, tiny_folder, tiny_network
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from minituner.adapter_tensors import base_state_dict, lora_state_dict, named_lora_parameters
from minituner.bases import load_base_model, load_tuned_model, save_tuned_model
from minituner.batches import Batch, completion_examples, pad, text_examples
from minituner.causal_lm import CausalLM, linear_layers
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.evaluate import ScoringBatches, evaluate_model, score_pairs
from minituner.hf.model import TransformersLM, to_transformers
from minituner.loop import token_losses
from minituner.lora import LoRALinear, lora_layers, merge_, merge_and_unwrap, unmerge_, wrap
from minituner.lora_config import LoRAConfig
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer
from minituner.train import LoRATrainConfig, fine_tune_full
from minituner.train_seeds import train_adapters, train_full

# Gemma's norms and its attention's softmax are float32 in a float64 model too.
ATOL = 1e-5
every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


@pytest.fixture(scope="module")
def folders(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the folder of each model."""
    root = tmp_path_factory.mktemp("models")
    for name in ARCHITECTURES:
        tiny_folder(root / name, tokenizer, name)
    return root


@pytest.fixture
def load(folders: Path) -> Callable[[str], TransformersLM]:
    def load_one(name: str) -> TransformersLM:
        model = load_base_model(folders / name)
        assert isinstance(model, TransformersLM)
        return model

    return load_one


@pytest.fixture
def plain(folders: Path) -> Callable[[str], PreTrainedModel]:
    """The same models, as transformers loads them."""
    return lambda name: AutoModelForCausalLM.from_pretrained(folders / name, dtype=torch.float32)


def adapted(model: TransformersLM, name: str, **options: Any) -> TransformersLM:
    """``model`` with adapters that do something on two kinds of layers."""
    options = {"r": 4, "alpha": 12.0, "dropout": 0.0, **options}
    wrap(model, LoRAConfig(target_modules=SHAPES[name][1], **options), 0)
    draw = torch.Generator().manual_seed(3)
    for parameter in named_lora_parameters(model).values():
        nn.init.normal_(parameter, std=0.3, generator=draw)
    return model.eval()


def peft_copy(network: PreTrainedModel, model: TransformersLM, name: str) -> PeftModel:
    """PEFT's model with the adapter of ``model``."""
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        lora_dropout=0.0,
        target_modules=[layer for layer, _ in lora_layers(model)],
        fan_in_fan_out=name == "gpt2",
    )
    peft = get_peft_model(network, config).eval()
    state = {f"base_model.model.{k}.weight": v for k, v in lora_state_dict(model).items()}
    found = set_peft_model_state_dict(peft, state)
    assert not found.unexpected_keys
    assert not [key for key in found.missing_keys if "lora" in key]
    return peft


def logits_one_by_one(network: nn.Module, batch: Batch) -> Tensor:
    """The logits at the scored positions, each text read alone, without padding."""
    rows = []
    for ids, mask, scored in zip(batch.input_ids, batch.mask, batch.scored, strict=True):
        length = int(mask.sum())
        rows.append(network(input_ids=ids[None, :length]).logits[0][scored[:length]])
    return torch.cat(rows)


def log_probs_of(network: nn.Module, prompt: list[int], answer: list[int]) -> list[float]:
    logits = network(input_ids=torch.tensor([prompt + answer])).logits[0].detach()
    logs = logits.double().log_softmax(-1)
    return [float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)]


def max_difference(left: Iterable[Tensor], right: Iterable[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


# --- the base -----------------------------------------------------------------------------------


@every_architecture
def test_scored_logits_are_those_of_transformers(
    name: str,
    load: Callable[[str], TransformersLM],
    plain: Callable[[str], PreTrainedModel],
    pairs: list[TokenizedPair],
) -> None:
    model, network = load(name).double(), plain(name).double()
    for examples in (completion_examples(pairs), text_examples([p.prompt_ids for p in pairs])):
        batch = pad(examples, 2)
        assert not batch.mask.all()  # some texts are padded
        expected = logits_one_by_one(network, batch)
        assert expected.std() > 0.1
        torch.testing.assert_close(model.scored_logits(batch), expected, rtol=0, atol=ATOL)
    ids = torch.tensor([pairs[0].prompt_ids])
    torch.testing.assert_close(model(ids), network(input_ids=ids).logits, rtol=0, atol=ATOL)


@every_architecture
def test_layers_have_the_names_of_transformers_and_the_head_is_left_out(
    name: str, load: Callable[[str], TransformersLM], plain: Callable[[str], PreTrainedModel]
) -> None:
    model, network = load(name), plain(name)
    peft = get_peft_model(network, LoraConfig(target_modules="all-linear"))
    found = [n for n, module in peft.base_model.model.named_modules() if hasattr(module, "lora_A")]
    assert [n for n, _ in linear_layers(model)] == found
    assert {n.split(".")[-1] for n in found} >= {t.split(".")[-1] for t in SHAPES[name][1]}
    assert model.output_head is model.network.get_output_embeddings() is not None


@every_architecture
def test_state_is_that_of_transformers(
    name: str, load: Callable[[str], TransformersLM], plain: Callable[[str], PreTrainedModel]
) -> None:
    model, network = load(name), plain(name)
    assert list(model.state_dict()) == list(network.state_dict())
    assert bytes_of(to_transformers(model).state_dict()) == bytes_of(network.state_dict())
    assert bool(model.transposed) == (name == "gpt2")


def test_output_head_computes_only_the_scored_positions(
    load: Callable[[str], TransformersLM], pairs: list[TokenizedPair]
) -> None:
    model, batch = load("llama"), pad(completion_examples(pairs), 2)
    shapes: list[tuple[int, ...]] = []
    model.lm_head.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape)))
    model.scored_logits(batch)
    model(batch.input_ids)
    assert shapes == [
        (1, int(batch.scored.sum()), model.vocab_size),
        (*batch.input_ids.shape, model.vocab_size),
    ]


def test_context_and_vocabulary(
    load: Callable[[str], TransformersLM], tokenizer: TextTokenizer
) -> None:
    model = load("llama")
    assert (model.context_length, model.vocab_size) == (64, tokenizer.vocab_size + 6)
    for call in (model, lambda ids: model.scored_logits(pad(text_examples(ids.tolist()), 2))):
        with pytest.raises(UserError, match=r"6[56] tokens"):
            call(torch.zeros(1, 66, dtype=torch.int64))


def test_bases_own_dropout_is_off_in_training(
    tokenizer: TextTokenizer, pairs: list[TokenizedPair]
) -> None:
    rates = {"resid_pdrop": 0.5, "attn_pdrop": 0.5, "embd_pdrop": 0.5}
    model = TransformersLM(tiny_network("gpt2", tokenizer, **rates), 64)
    batch = pad(completion_examples(pairs), 2)
    expected = model.scored_logits(batch)
    model.train()
    assert model.training
    assert torch.equal(model.scored_logits(batch), expected)
    wrap(model, LoRAConfig(4, 8.0, 0.5, ("c_attn",)), 0)
    assert {layer.training for _, layer in lora_layers(model)} == {True}
    assert not model.eval().training
    assert {layer.training for _, layer in lora_layers(model)} == {False}


# --- adapters -----------------------------------------------------------------------------------


@every_architecture
def test_losses_and_gradients_are_those_of_peft(
    name: str,
    load: Callable[[str], TransformersLM],
    plain: Callable[[str], PreTrainedModel],
    pairs: list[TokenizedPair],
) -> None:
    model = adapted(load(name).double(), name)
    peft = peft_copy(plain(name).double(), model, name)
    batch = pad(completion_examples(pairs), 2)
    losses = token_losses(model.train(), batch)
    logits = peft(input_ids=batch.input_ids, attention_mask=batch.mask.long()).logits
    expected = F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="none")
    torch.testing.assert_close(losses, expected[batch.scored.flatten()], rtol=0, atol=ATOL)
    losses.mean().backward()
    expected[batch.scored.flatten()].mean().backward()
    theirs = {n: p.grad for n, p in peft.named_parameters() if p.requires_grad}
    for own, parameter in named_lora_parameters(model).items():
        grad = theirs.pop(f"base_model.model.{own}.default.weight")
        assert parameter.grad is not None and grad is not None
        torch.testing.assert_close(parameter.grad, grad, rtol=ATOL, atol=1e-7)
        assert grad.abs().max() > 1e-6
    assert not theirs
    assert all(p.grad is None for n, p in model.named_parameters() if "lora_" not in n)


@every_architecture
def test_minimal_pairs_and_perplexity_are_those_of_peft(
    name: str,
    load: Callable[[str], TransformersLM],
    plain: Callable[[str], PreTrainedModel],
    pairs: list[TokenizedPair],
    tokenizer: TextTokenizer,
) -> None:
    model = adapted(load(name).double(), name)
    peft = peft_copy(plain(name).double(), model, name)
    for pair, score in zip(pairs, score_pairs(model, ScoringBatches.of(pairs, 2)), strict=True):
        right = log_probs_of(peft, pair.prompt_ids, pair.correct_ids)
        wrong_ids: Any = pair.wrong_ids
        forms = wrong_ids if isinstance(wrong_ids[0], list) else [wrong_ids]
        wrong = max(sum(log_probs_of(peft, pair.prompt_ids, form)) for form in forms)
        assert score.margin == pytest.approx(sum(right) - wrong, abs=ATOL)
    split = {name: ScoringBatches.of(pairs, 2) for name in ("val", "test", "control", "probe")}
    metrics, _ = evaluate_model(model, tokenizer, split)
    logs = [
        log
        for pair in pairs
        for log in log_probs_of(peft, pair.prompt_ids[:1], pair.prompt_ids[1:] + pair.target_ids)
    ]
    expected = math.exp(-sum(logs) / len(logs))
    assert metrics["control"]["perplexity"]["text"] == pytest.approx(expected, rel=ATOL)


@every_architecture
def test_merged_model_computes_the_same_and_unmerging_restores_every_byte(
    name: str,
    load: Callable[[str], TransformersLM],
    pairs: list[TokenizedPair],
) -> None:
    base = load(name)
    before, sha256 = bytes_of(base.state_dict()), weights_sha256(base.state_dict())
    batch = pad(completion_examples(pairs), 2)
    untuned = base.scored_logits(batch).detach()
    model = adapted(copy.deepcopy(base).double(), name)
    logits = model.scored_logits(batch).detach()
    assert (logits - untuned).abs().max() > 0.1
    merge_(model)
    torch.testing.assert_close(model.scored_logits(batch), logits, rtol=0, atol=ATOL)
    unmerge_(model)
    assert torch.equal(model.scored_logits(batch), logits)
    network = to_transformers(merge_and_unwrap(model))
    torch.testing.assert_close(logits_one_by_one(network, batch), logits, rtol=0, atol=ATOL)
    adapted(base, name)
    merge_(base)
    assert weights_sha256(base_state_dict(base)) == sha256
    unmerge_(base)
    assert bytes_of(base_state_dict(base)) == before


@every_architecture
def test_adapter_is_saved_and_loaded_again(
    name: str, load: Callable[[str], TransformersLM], ids: Tensor, tmp_path: Path
) -> None:
    model, sha256 = adapted(load(name), name), weights_sha256(load(name).state_dict())
    for kind in ("pt", "safetensors"):
        save_adapter(tmp_path / f"adapter.{kind}", model, sha256, 0)
        loaded = load_adapter(tmp_path / f"adapter.{kind}", load(name))
        assert torch.equal(loaded(ids), model(ids))
    other = load(name)
    with torch.no_grad():
        next(other.parameters())[0] += 1
    with pytest.raises(UserError, match="was made for another base"):
        load_adapter(tmp_path / "adapter.pt", other)


def test_target_that_matches_nothing_is_refused_with_what_there_is(
    load: Callable[[str], TransformersLM],
) -> None:
    for target in ("mlp.fc2", "lm_head"):
        with pytest.raises(UserError, match=r"self_attn.q_proj") as refusal:
            wrap(load("llama"), LoRAConfig(4, target_modules=(target,)), 0)
        assert "mlp.down_proj" in str(refusal.value)
    assert not isinstance(load("llama").lm_head, LoRALinear)


# --- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_training_lowers_the_loss_and_leaves_the_base_alone(
    name: str, load: Callable[[str], TransformersLM], pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    model = load(name)
    before = bytes_of(model.state_dict())
    config = LoRATrainConfig(learning_rate=2e-2, epochs=10, batch_size=4)
    lora = LoRAConfig(4, 8.0, 0.1, SHAPES[name][1])
    splits = {"train": pairs, "val": pairs[:2], "control": pairs[4:]}
    summary = train_adapters(model, splits, lora, config, (0, 1), 2, tmp_path)
    assert summary["base_parameters"] == sum(p.numel() for p in load(name).parameters())
    assert bytes_of(base_state_dict(model)) == before
    first = [(tmp_path / f"seed-{seed}/adapter_final.pt").read_bytes() for seed in (0, 1)]
    assert first[0] != first[1]
    log = (tmp_path / "seed-0/train_log.csv").read_text().splitlines()
    losses = [float(line.split(",")[1]) for line in log[2:]]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    train_adapters(load(name), splits, lora, config, (0, 1), 2, tmp_path)
    again = [(tmp_path / f"seed-{seed}/adapter_final.pt").read_bytes() for seed in (0, 1)]
    assert again == first


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_all_weights_are_trained_saved_and_loaded(
    name: str,
    load: Callable[[str], TransformersLM],
    folders: Path,
    pairs: list[TokenizedPair],
    ids: Tensor,
    tmp_path: Path,
) -> None:
    splits = {"train": pairs, "val": pairs[:2], "control": pairs[4:]}
    model: CausalLM = load(name)
    config = LoRATrainConfig(learning_rate=1e-2, epochs=2, batch_size=4)
    train_full(model, splits, config, (0,), 2, tmp_path)
    loaded = load_tuned_model(tmp_path / "seed-0/model_final.pt", folders / name)
    assert torch.equal(loaded(ids), model(ids))
    assert not torch.equal(loaded(ids), load(name)(ids))
    other = "gpt2" if name == "llama" else "llama"
    with pytest.raises(UserError, match="tensors are missing"):
        load_tuned_model(tmp_path / "seed-0/model_final.pt", folders / other)
    with pytest.raises(UserError, match="has adapters"):
        fine_tune_full(adapted(load(name), name), [], [], config, tmp_path)  # type: ignore[arg-type]
    save_tuned_model(tmp_path / "again.pt", model)
    first = (tmp_path / "seed-0/model_final.pt").read_bytes()
    assert (tmp_path / "again.pt").read_bytes() == first
