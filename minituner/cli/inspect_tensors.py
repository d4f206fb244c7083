"""What a file of tensors is: a base, an adapter, an export of either, or another program's.

Of safetensors only the header is read, and nothing in any file is executed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.errors import UserError, first_of

Facts = Mapping[str, object]

POSITIONS = "model.decoder.embed_positions.weight"  # the mark of an OPT model
SHAPES_SHOWN = 5


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself."""

    texts: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str]  # as the format calls them: F32, BF16

    @property
    def weights(self) -> str:
        """How many numbers its tensors hold."""
        return f"{sum(map(math.prod, self.shapes.values())):,}"


# --- safetensors --------------------------------------------------------------------------------


def safetensors_file(path: Path) -> tuple[str, Facts]:
    """A title and facts.

    Raises:
        UserError: It is damaged.
    """
    header = _read_header(path)
    if "minituner_format" in header.texts:
        return _adapter(path, header)
    if POSITIONS in header.shapes:
        return _opt(header)
    halves = [name for name in header.shapes if ".lora_A." in name]
    if halves:
        return "An adapter that PEFT has written.", {
            "kind": "DoRA" if any("magnitude" in name for name in header.shapes) else "LoRA",
            "rank": first_of(sorted({header.shapes[name][0] for name in halves})),
            "layers": first_of([name.partition(".lora_A.")[0] for name in halves]),
            "weights": header.weights,
        }
    return "Tensors of another program, as safetensors.", {
        "tensors": _some_shapes(header.shapes),
        "weights": header.weights,
        "types": first_of([f"{kind} {n:,}" for kind, n in Counter(header.types.values()).items()])
        or "none",
        **{f"says of {name}": text for name, text in header.texts.items()},
    }


def _read_header(path: Path) -> Header:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            types = {name: str(part.get_dtype()) for name, part in slices.items()}
            return Header(stream.metadata() or {}, shapes, types)
    except SafetensorError as error:
        raise UserError(
            path,
            "cannot be read as safetensors",
            found=str(error).splitlines()[0],
            expected="a whole safetensors file",
            fix="copy it again from its source",
        ) from error


def _adapter(path: Path, header: Header) -> tuple[str, Facts]:
    """One that minituner has written, for itself or, under other names, for PEFT."""
    peft = any(name.startswith("base_model.") for name in header.shapes)
    title = "An adapter: it goes on one base only." if not peft else "An adapter, as PEFT reads it."
    return title, _adapter_facts(path, header.texts, header.weights)


def _adapter_facts(path: Path, texts: Mapping[str, str], weights: str) -> Facts:
    """The facts in what :func:`minituner.storage.adapter.metadata` writes."""
    left = dict(texts)
    try:
        kinds = {"DoRA": left.pop("use_dora"), "rsLoRA": left.pop("use_rslora"), "LoRA": "true"}
        kind = next(name for name, used in kinds.items() if used == "true")
        facts = {
            "kind": f"{kind}, rank {left.pop('r')}, alpha {_number(left.pop('alpha'))}, "
            f"scaling {_number(left.pop('scaling'))}",
            "layers": _listed(left.pop("target_modules")),
            "weights": weights,
            "trained with": f"seed {left.pop('seed')}, dropout {_number(left.pop('dropout'))}",
            "sha256 of its base's weights": left.pop("base_sha256"),
        }
    except KeyError as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=f"no {error.args[0]}",
            expected="what minituner writes into an adapter file",
            fix="write the file with minituner.storage.adapter.save_adapter",
        ) from error
    return facts | {n: text for n, text in left.items() if n not in ("format", "minituner_format")}


def _number(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _listed(text: str) -> str:
    try:
        return first_of(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return text


def _opt(header: Header) -> tuple[str, Facts]:
    rows, *width = header.shapes[POSITIONS]
    names = [name.split(".") for name in header.shapes if ".layers." in name]
    layers = {name[name.index("layers") + 1] for name in names}
    return "A base as transformers reads it: the weights of an OPT model.", {
        "weights": header.weights,
        "shape": f"{len(layers)} layers, d = {first_of(width)}",
        "vocabulary": f"{header.shapes.get('model.decoder.embed_tokens.weight', ('unknown',))[0]}",
        "context": f"{rows - 2} tokens",  # OPT's first two rows stand for no position
    }


def _some_shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    some = [f"{name} {list(shape)}" for name, shape in shapes.items()]
    return first_of(some, SHAPES_SHOWN) or "none"


# --- torch's own --------------------------------------------------------------------------------


def torch_file(path: Path) -> tuple[str, Facts]:
    """A title and facts.

    Raises:
        UserError: It is damaged, or holds code.
    """
    from minituner.storage.adapter import ADAPTER_FORMAT
    from minituner.storage.checkpoint import BASE_FORMAT
    from minituner.storage.tensors import read_torch_file
    from minituner.storage.training_checkpoint import STATE_FORMAT

    value = read_torch_file(path, "a base checkpoint or an adapter", mmap=True)
    explainers: dict[Any, Callable[[Path, dict[str, Any]], tuple[str, Facts]]] = {
        BASE_FORMAT: _base,
        ADAPTER_FORMAT: _torch_adapter,
        STATE_FORMAT: _pretraining_state,
    }
    form = value.get("format") if isinstance(value, dict) else None
    explainer = explainers.get(form) if isinstance(form, str) else None
    if explainer is None:
        return _other_torch_file(value)
    try:
        return explainer(path, value)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(
            path,
            f"says that it is of format {form!r}, and is not",
            found=f"{type(error).__name__}: {error}",
            expected="the file as minituner wrote it",
            fix="copy it again from its source",
        ) from error


def _base(path: Path, value: dict[str, Any]) -> tuple[str, Facts]:
    from minituner.storage.checkpoint import load_base
    from minituner.storage.tensors import weights_sha256

    model = load_base(path)
    shape = model.config
    return "A base checkpoint: a MiniGPT, without adapters.", {
        "weights": f"{sum(p.numel() for p in model.parameters()):,}",
        "shape": f"{shape.n_layers} layers, d = {shape.d_model}, {shape.n_heads} heads",
        "vocabulary": f"{shape.vocab_size:,}",
        "context": f"{shape.context_length} tokens",
        "sha256 of the weights": weights_sha256(model.state_dict()),
        "sha256 of its tokenizer": value.get("tokenizer_sha256") or "not recorded",
    }


def _torch_adapter(path: Path, _: dict[str, Any]) -> tuple[str, Facts]:
    from minituner.storage.adapter import metadata, read_adapter

    config, weights = read_adapter(path)
    count = f"{sum(tensor.numel() for tensor in weights.values()):,}"
    title = "An adapter: it goes on one base only."
    return title, _adapter_facts(path, metadata(config), count)


def _pretraining_state(_: Path, value: dict[str, Any]) -> tuple[str, Facts]:
    return "The state of a pretraining run that has not ended.", {
        "steps taken": len(value["log"]) - 1,
        "best validation loss": f"{value['best']['val_loss']:.4f} nats per token",
    }


def _other_torch_file(value: Any) -> tuple[str, Facts]:
    title = "A file of torch's, written by another program."
    if not isinstance(value, dict):
        return title, {"holds": type(value).__name__}
    shapes = {str(key): tuple(v.shape) for key, v in value.items() if hasattr(v, "shape")}
    others = [key for key in value if str(key) not in shapes]
    return title, {
        "tensors": _some_shapes(shapes),
        "weights": f"{sum(map(math.prod, shapes.values())):,}",
        "holds besides": first_of(others) or "nothing",
    }
