"""The interface for other models: one that is not a MiniGPT is trained, scored and saved."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import pytest
import torch
from models import PAD_ID, LinearLM, bytes_of
from project import ROOT
from torch import Tensor

from minituner.adapter_tensors import base_state_dict, lora_state_dict
from minituner.batches import Loader, completion_examples, pad
from minituner.causal_lm import check_length, linear_layers
from minituner.data.known_forms import KnownForms
from minituner.data.pairs import TokenizedPair
from minituner.errors import UserError
from minituner.evaluate import evaluate_model
from minituner.lora import merge_and_unwrap, wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.predict import top_answers
from minituner.scoring import ScoringBatches, score_pairs
from minituner.seeding import generator
from minituner.statistics.audit import scale_audit
from minituner.storage.adapter import load_adapter
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer
from minituner.train import LoRATrainConfig, fine_tune_lora
from minituner.train_seeds import train_adapters

LORA = LoRAConfig(4, alpha=8.0, dropout=0.1, target_modules=("hidden", "head"))


@pytest.fixture
def model(tokenizer: TextTokenizer) -> LinearLM:
    """A model of embeddings and two linear layers, the last of them without a bias."""
    return LinearLM(tokenizer.vocab_size).eval()


def fine_tuned(
    model: LinearLM, pairs: list[TokenizedPair], out_dir: Path, epochs: int = 30
) -> LinearLM:
    """A copy with trained adapters."""
    tuned = wrap(copy.deepcopy(model), LORA, seed=0)
    loader = Loader(completion_examples(pairs), 4, PAD_ID, generator(0, "batches"))
    config = LoRATrainConfig(learning_rate=2e-2, epochs=epochs)
    fine_tune_lora(tuned, loader, list(loader), config, out_dir, show_progress=False)
    return tuned


def test_another_model_learns_with_adapters(
    model: LinearLM, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    tuned = fine_tuned(model, pairs, tmp_path)
    split = ScoringBatches.of(pairs, PAD_ID)
    before, after = score_pairs(model, split), score_pairs(tuned, split)
    nll = [-float(torch.cat([score.target for score in some]).mean()) for some in (before, after)]
    assert nll[1] < 0.5 * nll[0]
    assert sum(score.is_correct for score in after) == len(pairs)
    assert bytes_of(base_state_dict(tuned)) == bytes_of(model.state_dict())


def test_another_model_is_scored_by_its_own_forward(
    model: LinearLM, pairs: list[TokenizedPair]
) -> None:
    scores = score_pairs(model.double(), ScoringBatches.of(pairs, PAD_ID))
    for pair, score in zip(pairs, scores, strict=True):
        margin = 0.0
        for form, sign in ((pair.correct_ids, 1), (pair.wrong_ids[0], -1)):
            logs = model(torch.tensor([pair.prompt_ids + form]))[0].log_softmax(-1).detach()
            start = len(pair.prompt_ids) - 1
            margin += sign * sum(float(logs[start + i, token]) for i, token in enumerate(form))
        assert score.margin == pytest.approx(margin, rel=1e-9)


def test_adapter_of_another_model_is_saved_and_loaded(
    model: LinearLM, pairs: list[TokenizedPair], ids: Tensor, tmp_path: Path
) -> None:
    tuned = fine_tuned(model, pairs, tmp_path, epochs=2)
    for kind in ("pt", "safetensors"):
        loaded = load_adapter(tmp_path / f"adapter_final.{kind}", copy.deepcopy(model))
        assert isinstance(loaded, LinearLM)
        assert torch.equal(loaded(ids), tuned(ids)) and not torch.equal(tuned(ids), model(ids))
        assert bytes_of(lora_state_dict(loaded)) == bytes_of(lora_state_dict(tuned))
    with torch.no_grad():
        model.embedding.weight[0] += 1
    with pytest.raises(UserError, match="was made for another base"):
        load_adapter(tmp_path / "adapter_final.pt", model)


def test_another_model_is_audited_merged_and_evaluated(
    model: LinearLM,
    tokenizer: TextTokenizer,
    pairs: list[TokenizedPair],
    ids: Tensor,
    tmp_path: Path,
) -> None:
    tuned = fine_tuned(model, pairs, tmp_path, epochs=2)
    assert [row["layer"] for row in scale_audit(tuned)] == ["hidden", "head"]
    assert all(row["relative_norm"] > 0 for row in scale_audit(tuned))
    splits = {"val": pairs[:2], "test": pairs[:3], "control": pairs[4:], "probe": pairs[4:]}
    batches = {name: ScoringBatches.of(some, PAD_ID) for name, some in splits.items()}
    metrics, items = evaluate_model(tuned, tokenizer, batches)
    assert len(items) == 7 and len(metrics["predictions"]) == 3
    answers = top_answers(tuned, tokenizer, "He __ to school yesterday.", KnownForms({}), top=2)
    assert 1 > answers[0].probability >= answers[1].probability > 0
    logits = tuned(ids)
    plain = merge_and_unwrap(tuned)
    assert list(plain.state_dict()) == list(model.state_dict())
    torch.testing.assert_close(plain(ids), logits, rtol=0, atol=1e-4)


def test_another_model_trains_with_every_seed(
    model: LinearLM, pairs: list[TokenizedPair], tmp_path: Path
) -> None:
    splits = {"train": pairs, "val": pairs[:2], "control": pairs[4:]}
    config = LoRATrainConfig(epochs=1, batch_size=4)
    count = sum(p.numel() for p in model.parameters())
    base_sha256 = weights_sha256(model.state_dict())
    summary = train_adapters(model, splits, LORA, config, (0, 1), PAD_ID, tmp_path)
    assert summary["adapted_layers"] == ["hidden", "head"]
    assert summary["base_parameters"] == count
    assert {path.name for path in tmp_path.iterdir()} == {"seed-0", "seed-1"}
    assert weights_sha256(base_state_dict(model)) == base_sha256


def test_scored_logits_are_those_of_the_scored_positions(
    model: LinearLM, pairs: list[TokenizedPair]
) -> None:
    batch = pad(completion_examples(pairs), PAD_ID)
    logits = model(batch.input_ids)
    expected = [logits[b, t] for b, t in batch.scored.nonzero().tolist()]
    assert torch.equal(model.scored_logits(batch), torch.stack(expected))
    model.precompute([batch])  # a model that caches nothing does nothing


def test_linear_layers_are_in_the_models_order(base: MiniGPT, model: LinearLM) -> None:
    assert [name for name, _ in linear_layers(model)] == ["hidden", "head"]
    block = [*(f"attn.{x}_proj" for x in "qkvo"), "mlp.fc1", "mlp.fc2"]
    names = [name for name, _ in linear_layers(base)]
    assert names == [f"blocks.{i}.{layer}" for i in range(2) for layer in block]


def test_check_length_refuses_one_token_more() -> None:
    check_length(48, 48)
    with pytest.raises(UserError, match="49 tokens\n  expected: at most 48"):
        check_length(49, 48)


# --- what knows MiniGPT -------------------------------------------------------------------------

# What trains, evaluates and uses a model takes any CausalLM. These make, save or convert a MiniGPT.
OF_MINIGPT = {
    "lora.py",  # only for the signature of wrap_minigpt_with_lora
    "planning/inputs.py",  # measures a base of the config's shape where none is pretrained yet
    "pretrain.py",
    "bases.py",  # the entrance for every kind of base
    "storage/checkpoint.py",
}
FOLDERS = {"fast", "interop", "cli"}


def modules_imported_by(path: Path) -> set[str]:
    """The dotted names of every imported module, and of what is imported from it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_what_makes_or_saves_a_minigpt_imports_it() -> None:
    importing = {
        path.relative_to(ROOT / "minituner")
        for path in (ROOT / "minituner").rglob("*.py")
        if any(
            f"{name}.".startswith(("minituner.model.", "minituner.fast."))
            for name in modules_imported_by(path)
        )
    }
    others = {path.as_posix() for path in importing if path.parts[0] not in FOLDERS}
    assert others == OF_MINIGPT
