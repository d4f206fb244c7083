"""The saved state of pretraining: a killed run resumes to the same bytes, or starts over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged import rename
from models import PAD_ID

from minituner.loop import LogRow
from minituner.model import MiniGPT, MiniGPTConfig
from minituner.pretrain import PretrainConfig, pretrain
from minituner.storage.tensors import save_tensors, weights_sha256
from minituner.storage.training_checkpoint import BestWeights, TrainingCheckpoint

SHAPE = MiniGPTConfig(40, 8, d_model=16, n_layers=1, n_heads=2)
PRETRAIN = PretrainConfig(
    epochs=6, batch_size=8, learning_rate=3e-2, warmup_steps=2, validate_every=2,
    validation_share=0.25, seed=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    """Texts of random tokens: they can only be learned by heart."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(4, 40, (5 + i % 3,), generator=draw).tolist() for i in range(24)]


class Killed(Exception):
    """Stands for a kill that comes right after the state was saved."""


def pretrain_until_saved(texts: list[list[int]], config: PretrainConfig, state: Path) -> None:
    save = TrainingCheckpoint.save

    def save_and_die(self: TrainingCheckpoint, *rest: Any) -> None:
        save(self, *rest)
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TrainingCheckpoint, "save", save_and_die)
        pretrain(texts, SHAPE, config, PAD_ID, state)


@pytest.mark.parametrize("save_every", [5, 9, 16, 18])  # within a pass, between two, the last step
def test_killed_pretraining_resumes_to_the_same_bytes(
    texts: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str], save_every: int
) -> None:
    config, state = replace(PRETRAIN, save_every=save_every), tmp_path / "state.pt"
    whole, log = pretrain(texts, SHAPE, config, PAD_ID)
    pretrain_until_saved(texts, config, state)
    capsys.readouterr()
    model, resumed_log = pretrain(texts, SHAPE, config, PAD_ID, state)
    assert f"resumes from step {save_every}\n" in capsys.readouterr().err
    assert resumed_log == log
    assert weights_sha256(model.state_dict()) == weights_sha256(whole.state_dict())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["seed", "rate", "texts", "damaged"])
def test_state_of_another_pretraining_is_not_used(
    texts: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    config, state = replace(PRETRAIN, save_every=5), tmp_path / "state.pt"
    pretrain_until_saved(texts, config, state)
    if other == "seed":
        config = replace(config, seed=4)
    elif other == "rate":
        config = replace(config, learning_rate=1e-2)
    elif other == "texts":
        texts = [*texts[:-1], [*texts[-1][:-1], 5]]
    else:
        state.write_bytes(state.read_bytes()[:-100])
    fresh, log = pretrain(texts, SHAPE, config, PAD_ID)
    capsys.readouterr()
    model, other_log = pretrain(texts, SHAPE, config, PAD_ID, state)
    message = capsys.readouterr().err
    assert "resumes from" not in message
    assert "cannot be used" in message
    assert ("is of another run" in message) is (other != "damaged")
    assert other_log == log
    assert weights_sha256(model.state_dict()) == weights_sha256(fresh.state_dict())
    assert not list(tmp_path.iterdir())


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    **{
        f"no {key}": lambda state, key=key: state.pop(key)  # type: ignore[misc]
        for key in ("fingerprint", "model", "optimizer", "best", "log")
    },
    "a misspelt key": lambda state: rename(state, "optimizer", "optimiser"),
    "no best weights": lambda state: state["best"].pop("weights"),
    "a missing weight": lambda state: state["model"].pop("ln_f.bias"),
    "a missing best weight": lambda state: state["best"]["weights"].pop("ln_f.bias"),
    "a weight of another shape": lambda state: state["model"].update({"ln_f.bias": torch.zeros(3)}),
    "an empty log": lambda state: state["log"].clear(),
    "a short log row": lambda state: state["log"].append([]),
    "no log": lambda state: state.update(log=None),
    "no optimizer groups": lambda state: state["optimizer"].pop("param_groups"),
    "other optimizer groups": lambda state: state["optimizer"].update(param_groups=[]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_state_starts_over_with_a_message(
    texts: list[list[int]], tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    config, path = replace(PRETRAIN, save_every=5, epochs=3), tmp_path / "state.pt"
    fresh, log = pretrain(texts, SHAPE, config, PAD_ID)
    pretrain_until_saved(texts, config, path)
    state = torch.load(path)
    BROKEN[broken](state)
    save_tensors(path, state)
    capsys.readouterr()
    model, other_log = pretrain(texts, SHAPE, config, PAD_ID, path)
    message = capsys.readouterr().err
    assert "the saved state cannot be used, so pretraining starts over" in message
    assert str(path) in message and "resumes from" not in message
    assert other_log == log
    assert weights_sha256(model.state_dict()) == weights_sha256(fresh.state_dict())
    assert not list(tmp_path.iterdir())


def test_checkpoint_without_a_path_saves_nothing(base: MiniGPT) -> None:
    checkpoint = TrainingCheckpoint(None, "fingerprint")
    optimizer = torch.optim.AdamW(base.parameters(), fused=True)
    checkpoint.save(base, optimizer, BestWeights(), [LogRow(0)])
    assert checkpoint.restore(base, optimizer, BestWeights()) == []
    checkpoint.remove()


def test_best_weights_are_a_copy_of_the_first_of_equals(
    make_base: Callable[..., MiniGPT],
) -> None:
    models = [make_base(seed) for seed in range(4)]
    best = BestWeights()
    for loss, model in zip((2.0, 1.0, 1.0, math.nan), models, strict=True):
        best.update(loss, model)
    kept = weights_sha256(models[1].state_dict())
    with torch.no_grad():
        models[1].ln_f.bias += 1
    assert best.val_loss == 1.0
    assert weights_sha256(best.weights) == kept != weights_sha256(models[1].state_dict())
