"""The files of a base: a MiniGPT's checkpoint, or the folder of a transformers model.

Nothing here loads weights, so that the rules and the stages without tensors can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from minituner.hf.folder import CONFIG, open_folder, require_transformers
from minituner.hf.hub import find_folder, is_transformers
from minituner.hf.weights import weight_files

if TYPE_CHECKING:
    from minituner.tokenizer import TextTokenizer

# A job's input `base`: one checkpoint, or the files of a folder, or some with config.json.
BaseInput = str | Path | Sequence[str]


@dataclass(frozen=True)
class BaseFiles:
    """What the rules name as inputs."""

    base: str | list[str]  # a MiniGPT's checkpoint, or every file of a folder
    tokenizer: str
    # The files of a folder that are not weights: what tokenizing reads.
    settings: list[str] = field(default_factory=list)


def base_files(checkpoint: str, tokenizer: str | None) -> BaseFiles:
    """The files of a base.

    Args:
        checkpoint: A MiniGPT's file, a folder, or a model of the hub.
        tokenizer: A ``tokenizer.json``; ``None`` takes a folder's own.

    Raises:
        UserError: A folder cannot be used: see :func:`minituner.hf.folder.open_folder`.
    """
    if not is_transformers(checkpoint):
        return BaseFiles(checkpoint, str(tokenizer))
    require_transformers(checkpoint)
    folder = open_folder(find_folder(checkpoint), tokenizer)
    return BaseFiles(
        [file.as_posix() for file in folder.files],
        folder.tokenizer.as_posix(),
        [file.as_posix() for file in folder.settings],
    )


def base_path(base: BaseInput) -> Path:
    """The checkpoint or the folder that a job's input ``base`` is; a name of the hub as a path."""
    if isinstance(base, str | Path):
        return find_folder(str(base)) if is_transformers(str(base)) else Path(base)
    return next(Path(file).parent for file in base if Path(file).name == CONFIG)


def stored_bytes(base: BaseInput) -> int:
    """The size of a base's stored weights; of a folder, that of its safetensors."""
    path = base_path(base)
    files = weight_files(path) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def context_length_of(base: BaseInput, tokenizer: str | Path) -> int:
    """The longest text in tokens that a folder's model can read."""
    return open_folder(base_path(base), tokenizer).context_length


def load_base_tokenizer(
    base: BaseInput,
    tokenizer: str | Path,
    vocab_size: int | None = None,
    start_token: str | None = None,
) -> TextTokenizer:
    """The tokenizer of a base.

    Args:
        base: A checkpoint or a folder, or a job's input ``base``; empty for a MiniGPT.
        tokenizer: A ``tokenizer.json``.
        vocab_size: The rows of the base's embedding, if they are known.
        start_token: The token that begins a text, instead of the tokenizer's; only of a folder.

    Raises:
        UserError: It is not a tokenizer, or not this base's.
    """
    from minituner.hf.tokenizer import load_folder_tokenizer
    from minituner.tokenizer import load_tokenizer

    path = base_path(base) if base else None
    if path is None or not path.is_dir():
        return load_tokenizer(tokenizer, vocab_size)
    config = open_folder(path, tokenizer).config
    return load_folder_tokenizer(tokenizer, config, vocab_size, start_token)
