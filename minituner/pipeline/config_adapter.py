"""Rules of the config on the layers that get adapters, in the study and in the runs of its arms.

The layers of a MiniGPT are known before it exists. Of a transformers folder, the headers of its
weights say in milliseconds what cannot be a layer of it. `train` checks the rest, and any model of
the hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minituner.errors import UserError
from minituner.hf.hub import is_transformers
from minituner.hf.names import stored_matrices
from minituner.storage.messages import nearest
from minituner.storage.schema import Keys, Problem
from minituner.target_layers import ALL_LINEAR, choose_numbers, layer_numbers

Config = Mapping[str, Any]
MINIGPT_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "mlp.fc1", "mlp.fc2")


def targets_exist(config: Config) -> Iterator[Problem]:
    """The names of layers are those of a MiniGPT, if the base is one; or end as a weight of the
    base's folder does."""
    if is_transformers(config["base"]["checkpoint"]):
        yield from _targets_in_folder(config)
        return
    for keys, targets in _values(config, "target_modules"):
        for i, target in enumerate([] if targets == ALL_LINEAR else targets):
            if target not in (*MINIGPT_TARGETS, ALL_LINEAR):
                yield Problem(
                    (*keys, str(i)),
                    "the base has no such layer",
                    found=repr(target),
                    expected=f"{ALL_LINEAR}, or any of {', '.join(MINIGPT_TARGETS)}",
                    fix=nearest(target, MINIGPT_TARGETS) or "write one of those",
                )


def _targets_in_folder(config: Config) -> Iterator[Problem]:
    """The study's own targets. Only their last parts are compared: transformers may give what comes
    before them another name when it loads a model."""
    stored = stored_matrices(config["base"]["checkpoint"])
    targets = config["lora"]["target_modules"]
    last = {name.rsplit(".", 1)[-1] for name in stored}
    endings = sorted({".".join(name.split(".")[-2:]) for name in stored if layer_numbers([name])})
    for i, target in enumerate([] if targets == ALL_LINEAR or not stored else targets):
        if target != ALL_LINEAR and target.rsplit(".", 1)[-1] not in last:
            yield Problem(
                ("lora", "target_modules", str(i)),
                "the base has no such layer",
                found=repr(target),
                expected=f"{ALL_LINEAR}, or any of {', '.join(endings)}",
                fix=f"write one of those, or {ALL_LINEAR}",
            )


def layers_exist(config: Config) -> Iterator[Problem]:
    """The base has the layers, if the pipeline pretrains it or it is a folder."""
    base = config["base"]
    existing: list[int] = []
    fix = "or all with null"
    others: tuple[Keys, ...] = ()
    if base["checkpoint"] is None:
        existing = list(range(base["model"]["n_layers"]))
        fix, others = "or raise base.model.n_layers", (("base", "model", "n_layers"),)
    elif is_transformers(base["checkpoint"]):
        existing = sorted(set(layer_numbers(stored_matrices(base["checkpoint"])).values()))
    for keys, layers in _values(config, "layers"):
        try:
            if layers is not None and existing:
                choose_numbers(layers, existing)
        except UserError as error:
            yield Problem(
                keys,
                error.what,
                found=str(layers),
                expected=f"some of the {len(existing)} layers, counted from 0",
                fix=f"choose among those, {fix}",
                others=others,
            )


def _values(config: Config, key: str) -> Iterator[tuple[Keys, Any]]:
    """The values of a key of ``lora``, in the study and in every run that sets it."""
    yield ("lora", key), config["lora"][key]
    for arm, section in config["ablations"].items():
        for run, overrides in section["runs"].items():
            if key in overrides.get("lora", {}):
                yield ("ablations", arm, "runs", run, "lora", key), overrides["lora"][key]
