"""What a file of tensors is: a base, an adapter, an export of either, or another program's.

Only the header of a safetensors file is read, and no code in any file is executed.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.cli.explanation import Explanation
from minituner.errors import UserError, first_of

OPT_POSITIONS = "model.decoder.embed_positions.weight"  # an OPT model has a tensor of this name
OPT_POSITION_OFFSET = 2  # rows of that tensor before the first position
SHAPES_SHOWN = 5
ADAPTER_TITLE = "An adapter, for one base only."


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file."""

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]  # under the format's names: F32, BF16

    @property
    def weight_count(self) -> str:
        """The number of weights in all tensors, as it is printed."""
        return _weight_count(self.shapes)

    @property
    def numbers(self) -> int:
        """The number of weights in all tensors."""
        return sum(map(math.prod, self.shapes.values()))


def _weight_count(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"{sum(map(math.prod, shapes.values())):,}"


def _shapes_shown(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return first_of([f"{name} {list(shape)}" for name, shape in shapes.items()], SHAPES_SHOWN)


# --- safetensors --------------------------------------------------------------------------------


def explain_safetensors(path: Path) -> Explanation:
    """The contents of a safetensors file.

    Raises:
        UserError: It is damaged.
    """
    header = read_header(path)
    if "minituner_format" in header.metadata:
        for_peft = any(name.startswith("base_model.") for name in header.shapes)
        title = "An adapter in PEFT's format." if for_peft else ADAPTER_TITLE
        return Explanation(title, _adapter_facts(path, header.metadata, header.weight_count))
    if OPT_POSITIONS in header.shapes:
        return _explain_opt(header)
    halves = [name for name in header.shapes if ".lora_A." in name]
    if halves:
        return _explain_peft(header, halves)
    dtypes = [f"{dtype} {count:,}" for dtype, count in Counter(header.dtypes.values()).items()]
    return Explanation(
        "Tensors of another program, in safetensors format.",
        {
            "tensors": _shapes_shown(header.shapes) or "none",
            "weights": header.weight_count,
            "types": first_of(dtypes) or "none",
            **{f"metadata {name}": text for name, text in header.metadata.items()},
        },
    )


def read_header(path: Path) -> Header:
    """The header of a safetensors file.

    Raises:
        UserError: The file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            dtypes = {name: str(part.get_dtype()) for name, part in slices.items()}
            return Header(stream.metadata() or {}, shapes, dtypes)
    except SafetensorError as error:
        raise UserError(
            path,
            "cannot be read as safetensors",
            found=str(error).splitlines()[0],
            expected="a complete safetensors file",
            fix="copy it again from its source",
        ) from error


def _explain_opt(header: Header) -> Explanation:
    rows, *width = header.shapes[OPT_POSITIONS]
    names = [name.split(".") for name in header.shapes if ".layers." in name]
    layers = {name[name.index("layers") + 1] for name in names}
    vocabulary = header.shapes.get("model.decoder.embed_tokens.weight", ("unknown",))[0]
    return Explanation(
        "A base in transformers' format: the weights of an OPT model.",
        {
            "weights": header.weight_count,
            "shape": f"{len(layers)} layers, d = {first_of(width)}",
            "vocabulary": f"{vocabulary}",
            "context": f"{rows - OPT_POSITION_OFFSET} tokens",
        },
    )


def _explain_peft(header: Header, halves: list[str]) -> Explanation:
    """An adapter that minituner did not write; ``halves`` are the names of its A matrices."""
    has_magnitude = any("magnitude" in name for name in header.shapes)
    return Explanation(
        "An adapter written by PEFT.",
        {
            "kind": "DoRA" if has_magnitude else "LoRA",
            "rank": first_of(sorted({header.shapes[name][0] for name in halves})),
            "layers": first_of([name.partition(".lora_A.")[0] for name in halves]),
            "weights": header.weight_count,
        },
    )


# --- minituner adapters -------------------------------------------------------------------------


def _adapter_facts(path: Path, metadata: Mapping[str, str], weight_count: str) -> dict[str, object]:
    """The facts in what :func:`minituner.storage.adapter.metadata` writes."""
    rest = dict(metadata)
    try:
        used = {"DoRA": rest.pop("use_dora"), "rsLoRA": rest.pop("use_rslora"), "LoRA": "true"}
        kind = next(name for name, value in used.items() if value == "true")
        facts: dict[str, object] = {
            "kind": f"{kind}, rank {rest.pop('r')}, alpha {_number(rest.pop('alpha'))}, "
            f"scaling {_number(rest.pop('scaling'))}",
            "layers": _list_items(rest.pop("target_modules")),
            "weights": weight_count,
            "trained with": f"seed {rest.pop('seed')}, dropout {_number(rest.pop('dropout'))}",
            "sha256 of its base's weights": rest.pop("base_sha256"),
        }
    except KeyError as error:
        raise UserError(
            path,
            "its config cannot be used",
            found=f"no {error.args[0]}",
            expected="the config that minituner writes into an adapter file",
            fix="write the file with minituner.storage.adapter.save_adapter",
        ) from error
    return facts | {n: text for n, text in rest.items() if n not in ("format", "minituner_format")}


def _number(text: str) -> str:
    """A number in its shortest form; any other text as it is."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def _list_items(text: str) -> str:
    """The items of a JSON list; any other text as it is."""
    try:
        return first_of(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return text


# --- torch --------------------------------------------------------------------------------------


def explain_torch_file(path: Path) -> Explanation:
    """The contents of a file of ``torch.save``.

    Raises:
        UserError: It is damaged, or holds code.
    """
    from minituner.storage.adapter import ADAPTER_FORMAT
    from minituner.storage.checkpoint import BASE_FORMAT
    from minituner.storage.tensors import read_torch_file
    from minituner.storage.training_checkpoint import STATE_FORMAT

    value = read_torch_file(path, "a base checkpoint or an adapter", mmap=True)
    explainers: dict[str, Callable[[Path, dict[str, Any]], Explanation]] = {
        BASE_FORMAT: _explain_base,
        ADAPTER_FORMAT: _explain_adapter,
        STATE_FORMAT: _explain_pretraining,
    }
    name = value.get("format") if isinstance(value, dict) else None
    explainer = explainers.get(name) if isinstance(name, str) else None
    if explainer is None:
        return _explain_other(value)
    try:
        return explainer(path, value)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise UserError(
            path,
            f"claims to be of format {name!r}, but is not",
            found=f"{type(error).__name__}: {error}",
            expected="the file as minituner wrote it",
            fix="copy it again from its source",
        ) from error


def _explain_base(path: Path, value: dict[str, Any]) -> Explanation:
    from minituner.storage.checkpoint import load_base
    from minituner.storage.tensors import weights_sha256

    model = load_base(path)
    shape = model.config
    return Explanation(
        "A base checkpoint: a MiniGPT without adapters.",
        {
            "weights": f"{sum(p.numel() for p in model.parameters()):,}",
            "shape": f"{shape.n_layers} layers, d = {shape.d_model}, {shape.n_heads} heads",
            "vocabulary": f"{shape.vocab_size:,}",
            "context": f"{shape.context_length} tokens",
            "sha256 of the weights": weights_sha256(model.state_dict()),
            "sha256 of its tokenizer": value.get("tokenizer_sha256") or "not recorded",
        },
    )


def _explain_adapter(path: Path, _: dict[str, Any]) -> Explanation:
    from minituner.storage.adapter import metadata, read_adapter

    config, weights = read_adapter(path)
    count = f"{sum(tensor.numel() for tensor in weights.values()):,}"
    return Explanation(ADAPTER_TITLE, _adapter_facts(path, metadata(config), count))


def _explain_pretraining(_: Path, value: dict[str, Any]) -> Explanation:
    return Explanation(
        "The state of an unfinished pretraining run.",
        {
            "steps": len(value["log"]) - 1,
            "best validation loss": f"{value['best']['val_loss']:.4f} nats per token",
        },
    )


def _explain_other(value: Any) -> Explanation:
    title = "A torch file written by another program."
    if not isinstance(value, dict):
        return Explanation(title, {"holds": type(value).__name__})
    shapes = {str(key): tuple(v.shape) for key, v in value.items() if hasattr(v, "shape")}
    others = [key for key in value if str(key) not in shapes]
    return Explanation(
        title,
        {
            "tensors": _shapes_shown(shapes) or "none",
            "weights": _weight_count(shapes),
            "other keys": first_of(others) or "none",
        },
    )
