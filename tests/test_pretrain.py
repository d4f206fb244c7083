"""Pretraining: the best weights, the held-out texts, the same bytes for a seed, and its corpus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from models import PAD_ID
from torch import Tensor

from minituner.batches import IGNORE_INDEX, Batch, Example, Loader
from minituner.causal_lm import CausalLM
from minituner.data.rows import COLUMNS, Row
from minituner.errors import UserError
from minituner.loop import mean_loss, token_losses
from minituner.model import MiniGPTConfig
from minituner.pretrain import (
    PretrainConfig,
    cosine_lr,
    describe_corpus,
    pretrain,
    pretrain_on_rows,
)
from minituner.seeding import generator
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer


@pytest.mark.parametrize(
    ("step", "share"),  # ten steps of warm-up, then a hundred of cosine
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (35, 0.55 + 0.45 / 2**0.5), (60, 0.55), (110, 0.1)],
)
def test_cosine_lr_warms_up_and_falls_to_a_tenth(step: int, share: float) -> None:
    assert cosine_lr(step, 110, 2e-3, 10) == pytest.approx(2e-3 * share)


def test_cosine_lr_without_warm_up_starts_at_its_peak() -> None:
    assert cosine_lr(0, 5, 1.0, 0) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    """Texts of random tokens: they can only be learned by heart."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(4, 40, (5 + i % 3,), generator=draw).tolist() for i in range(24)]


SHAPE = MiniGPTConfig(40, 8, d_model=16, n_layers=1, n_heads=2)
PRETRAIN = PretrainConfig(
    epochs=6, batch_size=8, learning_rate=3e-2, warmup_steps=2, validate_every=2,
    validation_share=0.25, seed=3,
)  # fmt: skip


def test_pretrain_keeps_the_best_weights_on_held_out_texts(
    texts: list[list[int]],
) -> None:
    model, log = pretrain(texts, SHAPE, PRETRAIN, PAD_ID)
    assert [row.step for row in log] == list(range(19))  # 18 texts, 8 per batch, 6 epochs
    measured = {row.step: row.val_loss for row in log if row.val_loss is not None}
    assert list(measured) == list(range(0, 19, 2))
    best = min(measured, key=measured.__getitem__)
    assert best != 18 and measured[18] > measured[best] + 0.1, "the last must not be the best"

    order = torch.randperm(24, generator=generator(3, "held out")).tolist()
    held_out = [Example(texts[i], 1) for i in order[:6]]
    assert mean_loss(model, Loader(held_out, 1, PAD_ID)) == pytest.approx(measured[best], abs=1e-5)
    assert not model.training


def test_held_out_texts_are_never_trained_on(
    texts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: Counter[tuple[int, ...]] = Counter()

    def spy(model: CausalLM, batch: Batch) -> Tensor:
        for row, labels in zip(batch.input_ids, batch.labels, strict=True):
            trained[tuple(row[labels != IGNORE_INDEX].tolist())] += model.training
        return token_losses(model, batch)

    monkeypatch.setattr("minituner.loop.token_losses", spy)
    pretrain(texts, SHAPE, PRETRAIN, PAD_ID)
    order = torch.randperm(24, generator=generator(3, "held out")).tolist()
    assert [trained[tuple(texts[i][:-1])] for i in order] == [0] * 6 + [PRETRAIN.epochs] * 18


def test_pretrain_gives_the_same_base_for_a_seed(texts: list[list[int]]) -> None:
    def hash_of(seed: int) -> str:
        config = replace(PRETRAIN, epochs=1, seed=seed)
        return weights_sha256(pretrain(texts, SHAPE, config, PAD_ID)[0].state_dict())

    first = hash_of(0)
    torch.rand(3)  # torch's own stream plays no part
    assert hash_of(0) == first != hash_of(1)


def row(line: int, written: str = "went", **fields: str) -> Row:
    """A plain row of ``go``, right or over-regularized."""
    wrong = written == "goed"
    values = dict.fromkeys(COLUMNS) | {
        "id": f"r-{line}",
        "text": f"He {written} to school yesterday.",
        "verb_lemma": "go",
        "tense": "past_simple",
        "person": "3sg",
        "english_regularity": "irregular",
        "label": "mis_conjugated" if wrong else "correct",
        "correct_form": "went" if wrong else None,
        **fields,
    }
    return Row(**values, path="base.jsonl", line=line)  # type: ignore[arg-type]


def test_sentence_beyond_the_context_is_named_by_file_and_line(tokenizer: TextTokenizer) -> None:
    rows = [row(1), row(2, text="He went to school " + "and went home " * 9), row(3)]
    shape = {"context_length": 16, "d_model": 8, "n_layers": 1, "n_heads": 1}
    with pytest.raises(UserError, match=r"^base\.jsonl:2: the sentence is longer"):
        pretrain_on_rows(rows, tokenizer, shape, PretrainConfig())


def test_pretrain_on_rows_summarizes_corpus_and_training(tokenizer: TextTokenizer) -> None:
    rows = [row(line, "goed" if line % 4 == 0 else "went") for line in range(1, 9)]
    shape = {"context_length": 16, "d_model": 8, "n_layers": 1, "n_heads": 1}
    config = PretrainConfig(epochs=3, batch_size=4, warmup_steps=1, validate_every=1)
    model, log, summary = pretrain_on_rows(rows, tokenizer, shape, config)
    assert summary["corpus"]["over_regularized_share"] == 0.25
    assert summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert summary["vocabulary"] == tokenizer.vocab_size == model.config.vocab_size
    assert summary["steps"] == 3 * 2  # 7 texts, 4 per batch
    assert summary["best_val_loss"] == min(row.val_loss for row in log if row.val_loss is not None)
    assert log[summary["best_step"]].val_loss == summary["best_val_loss"]
    words = [tokenizer.encode(r.text) for r in rows]
    assert summary["tokens"] == sum(len(ids) + 2 for ids in words)  # and <bos> and <eos>


def test_over_regularized_share_is_of_irregular_past_forms() -> None:
    rows = [
        row(1, "goed"),
        row(2),
        row(3, tense="past_participle"),
        row(4, tense="present"),
        row(5, english_regularity="regular"),
        row(6, prompt="He __ to school yesterday.", target="went / fue"),
    ]
    assert describe_corpus(rows) == {
        "sentences": 6,
        "fill_in": 1,
        "irregular_past_forms": 4,
        "over_regularized": 1,
        "over_regularized_share": 0.25,
    }
    assert describe_corpus([row(1, tense="present")])["over_regularized_share"] == 0.0
