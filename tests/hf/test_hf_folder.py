"""What is refused before a model is loaded, and what its folder is made of."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_folder, tiny_network

from minituner.base_files import BaseFiles, base_files, base_path, context_length_of, stored_bytes
from minituner.bases import load_base_model
from minituner.errors import SeveralErrors, UserError
from minituner.hf.folder import open_folder
from minituner.hf.hub import find_folder, is_transformers
from minituner.hf.model import TransformersLM
from minituner.hf.weights import INDEX, WEIGHTS
from minituner.model import MiniGPT
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON object; None removes one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def refusal_of(folder: Path) -> str:
    """The message, which must be one of :func:`open_folder`'s."""
    with pytest.raises(UserError) as refusal:
        open_folder(folder)
    with pytest.raises(UserError):
        load_base_model(folder)
    return str(refusal.value)


# --- what is there ------------------------------------------------------------------------------


def test_files_of_a_folder(folder: Path) -> None:
    files = base_files(f"{folder}/", None)
    names = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    assert [Path(file).name for file in files.settings] == names
    assert [Path(file).name for file in files.base] == [*names, WEIGHTS]
    assert files.tokenizer == f"{folder}/tokenizer.json"
    assert base_path(files.base) == base_path(files.settings) == base_path(folder) == folder
    assert stored_bytes(files.base) == (folder / WEIGHTS).stat().st_size


