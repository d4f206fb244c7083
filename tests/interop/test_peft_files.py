"""An adapter of PEFT's is imported if ours computes the same, and refused in words if not."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

from peft import LoraConfig, get_peft_model
from peft.tuners.lora.config import CordaConfig, LoraGAConfig
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.loraga import preprocess_loraga
from peft.tuners.tuners_utils import check_target_module_exists
from transformers import AutoModelForCausalLM

from minituner.__main__ import main
from minituner.adapter_tensors import load_lora_state_dict
from minituner.causal_lm import linear_layers
from minituner.errors import UserError
from minituner.interop.opt import export_base, is_export_of, opt_name
from minituner.interop.peft_config import HARMLESS, OTHER_KINDS, READ, read_peft_config
from minituner.interop.peft_files import export_adapter_file, import_adapter
from minituner.lora import row_norms, wrap
from minituner.model import MiniGPT
from minituner.storage.adapter import load_adapter, read_adapter
from minituner.storage.checkpoint import save_base
from minituner.tokenizer import save_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own, of which it has many
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = "base_model.model.model.decoder.layers.{}.fc2.{}"


@pytest.fixture
def exported(base: MiniGPT, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The base as a folder of transformers'."""
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    export_base(base, tmp_path / "tokenizer.json", tmp_path / "opt")
    return tmp_path / "opt"


def tensors_of(r: int = 4, layers: tuple[int, ...] = (0, 1)) -> dict[str, Tensor]:
    """What PEFT saves of an adapter on fc2, drawn; the base is 32 wide."""
    torch.manual_seed(0)
    return {
        NAME.format(layer, name): torch.randn(shape)
        for layer in layers
        for name, shape in (("lora_A.weight", (r, 128)), ("lora_B.weight", (32, r)))
    }


@pytest.fixture
def adapter(exported: Path, tmp_path: Path) -> Path:
    """A folder as PEFT saves it, with every key that the installed PEFT knows."""
    folder = tmp_path / "peft"
    config = LoraConfig(
        r=4,
        lora_alpha=12,
        target_modules=["fc2"],
        task_type="CAUSAL_LM",
        base_model_name_or_path=str(exported),
    )
    config.save_pretrained(folder)
    save_file(tensors_of(), folder / WEIGHTS)
    return folder


def change(folder: Path, **keys: Any) -> None:
    """Change keys of the config; ... deletes one."""
    values = json.loads((folder / CONFIG).read_text()) | keys
    values = {key: value for key, value in values.items() if value is not ...}
    (folder / CONFIG).write_text(json.dumps(values))


def refusal(folder: Path, base: MiniGPT) -> str:
    with pytest.raises(UserError) as caught:
        import_adapter(folder, base)
    return str(caught.value)


def logits_of(folder: Path, base: MiniGPT, ids: Tensor) -> Tensor:
    """What the base computes with the adapter that was imported."""
    imported = import_adapter(folder, base)
    model = wrap(copy.deepcopy(base), imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights)
    with torch.no_grad():
        logits: Tensor = model.eval()(ids)
    return logits


# --- kinds of adapter, really trained ------------------------------------------------------------


