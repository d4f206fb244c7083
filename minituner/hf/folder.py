"""The folder of a transformers model, checked before anything is loaded from it.

Only JSON and the headers of the safetensors files are read here, so it takes milliseconds, and the
rules can call it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError, first_of
from minituner.hf.weights import INDEX, SAVE_AGAIN, WEIGHTS, check_safetensors, weight_files
from minituner.storage.files import read_json

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
ADAPTER = "adapter_config.json"  # of PEFT
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")  # next to TOKENIZER

EXPECTED = f"a folder with {CONFIG}, {WEIGHTS} (or its shards and {INDEX}) and {TOKENIZER}"
CAUSAL = ("ForCausalLM", "LMHeadModel")  # how transformers ends the names of causal LMs
# Under one of these names a config gives its longest text. Some models have no limit.
CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")
NO_LIMIT = 2**31 - 1  # tokens
SHORTEST_CONTEXT = 8  # tokens, as base.model.context_length in the schema of config.yaml


@dataclass(frozen=True)
class ModelFolder:
    """A folder that holds what a base needs; made by :func:`open_folder`."""

    path: Path
    config: Mapping[str, Any]  # of the text model
    tokenizer: Path
    weights: tuple[Path, ...]  # one safetensors file, or its shards

    @property
    def settings(self) -> list[Path]:
        """The files besides the weights that are read: shapes, tokenizer, special tokens."""
        beside = (self.tokenizer.with_name(name) for name in TOKENIZER_SETTINGS)
        files = [self.path / CONFIG, self.tokenizer, *(file for file in beside if file.is_file())]
        return sorted(files)

    @property
    def files(self) -> list[Path]:
        """Every file that is read."""
        index = self.path / INDEX
        return [*self.settings, *([index] if len(self.weights) > 1 else []), *self.weights]

    @property
    def context_length(self) -> int:
        """The longest text in tokens that both the model and its tokenizer are made for."""
        return min([NO_LIMIT, *_limits(self.config, self.tokenizer)])


def open_folder(path: str | Path, tokenizer: str | Path | None = None) -> ModelFolder:
    """Check a folder of a causal language model. Only safetensors count as weights, and no code in
    the folder is ever executed.

    Args:
        tokenizer: The ``tokenizer.json`` to use instead of the folder's.

    Raises:
        UserError: Something is missing, damaged, or not a causal language model; the message has
            all that is wrong.
    """
    path = Path(path)
    # transformers would load the adapter in it, and another base than this one.
    if (path / ADAPTER).is_file() or not (path / CONFIG).is_file():
        raise _no_model(path)
    own = path / TOKENIZER
    found = ModelFolder(path, _text_config(path), Path(tokenizer or own), tuple(weight_files(path)))
    mistakes = Mistakes()
    for check in (_check_model, _check_tokenizer, _check_context):
        with mistakes.noted():
            check(found)
    for file in found.weights:
        with mistakes.noted():
            check_safetensors(file)
    mistakes.raise_if_any()
    return found


def require_transformers(where: str | Path) -> None:
    """Refuse a transformers base where the library is not installed.

    Raises:
        UserError: It is not; the message names the extra.
    """
    if find_spec("transformers") is None:
        raise UserError(
            where,
            "is a transformers model, and transformers is not installed",
            found="no package transformers",
            expected="the extra [transformers]",
            fix="pip install 'minituner[transformers]', or in a clone: "
            "pip install -e '.[transformers]'",
        )


def _no_model(path: Path) -> UserError:
    what, found = "is not the folder of a model", f"no {CONFIG}" if path.is_dir() else "no folder"
    fix = "name the folder that holds them, or a model of the hub: org/name"
    if (path / ADAPTER).is_file():
        what, found = "is a PEFT adapter, not a model", ADAPTER
        fix = "name the folder of the model that it adapts"
    return UserError(path, what, found=found, expected=EXPECTED, fix=fix)


def _text_config(path: Path) -> dict[str, Any]:
    """A folder's config; of a model of text and images, with what it says of the text model."""
    config = read_json(path / CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(
            path / CONFIG,
            "is not the config of a model",
            found="no model_type",
            expected="the config that transformers saves with a model",
            fix=f"copy it again from its source, or save the model again {SAVE_AGAIN}",
        )
    text = config.get("text_config")
    return config | (text if isinstance(text, dict) else {}) | {"model_type": config["model_type"]}


# --- the model and its tokenizer ------------------------------------------------------------------


def _check_model(folder: ModelFolder) -> None:
    config, where = folder.config, folder.path / CONFIG
    names = [str(name) for name in config.get("architectures") or []]
    causal = not names or any(name.endswith(CAUSAL) for name in names)
    if not causal or config.get("is_encoder_decoder"):
        raise UserError(
            where,
            "is not a causal language model",
            found=first_of(names) or "is_encoder_decoder: true",
            expected="a model that continues a text, such as LlamaForCausalLM or GPT2LMHeadModel",
            fix="name another base: an encoder, or an encoder and a decoder, cannot be one",
        )
    if config.get("quantization_config"):
        method = config["quantization_config"]
        raise UserError(
            where,
            "is a quantized model",
            found=str(method.get("quant_method", "quantization_config"))
            if isinstance(method, dict)
            else "quantization_config",
            expected="weights as floats: float32, bfloat16 or float16",
            fix="name the model that it was quantized from",
        )


def _check_tokenizer(folder: ModelFolder) -> None:
    if folder.tokenizer.is_file():
        return
    parts = ("tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
    older = [name for name in parts if folder.tokenizer.with_name(name).is_file()]
    raise UserError(
        folder.tokenizer,
        "there is no such file",
        found=f"only {first_of(older)}" if older else "nothing",
        expected="the tokenizer as one file",
        fix="write it with transformers: "
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER); or name it: base.tokenizer",
    )


def _check_context(folder: ModelFolder) -> None:
    if folder.context_length < SHORTEST_CONTEXT:
        raise UserError(
            folder.path / CONFIG,
            "has a context that is too short",
            found=f"{folder.context_length} tokens",
            expected=f"at least {SHORTEST_CONTEXT}",
            fix="name another base",
        )


def _limits(config: Mapping[str, Any], tokenizer: Path) -> Iterator[int]:
    """The longest text according to the model, and to the tokenizer."""
    settings = read_settings(tokenizer.with_name(TOKENIZER_SETTINGS[0]))
    for value in (*map(config.get, CONTEXT_KEYS), settings.get("model_max_length")):
        if isinstance(value, int | float) and value > 0:
            yield int(min(value, NO_LIMIT))


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file.

    Raises:
        UserError: The file cannot be read.
    """
    settings = read_json(path) if path.is_file() else {}
    return settings if isinstance(settings, dict) else {}