def test_shards_are_read_like_one_file(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    network = tiny_network("llama", tokenizer)
    whole = save_folder(tmp_path / "whole", network, tokenizer)
    sharded = save_folder(tmp_path / "sharded", network, tokenizer, max_shard_size="40KB")
    shards = sorted(file.name for file in sharded.glob("*.safetensors"))
    assert len(shards) > 2
    assert [path.name for path in open_folder(sharded).weights] == shards
    assert INDEX in {Path(file).name for file in base_files(str(sharded), None).base}
    assert stored_bytes(sharded) == sum((sharded / name).stat().st_size for name in shards)
    states = [load_base_model(path).state_dict() for path in (whole, sharded)]
    assert weights_sha256(states[0]) == weights_sha256(states[1])


def test_half_precision_is_loaded_as_float32(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    network = tiny_network("llama", tokenizer).to(torch.bfloat16)
    model = load_base_model(save_folder(tmp_path / "half", network, tokenizer))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    expected = network.state_dict()["model.embed_tokens.weight"].float()
    assert torch.equal(model.state_dict()["model.embed_tokens.weight"], expected)


def test_tokenizer_of_another_folder(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(own / name)
    files = base_files(str(folder), str(own / "tokenizer.json"))
    assert files.tokenizer == str(own / "tokenizer.json")
    settings = {folder / "config.json", own / "tokenizer.json", own / "tokenizer_config.json"}
    assert set(map(Path, files.settings)) == settings
    load_base_model(folder, own / "tokenizer.json")


def test_context_is_the_shortest_limit(folder: Path) -> None:
    assert context_length_of(folder, folder / "tokenizer.json") == 64
    edit_json(folder / "tokenizer_config.json", model_max_length=20)
    assert load_base_model(folder).context_length == 20
    edit_json(folder / "tokenizer_config.json", model_max_length=1e30)
    edit_json(folder / "config.json", max_position_embeddings=None)
    assert open_folder(folder).context_length == 2**31 - 1


def test_minigpt_is_a_file(base: MiniGPT, tmp_path: Path) -> None:
    path = tmp_path / "own" / "best.pt"
    assert not is_transformers(str(path))  # before it exists, too
    save_base(path, base)
    assert not is_transformers(str(path))
    assert base_files(str(path), "t.json") == BaseFiles(str(path), "t.json")
    assert weights_sha256(load_base_model(path).state_dict()) == weights_sha256(base.state_dict())
    assert stored_bytes(str(path)) == path.stat().st_size


# --- what is refused ----------------------------------------------------------------------------


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def adapter_instead(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def adapter_in_it(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "another/base"}')


def no_model_type(folder: Path) -> None:
    edit_json(folder / "config.json", model_type=None)


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def only_a_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def another_name(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "consolidated.safetensors")


def truncated(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def longer(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes() + b"\0")


def cut_in_the_header(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:50])


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def a_pointer(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def an_encoder(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="bert", architectures=["BertForMaskedLM"])


def encoder_and_decoder(folder: Path) -> None:
    edit_json(folder / "config.json", architectures=None, is_encoder_decoder=True)


def quantized(folder: Path) -> None:
    edit_json(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.model").write_bytes(b"")


def short_context(folder: Path) -> None:
    edit_json(folder / "config.json", max_position_embeddings=7)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_config, ("is not the folder of a model", "no config.json", "org/name")),
        (adapter_instead, ("is a PEFT adapter, not a model",)),
        (adapter_in_it, ("is a PEFT adapter, not a model",)),
        (no_model_type, ("config.json: is not the config of a model",)),
        (without_weights, ("has no weights", "no safetensors file")),
        (only_a_pickle, ("never loaded", "pytorch_model.bin", "model.save_pretrained(FOLDER)")),
        (another_name, ("has no weights", "consolidated.safetensors", f"rename it to {WEIGHTS}")),
        (truncated, (f"{WEIGHTS}: is not complete", "as its header says", "copy it again")),
        (longer, (f"{WEIGHTS}: is not complete",)),
        (cut_in_the_header, (f"{WEIGHTS}: is not a safetensors file", "50 bytes")),
        (empty, (f"{WEIGHTS}: is not a safetensors file", "0 bytes")),
        (a_pointer, (f"{WEIGHTS}: is not a safetensors file", "git lfs pull")),
        (an_encoder, ("is not a causal language model", "BertForMaskedLM")),
        (encoder_and_decoder, ("is not a causal language model", "is_encoder_decoder")),
        (quantized, ("is a quantized model", "gptq", "quantized from")),
        (without_tokenizer, ("tokenizer.json: there is no such file", "only tokenizer.model")),
        (short_context, ("has a context that is too short", "7 tokens", "at least 8")),
    ],
)
def test_folder_is_refused(
    folder: Path, damage: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    open_folder(folder)
    damage(folder)
    message = refusal_of(folder)
    for word in words:
        assert word in message


@pytest.mark.parametrize("remove", [True, False])
def test_shard_that_is_missing_or_truncated_is_refused(
    tokenizer: TextTokenizer, tmp_path: Path, remove: bool
) -> None:
    network = tiny_network("llama", tokenizer)
    folder = save_folder(tmp_path / "sharded", network, tokenizer, max_shard_size="40KB")
    shard = sorted(folder.glob("*.safetensors"))[1]
    content = shard.read_bytes()
    shard.unlink()
    if not remove:
        shard.write_bytes(content[:-1])
    message = refusal_of(folder)
    assert shard.name in message
    assert ("lacks shards of the model" if remove else "is not complete") in message


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({"metadata": {}}, "names no shards"),
        ({"weight_map": {"a": "../secret.safetensors"}}, "has shards in another folder"),
        ({"weight_map": {"a": "sub/one.safetensors"}}, "lacks shards"),
    ],
)
def test_index_that_cannot_be_used_is_refused(
    folder: Path, index: dict[str, Any], words: str
) -> None:
    (folder / WEIGHTS).rename(folder.parent / "secret.safetensors")
    (folder / INDEX).write_text(json.dumps(index))
    assert words in refusal_of(folder)


def test_every_mistake_is_named_at_once(folder: Path) -> None:
    for damage in (truncated, quantized, without_tokenizer):
        damage(folder)
    with pytest.raises(SeveralErrors, match="3 mistakes") as refusal:
        open_folder(folder)
    for word in ("is not complete", "is a quantized model", "tokenizer.json: there is no"):
        assert word in str(refusal.value)


# --- what only transformers can tell ------------------------------------------------------------


def test_code_of_the_folder_is_never_executed(folder: Path) -> None:
    proof = folder.parent / "executed"
    code = f"open({str(proof)!r}, 'w').close()\n"
    (folder / "modeling_own.py").write_text(code)
    (folder / "configuration_own.py").write_text(code)
    own = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    edit_json(folder / "config.json", auto_map=own)
    load_base_model(folder)  # transformers has its own code for a Llama
    edit_json(folder / "config.json", model_type="own")
    with pytest.raises(UserError, match="code of its own, which is never executed"):
        load_base_model(folder)
    assert not proof.exists()


def test_attention_of_the_config_is_not_used(folder: Path) -> None:
    """It may name code to download."""
    edit_json(folder / "config.json", attn_implementation="some-org/some-kernel")
    model = load_base_model(folder)
    assert isinstance(model, TransformersLM)
    assert model.network.config._attn_implementation in ("sdpa", "eager")


def test_unknown_and_encoder_models_are_refused_by_transformers(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="own")
    with pytest.raises(UserError, match="is not a causal language model that transformers knows"):
        load_base_model(folder)
    edit_json(folder / "config.json", model_type="t5", architectures=None)
    with pytest.raises(UserError, match="one that continues a text"):
        load_base_model(folder)


def test_weights_of_another_shape_or_without_some_are_refused(
    folder: Path, tokenizer: TextTokenizer
) -> None:
    edit_json(folder / "config.json", num_hidden_layers=3)
    with pytest.raises(UserError, match=r"no weights of that shape for model\.layers\.2"):
        load_base_model(folder)
    edit_json(folder / "config.json", num_hidden_layers=2, intermediate_size=64)
    with pytest.raises(UserError, match="transformers cannot load the model"):
        load_base_model(folder)
    body = folder.with_name("body")  # without an output head
    save_folder(body, tiny_network("gpt_neox", tokenizer).gpt_neox, tokenizer)
    edit_json(body / "config.json", architectures=["GPTNeoXForCausalLM"])
    with pytest.raises(UserError, match="no weights of that shape for"):
        load_base_model(body)


def test_transformers_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minituner.hf.folder.find_spec", lambda _: None)
    for use in (load_base_model, lambda path: base_files(str(path), None)):
        with pytest.raises(UserError, match=r"pip install 'minituner\[transformers\]'"):
            use(folder)
    assert importlib.util.find_spec("transformers") is not None


# --- names of the hub ---------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def test_model_of_the_hub_is_taken_from_the_cache(cache: Path, folder: Path) -> None:
    model = cache / "models--some--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs/main").write_text("0" * 40)
    (model / "snapshots").mkdir()
    folder.rename(model / "snapshots" / ("0" * 40))
    found = find_folder("some/model")
    assert found == model / "snapshots" / ("0" * 40)
    assert load_base_model("some/model").context_length == 64
    (found / WEIGHTS).unlink()
    with pytest.raises(UserError, match="has no weights"):  # an incomplete copy, and no network
        base_files("some/model", None)


def test_model_that_is_nowhere_is_refused(cache: Path) -> None:
    assert not cache.exists()
    with pytest.raises(UserError, match="some/model: there is no such folder, and the model") as e:
        find_folder("some/model")
    assert "without a network, download it elsewhere" in str(e.value)
    with pytest.raises(UserError, match="there is no such folder"):
        find_folder("own/models/llama")


@pytest.mark.usefixtures("cache")
def test_only_weights_and_json_are_downloaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise FileNotFoundError(name)
        asked.append({"name": name, **options})
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert find_folder("some/model") == folder
    assert "some/model: downloading" in capsys.readouterr().err
    (call,) = asked
    assert call["name"] == "some/model"
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in call["allow_patterns"])