def trained(
    exported: Path, ids: Tensor, start: Any, converted_in: Path | None = None, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """PEFT's model after two steps, and what its save_pretrained needs for a conversion."""
    model: Any = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(
        r=4, lora_alpha=12, target_modules=["v_proj", "fc2"], init_lora_weights=start, **options
    )
    if start == "corda":
        config.corda_config = CordaConfig()
        preprocess_corda(
            model, config, run_model=lambda: [model(input_ids=row[None]) for row in ids]
        )
    if start == "lora_ga":
        config.lora_ga_config = LoraGAConfig()
        preprocess_loraga(model, config, lambda: model(input_ids=ids, labels=ids).loss.backward())
    theirs: Any = get_peft_model(model, config)
    saving = {}
    if converted_in is not None:
        theirs.peft_config["default"].init_lora_weights = True
        theirs.save_pretrained(converted_in)
        theirs.peft_config["default"].init_lora_weights = start
        saving = {"path_initial_model_for_weight_conversion": str(converted_in)}
    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], 1e-2)
    for _ in range(2):
        theirs(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return theirs.eval(), saving


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva", "orthogonal", "mica"])
def test_a_start_that_leaves_the_base_alone_is_imported_and_computes_alike(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, start: Any
) -> None:
    theirs, _ = trained(exported, ids, start)
    theirs.save_pretrained(tmp_path / "peft")
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    assert torch.allclose(logits_of(tmp_path / "peft", base, ids), expected, atol=1e-5)


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("start", ["pissa", "pissa_niter_2", "olora", "OLoRA", "corda", "lora_ga"])
def test_a_start_that_changes_the_base_is_refused_until_it_is_converted(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor, start: str, use_rslora: bool
) -> None:
    theirs, saving = trained(exported, ids, start, tmp_path / "start", use_rslora=use_rslora)
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    theirs.save_pretrained(tmp_path / "peft")
    message = refusal(tmp_path / "peft", base)
    assert f"{CONFIG}: init_lora_weights: is an adapter of another kind" in message
    assert start in message
    assert "path_initial_model_for_weight_conversion" in message
    change(tmp_path / "peft", init_lora_weights=True)  # it is no plain LoRA, whatever it says
    found = logits_of(tmp_path / "peft", base, ids)
    assert (found - expected).abs().max() > 0.1

    theirs.save_pretrained(tmp_path / "converted", **saving)
    found = logits_of(tmp_path / "converted", base, ids)
    assert torch.allclose(found, expected, atol=1e-5)
    assert import_adapter(tmp_path / "converted", base).config.lora.r == 8


def test_an_adapter_over_the_rest_of_a_base_that_pissa_leaves_is_refused(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor
) -> None:
    """As PEFT's own example does it: the rest is saved as a base of its own, and the config says
    true."""
    theirs, _ = trained(exported, ids, "pissa", tmp_path / "start")
    theirs.unload().save_pretrained(tmp_path / "rest")
    change(tmp_path / "start", base_model_name_or_path=str(tmp_path / "rest"))
    message = refusal(tmp_path / "start", base)
    assert f"{CONFIG}: base_model_name_or_path: was trained over another base" in message
    assert f"{tmp_path / 'rest'}, with other weights" in message


# --- the config ---------------------------------------------------------------------------------


def test_every_key_of_the_installed_peft_is_on_one_list() -> None:
    keys = LoraConfig().to_dict().keys()
    assert keys <= READ.keys() | HARMLESS.keys() | OTHER_KINDS.keys()
    assert len({*READ} | {*HARMLESS} | {*OTHER_KINDS}) == len(READ) + len(HARMLESS) + len(
        OTHER_KINDS
    )


@pytest.mark.parametrize("default", [{}, None, [], False, ""])
def test_an_empty_value_means_none(base: MiniGPT, adapter: Path, default: Any) -> None:
    keys = {*READ, *HARMLESS, *OTHER_KINDS, "of_a_newer_peft"}
    wanted = {"peft_type", "r", "lora_alpha"}
    change(adapter, **dict.fromkeys(keys - wanted, default))
    config = import_adapter(adapter, base).config
    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (4, 12.0, 0.0)
    assert not config.lora.use_dora and not config.lora.use_rslora
    for key in wanted:
        change(adapter, peft_type="LORA", r=4, lora_alpha=12)
        change(adapter, **{key: default})
        assert f"{CONFIG}: {key}: is " in refusal(adapter, base)


def test_an_old_config_of_a_few_keys_is_enough(base: MiniGPT, adapter: Path) -> None:
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
        ("fan_in_fan_out", True),
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
def test_an_adapter_of_another_kind_is_refused_by_its_key(
    base: MiniGPT, adapter: Path, key: str, value: Any
) -> None:
    change(adapter, **{key: value})
    message = refusal(adapter, base)
    assert f"{CONFIG}: {key}: is an adapter of another kind" in message
    assert json.dumps(value) in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("r", "8", "a whole number from 1 on"),
        ("r", 8.5, "a whole number from 1 on"),
        ("r", True, "a whole number from 1 on"),
        ("r", 0, "a whole number from 1 on"),
        ("r", -4, "a whole number from 1 on"),
        ("r", [4], "a whole number from 1 on"),
        ("r", float("nan"), "a whole number from 1 on"),
        ("lora_alpha", "sixteen", "a number above 0"),
        ("lora_alpha", "16", "a number above 0"),
        ("lora_alpha", True, "a number above 0"),
        ("lora_alpha", 0, "a number above 0"),
        ("lora_alpha", -1, "a number above 0"),
        ("lora_alpha", float("nan"), "a number above 0"),
        ("lora_alpha", float("inf"), "a number above 0"),
        ("lora_alpha", 10**400, "a number above 0"),
        ("lora_dropout", "0.1", "a number from 0 to below 1"),
        ("lora_dropout", 1.0, "a number from 0 to below 1"),
        ("lora_dropout", float("nan"), "a number from 0 to below 1"),
        ("use_dora", "yes", "true or false"),
        ("use_dora", 1, "true or false"),
        ("use_rslora", "false", "true or false"),
        ("target_modules", 5, "names of layers, or one pattern for them"),
        ("target_modules", ["fc2", 5], "names of layers, or one pattern for them"),
        ("target_modules", {"fc2": 1}, "names of layers, or one pattern for them"),
        ("target_modules", "fc(2", "names of layers, or one pattern for them"),
        ("exclude_modules", 5, "names of layers, or one pattern for them"),
        ("layers_to_transform", "0", "numbers of blocks, or one number"),
        ("layers_to_transform", [0.5], "numbers of blocks, or one number"),
        ("rank_pattern", [4], "a table"),
        ("alpha_pattern", "12", "a table"),
        ("base_model_name_or_path", 5, "the name of the base, as text"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_its_key(
    base: MiniGPT, adapter: Path, key: str, value: Any, expected: str
) -> None:
    change(adapter, **{key: value})
    message = refusal(adapter, base)
    assert f"{CONFIG}: {key}: is not what PEFT writes there" in message
    assert f"expected: {expected}" in message


def test_a_key_of_a_newer_peft_is_refused_where_it_says_something(
    base: MiniGPT, adapter: Path
) -> None:
    for value in (True, 0, 16, "on", [0], {"beta": None}):
        change(adapter, of_a_newer_peft=value)
        message = refusal(adapter, base)
        assert f"{CONFIG}: of_a_newer_peft: is not known here; a newer PEFT's?" in message


def test_all_that_is_wrong_with_a_config_is_told_at_once(base: MiniGPT, adapter: Path) -> None:
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
def test_a_config_that_is_not_json_of_keys_is_refused(
    base: MiniGPT, adapter: Path, text: str
) -> None:
    (adapter / CONFIG).write_text(text)
    assert f"{adapter / CONFIG}: cannot be read as JSON of keys" in refusal(adapter, base)
    (adapter / CONFIG).write_bytes(b'{"r": "\xff"}')
    assert f"{adapter / CONFIG}:1: is not UTF-8" in refusal(adapter, base)


def test_patterns_that_repeat_what_holds_for_all_layers_are_taken(
    base: MiniGPT, adapter: Path
) -> None:
    change(adapter, rank_pattern={"fc2": 4}, alpha_pattern={"fc1": 12, "fc2": 12.0})
    assert import_adapter(adapter, base).config.lora.r == 4


def test_the_config_selects_the_layers_that_peft_selects(adapter: Path) -> None:
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
def test_a_config_of_other_layers_than_the_tensors_is_refused(
    base: MiniGPT, adapter: Path, keys: dict[str, Any], words: str
) -> None:
    change(adapter, **keys)
    message = refusal(adapter, base)
    assert f"{CONFIG}: target_modules: does not select the layers that the tensors" in message
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
def test_a_config_that_selects_the_layers_in_another_way_is_taken(
    base: MiniGPT, adapter: Path, keys: dict[str, Any]
) -> None:
    change(adapter, **keys)
    layers = import_adapter(adapter, base).config.lora.target_modules
    assert layers == ("blocks.0.mlp.fc2", "blocks.1.mlp.fc2")


# --- the tensors --------------------------------------------------------------------------------

Tensors = dict[str, Tensor]


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): t.clone() for name, t in tensors.items()}


