"""minituner against PEFT's layer in a plain loop and against Trainer, on the same work."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import measure
import work
from llama import TOP_LAYERS
from measure import Usage

SCRIPTS = {"minituner": "ours.py", "PEFT loop": "peft_loop.py", "Trainer": "peft_trainer.py"}


def training(repetitions: int, scratch: Path) -> dict[str, Any]:
    """One rank with five seeds in three ways."""
    opt = scratch / "opt"
    export = ["export", "--to", "transformers", opt, "--base", work.BASE]
    measure.run([sys.executable, "-m", "minituner", *export, "--tokenizer", work.TOKENIZER])
    return _compare(repetitions, scratch, "--opt", opt)


def llama(repetitions: int, scratch: Path) -> dict[str, Any]:
    """One rank with five seeds over a transformers base: adapters on all layers, and on the top
    third."""
    folder = scratch / "llama"
    measure.python("llama.py", folder)
    common = ("--llama", folder)
    return {
        "every layer": _compare(repetitions, scratch, *common),
        "the top third": _compare(repetitions, scratch, *common, "--top", TOP_LAYERS),
    }


def _compare(repetitions: int, scratch: Path, *arguments: object) -> dict[str, Any]:
    """The seconds of each contestant, and losses which show that the work is the same."""

    def once(script: str, *more: object) -> Usage:
        out = ("--out", scratch / script)
        return measure.python(script, "--threads", 1, *arguments, *out, *more)

    # The losses come first, because these runs also warm up the file cache.
    losses = {}
    for name, script in SCRIPTS.items():
        once(script, "--seeds", 1, "--losses", scratch / f"{script}.json")
        losses[name] = json.loads((scratch / f"{script}.json").read_text())
    usages = measure.alternate(
        {name: partial(once, script) for name, script in SCRIPTS.items()},
        repetitions,
    )
    ours = losses["minituner"]
    return {
        "contestants": {name: measure.summary(runs) for name, runs in usages.items()},
        "ratio_to_minituner": {
            name: measure.spread(
                [
                    run.wall_seconds / own.wall_seconds
                    for run, own in zip(runs, usages["minituner"], strict=True)
                ]
            )
            for name, runs in usages.items()
        },
        "seeds": work.SEEDS,
        "steps": len(ours["train"]),
        "trained_parameters": {name: found["trained_parameters"] for name, found in losses.items()},
        "largest_loss_difference": {
            name: _largest_difference(found, ours) for name, found in losses.items()
        },
    }


def _largest_difference(found: Mapping[str, Any], ours: Mapping[str, Any]) -> float:
    """The largest difference between corresponding losses, in nats.

    Raises:
        ValueError: The two have different numbers of losses.
    """
    return max(
        abs(loss - own)
        for kind in ("train", "val", "control")
        for loss, own in zip(found[kind], ours[kind], strict=True)
    )
