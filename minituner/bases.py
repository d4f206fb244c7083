"""The one entrance to the weights of a base, and of a model that was made from it by training all
weights. Where their files are is in :mod:`minituner.base_files`."""

from __future__ import annotations

from pathlib import Path

from minituner.base_files import BaseInput, base_path
from minituner.causal_lm import CausalLM
from minituner.hf.folder import open_folder, require_transformers
from minituner.storage.checkpoint import load_base, save_base
from minituner.storage.tensors import check_tensors, load_tensors, save_tensors

WEIGHTS_FORMAT = "minituner-weights-1"


def load_base_model(base: BaseInput, tokenizer: str | Path | None = None) -> CausalLM:
    """A base in ``eval`` mode, its weights as float32.

    Args:
        base: A MiniGPT's checkpoint, a folder or a model of the hub, or a job's input ``base``.
        tokenizer: The ``tokenizer.json`` to use with it.

    Raises:
        UserError: The base cannot be loaded, or was made with another tokenizer.
    """
    path = base_path(base)
    if not path.is_dir():
        return load_base(path, tokenizer)
    require_transformers(path)
    from minituner.hf.loading import load_transformers_lm

    return load_transformers_lm(open_folder(path, tokenizer))


def save_tuned_model(
    path: str | Path, model: CausalLM, tokenizer: str | Path | None = None
) -> None:
    """Write a model all of whose weights were trained: a MiniGPT as a base checkpoint, another
    model's weights alone.

    Raises:
        UserError: The model has adapters; nothing is written.
    """
    from minituner.model import MiniGPT

    if isinstance(model, MiniGPT):
        save_base(path, model, tokenizer)
    else:
        weights = {name: t.cpu().contiguous() for name, t in model.state_dict().items()}
        save_tensors(path, {"format": WEIGHTS_FORMAT, "weights": weights})


def load_tuned_model(path: str | Path, base: BaseInput) -> CausalLM:
    """A model that :func:`save_tuned_model` wrote, in ``eval`` mode.

    Args:
        base: The base that it was trained from.

    Raises:
        UserError: The file is unsafe, damaged, or of another base.
    """
    if not base_path(base).is_dir():
        return load_base(path)
    weights = load_tensors(path, WEIGHTS_FORMAT)["weights"]
    model = load_base_model(base)
    check_tensors(weights, {n: tuple(t.shape) for n, t in model.state_dict().items()}, str(path))
    model.load_state_dict(weights)
    return model
