"""The saved state of a pretraining run, from which a killed run resumes to the same bytes."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from minituner.errors import UserError
from minituner.loop import LogRow
from minituner.storage.tensors import check_tensors, load_tensors, save_tensors

STATE_FORMAT = "minituner-pretraining-2"


class BestWeights:
    """Keeps a copy of the weights with the lowest validation loss so far."""

    def __init__(self) -> None:
        self.val_loss = math.inf
        self.weights: dict[str, Tensor] = {}

    def update(self, val_loss: float, model: nn.Module) -> None:
        """Keep the model's weights if ``val_loss`` is lower than all before."""
        if val_loss < self.val_loss:
            self.val_loss = val_loss
            self.weights = {name: t.clone() for name, t in model.state_dict().items()}


class TrainingCheckpoint:
    """The state of a pretraining run on disk: weights, optimizer, best weights and log.

    The order of the batches follows from the seed, so the number of steps taken gives the position
    in the data. The state of another run (other texts, shape or settings) is not used, nor is a
    damaged one.
    """

    def __init__(self, path: str | Path | None, fingerprint: str) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = fingerprint

    def save(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        best: BestWeights,
        log: Sequence[LogRow],
    ) -> None:
        """Replace the saved state with the current one."""
        if self.path is not None:
            save_tensors(
                self.path,
                {
                    "format": STATE_FORMAT,
                    "fingerprint": self.fingerprint,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "best": {"val_loss": best.val_loss, "weights": best.weights},
                    "log": [list(astuple(row)) for row in log],
                },
            )

    def restore(self, model: nn.Module, optimizer: Optimizer, best: BestWeights) -> list[LogRow]:
        """Load this run's state, if there is one; returns its log, or an empty one.

        A state that cannot be used is reported, and changes nothing.
        """
        if self.path is None or not self.path.is_file():
            return []
        try:
            state = load_tensors(self.path, STATE_FORMAT)
            if state["fingerprint"] != self.fingerprint:
                self._report(f"{self.path} is of another run: other texts, settings, code or torch")
                return []
            shapes = {name: tuple(t.shape) for name, t in model.state_dict().items()}
            for weights in (state["model"], state["best"]["weights"]):
                check_tensors(weights, shapes, str(self.path))
            val_loss, log = state["best"]["val_loss"], [LogRow(*row) for row in state["log"]]
            step = log[-1].step
            optimizer.load_state_dict(state["optimizer"])  # checks before it changes anything
        except (UserError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = error.what if isinstance(error, UserError) else repr(error)
            self._report(f"{self.path} {reason}")
            return []
        model.load_state_dict(state["model"])
        best.val_loss, best.weights = val_loss, state["best"]["weights"]
        print(f"pretraining resumes from step {step}", file=sys.stderr)
        return log

    def _report(self, reason: str) -> None:
        message = f"the saved state cannot be used, so pretraining starts over: {reason}"
        print(message, file=sys.stderr)

    def remove(self) -> None:
        """Delete the state of a run that has ended."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def fingerprint(texts: Sequence[list[int]], *settings: dict[str, Any]) -> str:
    """A hash of the texts and settings of a run, of torch's version and number of threads."""
    environment = [torch.get_num_threads(), torch.__version__]
    return hashlib.sha256(json.dumps([*settings, *environment, texts]).encode()).hexdigest()