def with_one(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: torch.ones(shape)}


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: t for key, t in tensors.items() if key != name}


A0, B0 = (NAME.format(0, part) for part in ("lora_A.weight", "lora_B.weight"))
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
        ["adapts a layer that adapters of ours cannot be on", "layers.00.fc2"],
    ),
    "other layer": (
        with_one(NAME.format(0, "lora_A.weight").replace("fc2", "gate"), 4, 4),
        ["adapts a layer that adapters of ours cannot be on", "layers.0.gate.lora_A.weight"],
    ),
    "a norm": (
        with_one(NAME.format(0, "lora_A.weight").replace("fc2", "final_layer_norm"), 4, 4),
        ["adapts a layer that adapters of ours cannot be on", "final_layer_norm"],
    ),
    "the head": (
        with_one("base_model.model.lm_head.lora_A.weight", 4, 32),
        ["adapts a layer that adapters of ours cannot be on", "lm_head"],
    ),
    "a block too many": (
        lambda t: {**t, **renamed("layers.0", "layers.7")(t)},
        ["adapts a layer that adapters of ours cannot be on", "layers.7.fc2"],
    ),
    "B's bias": (with_one(NAME.format(0, "lora_B.bias"), 32), ["holds more than an adapter"]),
    "an embedding": (
        with_one("base_model.model.model.decoder.embed_tokens.weight", 9, 32),
        ["holds the base's embedding beside the adapter", "save_embedding_layers=False"],
    ),
    "A without B": (without(B0), ["tensors are missing", B0]),
    "B without A": (without(A0), ["tensors are missing", A0]),
    "a magnitude": (
        with_one(NAME.format(0, "lora_magnitude_vector"), 32),
        ["unknown tensors", "lora_magnitude_vector"],
    ),
    "none": (lambda _: {}, ["holds no adapter"]),
    "ZeRO-3": (lambda t: dict.fromkeys(t, torch.ones(0)), ["without numbers", "ZeRO-3"]),
    "NaN": (lambda t: {**t, B0: t[B0] * float("nan")}, ["not finite", B0]),
    "infinity": (lambda t: {**t, A0: t[A0] / 0}, ["not finite", A0]),
    "a float64 too large": (lambda t: {**t, A0: t[A0].double() * 1e300}, ["not finite", A0]),
    "transposed": (lambda t: {**t, B0: t[B0].T.contiguous()}, ["another shape", f"{B0} (4, 32)"]),
    "another width": (lambda t: {**t, A0: t[A0][:, :64].contiguous()}, ["another shape", A0]),
    "a scalar": (lambda t: {**t, A0: torch.tensor(1.0)}, ["another shape", f"{A0} ()"]),
    "quantized": (lambda t: {**t, A0: t[A0].to(torch.int8)}, ["not floats", f"{A0} torch.int8"]),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_tensors_that_are_not_those_of_an_adapter_of_ours_are_refused(
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


def test_a_rank_that_the_tensors_do_not_have_is_refused(base: MiniGPT, adapter: Path) -> None:
    change(adapter, r=8)
    message = refusal(adapter, base)
    assert f"{CONFIG}: r: is not the rank of the tensors\n  found:    8\n  expected: 4" in message
    change(adapter, r=4)
    save_file({**tensors_of(), **tensors_of(2, (1,))}, adapter / WEIGHTS)
    assert "expected: 2, 4, as in" in refusal(adapter, base)
    change(adapter, r=64)
    save_file(tensors_of(64), adapter / WEIGHTS)
    assert f"{CONFIG}: r: is above what an adapter of ours can have" in refusal(adapter, base)


def test_dora_without_its_magnitude_is_refused(base: MiniGPT, adapter: Path) -> None:
    change(adapter, use_dora=True)
    message = refusal(adapter, base)
    assert f"{WEIGHTS}: tensors are missing" in message
    assert NAME.format(0, "lora_magnitude_vector") in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_another_size_are_taken_as_float32(
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
def test_a_file_that_is_not_safetensors_is_refused_as_what_it_is(
    base: MiniGPT, adapter: Path, content: bytes, words: str
) -> None:
    (adapter / WEIGHTS).write_bytes(content)
    message = refusal(adapter, base)
    assert f"{adapter / WEIGHTS}: cannot be read as safetensors" in message
    assert words in message


# --- folders ------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}")


FOLDERS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "empty": ((), ["an empty folder", "save_pretrained has written"]),
    "pickled": ((CONFIG, "adapter_model.bin"), ["adapter_model.bin, a pickle", "save_pretrained"]),
    "MLX": ((CONFIG, "adapters.safetensors"), ["adapters.safetensors, an adapter of MLX's"]),
    "named": (
        ("mine/" + CONFIG, "mine/" + WEIGHTS, "README.md"),
        ["adapters: mine", "FOLDER/mine"],
    ),
    "Trainer's": (
        (f"checkpoint-5/{CONFIG}", f"checkpoint-9/{CONFIG}", "trainer_state.json"),
        ["adapters: checkpoint-5, checkpoint-9", "FOLDER/checkpoint-9"],
    ),
    "model": (("config.json", "model.safetensors"), ["model.safetensors: a whole model"]),
    "shards": (("config.json", "model-00001-of-2.safetensors"), ["a whole model"]),
    "old model": (("config.json", "pytorch_model.bin"), ["pytorch_model.bin: a whole model"]),
    "DeepSpeed": (("zero_to_fp32.py", "latest", "global_step2/x.pt"), ["DeepSpeed", "gather"]),
    "no weights": ((CONFIG,), [f"{CONFIG}, but no {WEIGHTS}", "copy the folder again"]),
    "no config": ((WEIGHTS,), [f"{WEIGHTS}, but no {CONFIG}", "copy the folder again"]),
    "other": (("notes.txt",), ["other files: notes.txt"]),
}


@pytest.mark.parametrize(("names", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_not_pefts_is_refused_as_what_it_is(
    base: MiniGPT, tmp_path: Path, names: tuple[str, ...], words: list[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    touch(folder, *names)
    message = refusal(folder, base)
    assert message.startswith(f"{folder}: cannot be read as an adapter of PEFT's")
    for word in words:
        assert word.replace("FOLDER", str(folder)) in message


def test_no_folder_and_a_file_are_refused_as_what_they_are(base: MiniGPT, adapter: Path) -> None:
    assert "found:    nothing" in refusal(adapter / "nowhere", base)
    message = refusal(adapter / WEIGHTS, base)
    assert f"name its folder: {adapter}" in message
    assert "found:    a file" in refusal(Path(__file__), base)
    assert "found:    File name too long" in refusal(adapter / ("a" * 300), base)
    change(adapter, base_model_name_or_path="a" * 300)
    assert "found:    File name too long" in refusal(adapter, base)


def test_the_folder_around_a_named_adapter_is_refused_and_the_adapter_taken(
    base: MiniGPT, exported: Path, tmp_path: Path, ids: Tensor
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(r=4, target_modules=["fc2"], init_lora_weights=False)
    theirs: Any = get_peft_model(model, config, adapter_name="mine").eval()
    theirs.save_pretrained(tmp_path / "around")
    assert f"such as {tmp_path / 'around' / 'mine'}" in refusal(tmp_path / "around", base)
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
    assert torch.allclose(logits_of(tmp_path / "around/mine", base, ids), expected, atol=1e-5)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["adapter_model.bin", WEIGHTS])
def test_nothing_is_unpickled(base: MiniGPT, adapter: Path, tmp_path: Path, name: str) -> None:
    (adapter / WEIGHTS).unlink()
    (adapter / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert "a pickle" in refusal(adapter, base)
    assert not (tmp_path / "sprung").exists()


# --- the base -----------------------------------------------------------------------------------


def test_an_adapter_over_another_base_is_refused(
    base: MiniGPT, make_base: Callable[..., MiniGPT], adapter: Path
) -> None:
    assert import_adapter(adapter, base).notes == []
    message = refusal(adapter, make_base(1))
    assert f"{CONFIG}: base_model_name_or_path: was trained over another base" in message


def test_a_base_that_cannot_be_found_is_told(base: MiniGPT, adapter: Path) -> None:
    for name in ("somebody/opt", None):
        change(adapter, base_model_name_or_path=name)
        (note,) = import_adapter(adapter, base).notes
        assert f"{adapter / CONFIG}: base_model_name_or_path: no base lies in" in note


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_export_is_that_of_its_base_in_any_float(
    base: MiniGPT, make_base: Callable[..., MiniGPT], exported: Path, tmp_path: Path, dtype: Any
) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(exported, dtype=dtype)
    theirs.save_pretrained(tmp_path / "again")
    assert is_export_of(tmp_path / "again", base)
    assert not is_export_of(tmp_path / "again", make_base(1))
    assert not is_export_of(tmp_path / "again", make_base(0, n_layers=3))
    assert is_export_of(tmp_path / "nowhere", base) is None


@pytest.mark.parametrize("use_dora", [False, True])
def test_an_adapter_that_was_not_trained_is_said_to_change_nothing(
    base: MiniGPT, exported: Path, tmp_path: Path, use_dora: bool
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(target_modules=["fc2", "q_proj"], use_dora=use_dora)
    get_peft_model(model, config).save_pretrained(tmp_path / "peft")
    (note,) = import_adapter(tmp_path / "peft", base).notes
    assert note.startswith("the adapter changes nothing: ")


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def files(base: MiniGPT, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the base's checkpoint, its export and PEFT's adapter, which we are in."""
    monkeypatch.chdir(adapter.parent)
    save_base("best.pt", base, "tokenizer.json")
    return adapter.parent


def run_import(adapter: str = "peft", out: str = "adapter.pt") -> int:
    return main(["import", "--from", "peft", adapter, out, "--base", "best.pt"])


def test_an_adapter_that_changes_nothing_is_imported_with_a_word(
    files: Path, base: MiniGPT, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_import() == 0
    assert capsys.readouterr().err == ""
    for zero in ("lora_A", "lora_B"):
        tensors = tensors_of().items()
        zeroed = {name: t * 0 if zero in name else t for name, t in tensors}
        save_file(zeroed, files / "peft" / WEIGHTS)
        assert run_import() == 0
        assert "warning: the adapter changes nothing: " in capsys.readouterr().err
    change(files / "peft", use_dora=True)
    layers = {opt_name(name): layer for name, layer in linear_layers(base)}
    for stretch, changes in ((1.0, False), (1.1, True)):
        for i in (0, 1):
            norms = row_norms(layers[f"model.decoder.layers.{i}.fc2"].weight)
            zeroed[NAME.format(i, "lora_magnitude_vector")] = stretch * norms
        save_file(zeroed, files / "peft" / WEIGHTS)
        assert run_import() == 0
        assert ("changes nothing" in capsys.readouterr().err) != changes
    load_adapter("adapter.pt", copy.deepcopy(base))


@pytest.mark.parametrize(
    "name", ["config.json", "adapter", "adapter.PT", "adapter.bin", "nowhere/"]
)
def test_an_adapter_file_has_an_ending_that_is_read_again(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run_import(out=name) == 1
    assert f"{Path(name)}: cannot take an adapter" in capsys.readouterr().err
    assert not (files / name).exists()


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_only_a_former_adapter_is_overwritten(
    files: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out = files / f"adapter{ending}"
    assert run_import(out=out.name) == 0
    save_file({name: 2 * t for name, t in tensors_of().items()}, files / "peft" / WEIGHTS)
    assert run_import(out=out.name) == 0  # a former adapter of ours
    _, weights = read_adapter(out)
    assert torch.equal(weights["blocks.0.mlp.fc2.lora_A"], 2 * tensors_of()[A0])
    for content in (b"", b"my thesis", (files / "best.pt").read_bytes()):
        out.write_bytes(content)
        assert run_import(out=out.name) == 1
        assert f"{out.name}: cannot take an adapter" in capsys.readouterr().err
        assert out.read_bytes() == content
    out.unlink()
    out.mkdir()
    assert run_import(out=out.name) == 1
    assert "cannot take an adapter" in capsys.readouterr().err
    assert run_import(out=f"{'a' * 300}{ending}") == 1
    assert "cannot be read\n  found:    File name too long" in capsys.readouterr().err
    (files / "file").write_text("")
    assert run_import(out=f"file/adapter{ending}") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("ours", [False, True])
def test_the_imported_file_and_the_base_are_not_overwritten(
    files: Path, capsys: pytest.CaptureFixture[str], ours: bool
) -> None:
    if ours:  # our own export, whose safetensors say of themselves what an adapter of ours does
        assert run_import(out="adapter.pt") == 0
        export_adapter_file("adapter.pt", "best.pt", "ours", "opt")
    folder = files / ("ours" if ours else "peft")
    before = {path: path.read_bytes() for path in (folder / WEIGHTS, files / "best.pt")}
    for path in before:
        assert run_import(folder.name, str(path)) == 1
        assert "cannot take an adapter" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}


def test_pefts_files_in_place_of_an_adapter_are_told_from_it(files: Path) -> None:
    for path in (files / "peft", files / "peft" / WEIGHTS):
        with pytest.raises(UserError, match=r"is an adapter of PEFT's(.|\n)*import --from peft"):
            read_adapter(path)
    for name in ("opt", "opt/adapter.safetensors", "best.pt/adapter.pt"):
        with pytest.raises(UserError, match=r"there is no such file"):
            read_adapter(name)
    with pytest.raises(UserError, match=r"found:    a folder"):
        read_adapter("opt")


def test_exporting_says_whether_peft_will_find_the_base(
    files: Path,
    make_base: Callable[..., MiniGPT],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_import() == 0
    export_base(make_base(1), files / "tokenizer.json", files / "other")
    for name, words in (
        ("opt", ""),
        ("nowhere", "warning: no base lies in 'nowhere'"),
        ("", "warning: no base lies in ''"),
        ("other", "warning: another base lies in 'other'"),
    ):
        command = ["export", "--to", "peft", "new", "--base", "best.pt", "--adapter", "adapter.pt"]
        assert main([*command, "--base-name", name]) == 0
        said = capsys.readouterr().err
        assert words in said
        assert bool(said) == bool(words)
        assert load_file(files / "new" / WEIGHTS).keys() == tensors_of().keys()


@pytest.mark.usefixtures("files")
def test_an_exported_adapter_is_not_taken_for_one_of_another_base(
    make_base: Callable[..., MiniGPT], base: MiniGPT
) -> None:
    assert run_import() == 0
    export_adapter_file("adapter.pt", "best.pt", "new", "nowhere")
    assert import_adapter("new", base).notes == []
    assert "expected: base" in refusal(Path("new"), make_base(1))


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_what_peft_itself_saves_of_an_embedding_is_not_taken_for_a_state_dict(
    exported: Path, base: MiniGPT, tmp_path: Path, layer: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported)
    config = LoraConfig(r=2, target_modules=["fc2", layer], task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(tmp_path / "theirs")
    with pytest.raises(UserError, match="adapts a layer that adapters of ours cannot be on") as no:
        import_adapter(tmp_path / "theirs", base)
    assert layer in str(no.value)
