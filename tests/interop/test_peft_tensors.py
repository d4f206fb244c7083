"""PEFT's tensors are accepted if they are exactly those that its config describes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import A0, B0, CONFIG, NAME, WEIGHTS, change, refusal, tensors_of
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from minituner.errors import UserError
from minituner.interop.peft_import import import_adapter
from minituner.model import MiniGPT

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT has many


Tensors = dict[str, Tensor]


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): t.clone() for name, t in tensors.items()}


def with_one(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: torch.ones(shape)}


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: t for key, t in tensors.items() if key != name}


DAMAGES: dict[str, tuple[Callable[[Tensors], Tensors], list[str]]] = {
    "torch.compile": (
        renamed("model.model.", "model._orig_mod.model."),
        ["holds names of torch.compile", "save model._orig_mod"],
    ),
    "state_dict": (
        renamed(".weight", ".default.weight"),
        ["holds names of a state_dict", "save_pretrained instead of its state_dict"],
    ),
    "whole state_dict": (
        lambda t: {
            **renamed(".weight", ".mine.weight")(t),
            "base_model.model.lm_head.weight": torch.ones(3, 3),
            NAME.format(0, "base_layer.weight"): torch.ones(3, 3),
        },
        ["holds names of a state_dict"],
    ),
    "DataParallel": (renamed("base_model", "module.base_model"), ["holds names of DataParallel"]),
    "FSDP": (renamed("base_model", "_fsdp_wrapped_module.base_model"), ["holds names of FSDP"]),
    "MLX": (lambda _: {"model.layers.0.mlp.fc2.lora_a": torch.ones(128, 4)}, ["names of MLX"]),
    "no prefix": (renamed("base_model.model.", ""), ["holds names of another program"]),
    "two prefixes": (
        lambda t: {**t, **renamed("base_model.model.", "")(t)},
        ["holds names of another program"],
    ),
    "two spellings": (
        lambda t: {**t, **renamed("layers.0", "layers.00")(t)},
        ["adapts a layer that minituner cannot adapt", "layers.00.fc2"],
    ),
    "other layer": (
        with_one(NAME.format(0, "lora_A.weight").replace("fc2", "gate"), 4, 4),
        ["adapts a layer that minituner cannot adapt", "layers.0.gate.lora_A.weight"],
    ),
    "a norm": (
        with_one(NAME.format(0, "lora_A.weight").replace("fc2", "final_layer_norm"), 4, 4),
        ["adapts a layer that minituner cannot adapt", "final_layer_norm"],
    ),
    "the head": (
        with_one("base_model.model.lm_head.lora_A.weight", 4, 32),
        ["adapts a layer that minituner cannot adapt", "lm_head"],
    ),
    "a block too many": (
        lambda t: {**t, **renamed("layers.0", "layers.7")(t)},
        ["adapts a layer that minituner cannot adapt", "layers.7.fc2"],
    ),
    "B's bias": (
        with_one(NAME.format(0, "lora_B.bias"), 32),
        ["does not have"],
    ),
    "an embedding": (
        with_one("base_model.model.model.decoder.embed_tokens.weight", 9, 32),
        ["holds the base's embedding in addition to", "save_embedding_layers=False"],
    ),
    "A without B": (without(B0), ["tensors are missing", B0]),
    "B without A": (without(A0), ["tensors are missing", A0]),
    "a magnitude": (
        with_one(NAME.format(0, "lora_magnitude_vector"), 32),
        ["unknown tensors", "lora_magnitude_vector"],
    ),
    "none": (lambda _: {}, ["holds no adapter"]),
    "ZeRO-3": (lambda t: dict.fromkeys(t, torch.ones(0)), ["holds empty tensors", "ZeRO-3"]),
    "NaN": (lambda t: {**t, B0: t[B0] * float("nan")}, ["not finite", B0]),
    "infinity": (lambda t: {**t, A0: t[A0] / 0}, ["not finite", A0]),
    "a float64 too large": (lambda t: {**t, A0: t[A0].double() * 1e300}, ["not finite", A0]),
    "transposed": (lambda t: {**t, B0: t[B0].T.contiguous()}, ["another shape", f"{B0} (4, 32)"]),
    "another width": (lambda t: {**t, A0: t[A0][:, :64].contiguous()}, ["another shape", A0]),
    "a scalar": (lambda t: {**t, A0: torch.tensor(1.0)}, ["another shape", f"{A0} ()"]),
    "quantized": (lambda t: {**t, A0: t[A0].to(torch.int8)}, ["not floats", f"{A0} torch.int8"]),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_from_peft_refuses_unusable_tensors(
    base: MiniGPT,
    adapter: Path,
    damage: Callable[[Tensors], Tensors],
    words: list[str],
) -> None:
    save_file(damage(tensors_of()), adapter / WEIGHTS)
    message = refusal(adapter, base)
    assert message.startswith(f"{adapter / WEIGHTS}: ")
    for word in words:
        assert word in message


def test_a_rank_that_differs_from_the_tensors_is_refused(base: MiniGPT, adapter: Path) -> None:
    change(adapter, r=8)
    message = refusal(adapter, base)
    assert f"{CONFIG}: r: is not the rank of the tensors\n  found:    8\n  expected: 4" in message
    change(adapter, r=4)
    save_file({**tensors_of(), **tensors_of(2, (1,))}, adapter / WEIGHTS)
    assert "expected: 2, 4, as in" in refusal(adapter, base)
    change(adapter, r=64)
    save_file(tensors_of(64), adapter / WEIGHTS)
    assert f"{CONFIG}: r: is too large" in refusal(adapter, base)


def test_dora_without_its_magnitude_is_refused(base: MiniGPT, adapter: Path) -> None:
    change(adapter, use_dora=True)
    message = refusal(adapter, base)
    assert f"{WEIGHTS}: tensors are missing" in message
    assert NAME.format(0, "lora_magnitude_vector") in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_converted_to_float32(
    base: MiniGPT, adapter: Path, dtype: torch.dtype
) -> None:
    stored = {name: tensor.to(dtype) for name, tensor in tensors_of().items()}
    save_file(stored, adapter / WEIGHTS)
    weights = import_adapter(adapter, base).weights
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert torch.equal(weights["blocks.0.mlp.fc2.lora_A"], stored[A0].float())


CONTENTS = {
    "nothing": (b"", "an empty file"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "zip": (b"PK\x03\x04 and so on", "a pickle"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle"),
    "page": (b"<!DOCTYPE html><html>", "a web page"),
    "garbage": (b"no tensors", "copy it again from its source"),
}


@pytest.mark.parametrize(("content", "words"), CONTENTS.values(), ids=CONTENTS)
def test_files_mistaken_for_safetensors_are_named(
    base: MiniGPT, adapter: Path, content: bytes, words: str
) -> None:
    (adapter / WEIGHTS).write_bytes(content)
    message = refusal(adapter, base)
    assert f"{adapter / WEIGHTS}: cannot be read as safetensors" in message
    assert words in message


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"target_modules": ["fc1", "fc2"]}, "layers.0.fc1 without tensors"),
        ({"target_modules": ["fc1"]}, "layers.0.fc2 not selected"),
        ({"target_modules": r".*\.0\.fc2"}, "layers.1.fc2 not selected"),
        ({"target_modules": "all-linear"}, "k_proj without tensors"),
        ({"exclude_modules": ["layers.1.fc2"]}, "layers.1.fc2 not selected"),
        ({"layers_to_transform": [0]}, "layers.1.fc2 not selected"),
    ],
)
def test_a_config_that_selects_other_layers_is_refused(
    base: MiniGPT, adapter: Path, keys: dict[str, Any], words: str
) -> None:
    change(adapter, **keys)
    message = refusal(adapter, base)
    assert f"{CONFIG}: target_modules: does not select the layers that have tensors" in message
    assert words in message


@pytest.mark.parametrize(
    "keys",
    [
        {"target_modules": ["fc2", "gate_proj"]},
        {"target_modules": r"model\.decoder\.layers\.\d\.fc2"},
        {"target_modules": "all-linear", "exclude_modules": r".*(fc1|proj)"},
        {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
    ],
)
def test_equivalent_layer_selections_are_accepted(
    base: MiniGPT, adapter: Path, keys: dict[str, Any]
) -> None:
    change(adapter, **keys)
    layers = import_adapter(adapter, base).config.lora.target_modules
    assert layers == ("blocks.0.mlp.fc2", "blocks.1.mlp.fc2")


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_pefts_adapted_embeddings_are_refused_as_such(
    exported: Path, base: MiniGPT, tmp_path: Path, layer: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(r=2, target_modules=["fc2", layer], task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(tmp_path / "theirs")
    with pytest.raises(UserError, match="adapts a layer that minituner cannot adapt") as no:
        import_adapter(tmp_path / "theirs", base)
    assert layer in str(no.value)
