"""Which layers get an adapter, by name and by transformer layer."""

from __future__ import annotations

from typing import Any

import pytest

from minituner.causal_lm import linear_layers
from minituner.errors import UserError
from minituner.lora import lora_layers, wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.pipeline.config_adapter import MINIGPT_TARGETS
from minituner.target_layers import (
    choose_numbers,
    is_layers,
    layer_list,
    layer_numbers,
    numbers_shown,
    select_layers,
)

LINEARS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
LLAMA = [f"model.layers.{i}.{linear}" for i in range(12) for linear in LINEARS]
GPT2 = [f"transformer.h.{i}.attn.c_attn" for i in range(3)]
# Attention in every third layer only, numbered parts inside a layer, and layers outside the list.
HYBRID = [
    "model.project_in",
    *(f"model.layers.{i}.mlp.experts.{e}.up_proj" for i in range(6) for e in range(2)),
    "model.layers.2.attn.q_proj",
    "model.layers.5.attn.q_proj",
    "model.project_out",
]


@pytest.mark.parametrize(
    ("names", "in_list", "numbers"),
    [
        (LLAMA, "model.layers", list(range(12))),
        (GPT2, "transformer.h", [0, 1, 2]),
        (HYBRID, "model.layers", list(range(6))),
        (["blocks.1.mlp.fc2", "blocks.0.mlp.fc2"], "blocks", [0, 1]),
        (["tower.0.a", "model.layers.4.a", "model.layers.5.a"], "model.layers", [4, 5]),
        (["hidden", "head.2x"], None, []),
    ],
)
def test_layers_are_counted_in_the_list_of_transformer_layers(
    names: list[str], in_list: str | None, numbers: list[int]
) -> None:
    assert layer_list(names) == in_list
    assert sorted(set(layer_numbers(names).values())) == numbers
    assert all(name.startswith(f"{in_list}.") for name in layer_numbers(names))


def test_all_linear_is_every_layer_and_endings_keep_the_models_order() -> None:
    assert select_layers(LLAMA, ["all-linear"]) == LLAMA
    assert select_layers(LLAMA, ["v_proj", "self_attn.q_proj"]) == [
        name for name in LLAMA if "down" not in name
    ]


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        ("last 1", [11]),
        ("last 12", list(range(12))),
        ("first 2", [0, 1]),
        ((5, 0), [0, 5]),
        (None, list(range(12))),
    ],
)
def test_layers_restrict_the_choice(layers: Any, numbers: list[int]) -> None:
    for targets in (["down_proj"], ["all-linear"]):
        chosen = select_layers(LLAMA, targets, layers)
        everywhere = select_layers(LLAMA, targets)
        assert chosen == [n for n in everywhere if int(n.split(".")[2]) in numbers]


@pytest.mark.parametrize(
    ("names", "targets", "layers", "words"),
    [
        (LLAMA, ["o_proj"], None, ("found:    o_proj\n", "mlp.down_proj, self_attn.q_proj")),
        (LLAMA, [], None, ("an empty list",)),
        (LLAMA, ["q_proj"], "last 13", ("found:    last 13\n", "some of layers 0 to 11")),
        (LLAMA, ["q_proj"], (0, 12, 40), ("found:    12, 40\n", "some of layers 0 to 11")),
        (["hidden"], ["hidden"], "last 1", ("last 1", "it has no list")),
        (HYBRID, ["q_proj"], (4, 5), ("no q_proj in layer 4\n", "in layers 2 and 5\n")),
        (HYBRID, ["q_proj", "up_proj"], "last 1", ()),
        (HYBRID, ["q_proj", "up_proj"], "first 2", ("no q_proj in layers 0 and 1\n",)),
        (HYBRID, ["all-linear", "project_in"], "last 2", ("no project_in in", "in no layer\n")),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(
    names: list[str], targets: list[str], layers: Any, words: tuple[str, ...]
) -> None:
    if not words:
        assert select_layers(names, targets, layers)
        return
    with pytest.raises(UserError) as refusal:
        select_layers(names, targets, layers)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)


@pytest.mark.parametrize(
    "layers", ["last", "last 0", "last -1", "8", "Last 8", "last 8 ", (), (1, 1), (-1,), (True,), 8]
)
def test_malformed_layers_are_refused(layers: Any) -> None:
    assert not is_layers(layers)
    with pytest.raises(UserError, match=r"^layers: "):
        LoRAConfig(layers=layers)


def test_config_takes_a_word_and_lists_as_a_yaml_file_has_them() -> None:
    config = LoRAConfig(target_modules="all-linear", layers=[1, 0])  # type: ignore[arg-type]
    assert (config.target_modules, config.layers) == (("all-linear",), (1, 0))
    assert choose_numbers("first 1", range(3)) == {0}


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([], "no layer"),
        ([3], "layer 3"),
        ([5, 0], "layers 0 and 5"),
        ([0, 1], "layers 0 and 1"),
        ([2, 1, 3], "layers 1 to 3"),
        ([0, 1, 3], "layers 0, 1 and 3"),
    ],
)
def test_numbers_are_shown_in_words(numbers: list[int], shown: str) -> None:
    assert numbers_shown(numbers) == shown


def test_wrap_adapts_the_chosen_layers_only(base: MiniGPT) -> None:
    model = wrap(base, LoRAConfig(4, target_modules=("all-linear",), layers="last 1"), seed=0)
    assert [name for name, _ in lora_layers(model)] == [
        f"blocks.1.{part}"
        for part in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj", "mlp.fc1",
                     "mlp.fc2")
    ]  # fmt: skip


def test_names_that_the_config_allows_are_those_of_a_minigpt(base: MiniGPT) -> None:
    names = [name for name, _ in linear_layers(base)]
    matched = [name for target in MINIGPT_TARGETS for name in select_layers(names, [target])]
    assert sorted(matched) == sorted(names)
