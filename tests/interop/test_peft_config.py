"""An adapter_config.json is accepted if minituner's adapter computes the same as PEFT's."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from adapters import CONFIG, change, refusal
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists

from minituner.interop.peft_config import HARMLESS, OTHER_KINDS, READ, read_peft_config
from minituner.interop.peft_import import import_adapter
from minituner.model import MiniGPT


def test_every_key_of_the_installed_peft_is_in_one_table() -> None:
    keys = LoraConfig().to_dict().keys()
    assert keys <= READ.keys() | HARMLESS.keys() | OTHER_KINDS.keys()
    assert len({*READ} | {*HARMLESS} | {*OTHER_KINDS}) == len(READ) + len(HARMLESS) + len(
        OTHER_KINDS
    )


@pytest.mark.parametrize("default", [{}, None, [], False, ""])
def test_empty_values_mean_the_default(base: MiniGPT, adapter: Path, default: Any) -> None:
    keys = {*READ, *HARMLESS, *OTHER_KINDS, "of_a_newer_peft"}
    wanted = {"peft_type", "r", "lora_alpha"}
    change(adapter, **dict.fromkeys(keys - wanted, default))
    config = import_adapter(adapter, base).config.lora
    assert (config.r, config.alpha, config.dropout) == (4, 12.0, 0.0)
    assert not config.use_dora and not config.use_rslora
    for key in wanted:
        change(adapter, peft_type="LORA", r=4, lora_alpha=12)
        change(adapter, **{key: default})
        assert f"{CONFIG}: {key}: is " in refusal(adapter, base)


def test_required_keys_are_enough(base: MiniGPT, adapter: Path) -> None:
    (adapter / CONFIG).write_text('\ufeff{"peft_type": "LORA", "r": 4, "lora_alpha": 6.5}')
    assert import_adapter(adapter, base).config.lora.alpha == 6.5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "IA3"),
        ("peft_type", "ADALORA"),
        ("peft_type", 7),
        ("task_type", "SEQ_CLS"),
        ("task_type", "FEATURE_EXTRACTION"),
        ("task_type", True),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("bias", 1),
        ("rank_pattern", {"fc1": 8}),
        ("alpha_pattern", {"fc1": 8}),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", "of_a_newer_peft"),
        ("init_lora_weights", 1),
        ("init_lora_weights", ["gaussian"]),
        ("alora_invocation_tokens", [5, 6]),
        ("arrow_config", {"top_k": 3}),
        ("kasa_config", {"beta": 1e-4}),
        ("layer_replication", [[0, 2], [1, 2]]),
        ("lora_bias", True),
        ("megatron_config", {"hidden_size": 8}),
        ("modules_to_save", ["lm_head"]),
        ("monteclora_config", {"num_samples": 8}),
        ("target_parameters", ["fc1.weight"]),
        ("trainable_token_indices", [3]),
        ("trainable_token_indices", {"embed_tokens": [3]}),
        ("use_bdlora", {"nblocks": 1}),
        ("use_qalora", True),
        ("velora_config", {"num_groups": 64}),
    ],
)
def test_another_kind_of_adapter_is_refused_by_key(
    base: MiniGPT, adapter: Path, key: str, value: Any
) -> None:
    change(adapter, **{key: value})
    message = refusal(adapter, base)
    assert f"{CONFIG}: {key}: is an adapter of another kind" in message
    assert json.dumps(value) in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("r", "8", "a whole number of at least 1"),
        ("r", 8.5, "a whole number of at least 1"),
        ("r", True, "a whole number of at least 1"),
        ("r", 0, "a whole number of at least 1"),
        ("r", -4, "a whole number of at least 1"),
        ("r", [4], "a whole number of at least 1"),
        ("r", float("nan"), "a whole number of at least 1"),
        ("lora_alpha", "sixteen", "a number above 0"),
        ("lora_alpha", "16", "a number above 0"),
        ("lora_alpha", True, "a number above 0"),
        ("lora_alpha", 0, "a number above 0"),
        ("lora_alpha", -1, "a number above 0"),
        ("lora_alpha", float("nan"), "a number above 0"),
        ("lora_alpha", float("inf"), "a number above 0"),
        ("lora_alpha", 10**400, "a number above 0"),
        ("lora_dropout", "0.1", "a number of at least 0 and below 1"),
        ("lora_dropout", 1.0, "a number of at least 0 and below 1"),
        ("lora_dropout", float("nan"), "a number of at least 0 and below 1"),
        ("use_dora", "yes", "true or false"),
        ("use_dora", 1, "true or false"),
        ("use_rslora", "false", "true or false"),
        ("target_modules", 5, "a list of layer names, or one pattern for them"),
        ("target_modules", ["fc2", 5], "a list of layer names, or one pattern for them"),
        ("target_modules", {"fc2": 1}, "a list of layer names, or one pattern for them"),
        ("target_modules", "fc(2", "a list of layer names, or one pattern for them"),
        ("exclude_modules", 5, "a list of layer names, or one pattern for them"),
        ("layers_to_transform", "0", "a list of block numbers, or one number"),
        ("layers_to_transform", [0.5], "a list of block numbers, or one number"),
        ("rank_pattern", [4], "an object"),
        ("alpha_pattern", "12", "an object"),
        ("base_model_name_or_path", 5, "the name of the base, as a string"),
    ],
)
def test_wrong_types_are_refused_by_key(
    base: MiniGPT, adapter: Path, key: str, value: Any, expected: str
) -> None:
    change(adapter, **{key: value})
    message = refusal(adapter, base)
    assert f"{CONFIG}: {key}: is not what PEFT writes there" in message
    assert f"expected: {expected}" in message


def test_unknown_keys_are_refused_unless_empty(base: MiniGPT, adapter: Path) -> None:
    for value in (True, 0, 16, "on", [0], {"beta": None}):
        change(adapter, of_a_newer_peft=value)
        message = refusal(adapter, base)
        assert f"{CONFIG}: of_a_newer_peft: is not a known key; from a newer PEFT?" in message


def test_all_errors_in_a_config_are_reported_together(base: MiniGPT, adapter: Path) -> None:
    change(adapter, r="8", lora_alpha=..., use_dora="yes", bias="all", peft_type=...)
    message = refusal(adapter, base)
    assert message.startswith("5 mistakes:")
    for key in ("r", "lora_alpha", "use_dora", "bias", "peft_type"):
        assert f"{adapter / CONFIG}: {key}: is " in message


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"LORA"', "[" * 100_000, "9" * 5000, "{'r': 4}"],
    ids=["nothing", "half", "list", "null", "number", "text", "deep", "long", "Python"],
)
def test_a_config_that_is_not_a_json_object_is_refused(
    base: MiniGPT, adapter: Path, text: str
) -> None:
    (adapter / CONFIG).write_text(text)
    assert f"{adapter / CONFIG}: cannot be read as a JSON object" in refusal(adapter, base)
    (adapter / CONFIG).write_bytes(b'{"r": "\xff"}')
    assert f"{adapter / CONFIG}:1: is not UTF-8" in refusal(adapter, base)


def test_redundant_rank_and_alpha_patterns_are_accepted(base: MiniGPT, adapter: Path) -> None:
    change(adapter, rank_pattern={"fc2": 4}, alpha_pattern={"fc1": 12, "fc2": 12.0})
    assert import_adapter(adapter, base).config.lora.r == 4


def test_selects_matches_pefts_own_selection(adapter: Path) -> None:
    layers = [
        f"model.decoder.layers.{block}.{layer}"
        for block in (0, 1, 11)
        for layer in ("self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2")
    ]
    targets = (["fc2"], ["q_proj", "1.fc1"], ["c2", "gate_proj"], r".*\.1\.(fc1|.*q_proj)", "fc2")
    excluded = (None, [], ["layers.0.fc2"], ["fc1", "proj"], r".*\.1\..*")
    blocks = (None, [], 0, 1, [1], [0, 11])
    for target, exclude, chosen in itertools.product(targets, excluded, blocks):
        if isinstance(target, str) and chosen is not None:
            continue  # PEFT has no such config
        options = {"exclude_modules": exclude, "layers_to_transform": chosen}
        change(adapter, target_modules=target, **options)
        ours = read_peft_config(adapter / CONFIG)
        theirs = LoraConfig(target_modules=target, **options)
        for layer in layers:
            found = check_target_module_exists(theirs, layer)
            assert ours.selects(layer) == bool(found), (layer, target, options)
