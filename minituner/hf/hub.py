"""The folder of a base that the config names: a folder, or a model of the Hugging Face hub."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from minituner.errors import UserError
from minituner.hf.folder import CONFIG, EXPECTED, require_transformers

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")  # org/name
# Neither pickles nor code, nor Mistral's second copy of the weights (consolidated.safetensors).
WANTED = ["*.json", "model*.safetensors"]
FILE_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def is_transformers(checkpoint: str | None) -> bool:
    """Whether a checkpoint is a folder or a name of the hub, and not a MiniGPT's file."""
    if checkpoint is None or Path(checkpoint).is_file():
        return False
    return Path(checkpoint).is_dir() or not checkpoint.endswith(FILE_ENDINGS)


def find_folder(checkpoint: str) -> Path:
    """The folder of a base. A name of the hub is looked up in the local cache, and downloaded if it
    is not there.

    Raises:
        UserError: There is no such folder, nor such a model in the cache or on the hub.
    """
    path = Path(checkpoint)
    if path.is_dir():
        return path
    if not HUB_NAME.fullmatch(checkpoint):
        raise UserError(
            checkpoint,
            "there is no such folder",
            found="nothing",
            expected=EXPECTED,
            fix="fix the path, or name a model of the hub: org/name",
        )
    require_transformers(checkpoint)
    return _cached(checkpoint) or _downloaded(checkpoint)


def _cached(name: str) -> Path | None:
    """The model's folder in the local cache; None if something is missing in it."""
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(name, allow_patterns=WANTED, local_files_only=True))
    except (OSError, ValueError):
        return None
    complete = (path / CONFIG).is_file() and any(path.glob("model*.safetensors"))
    return path if complete else None


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    print(f"{name}: downloading it from the Hugging Face hub", file=sys.stderr)
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED, ignore_patterns=["*/*"]))
    except Exception as error:  # the library and those below it raise many types
        raise UserError(
            name,
            "there is no such folder, and the model cannot be downloaded from the hub",
            found=(str(error).strip().splitlines() or [type(error).__name__])[0],
            expected="a folder, a model in the local cache, or a network and a public model",
            fix="fix the name; without a network, download it elsewhere and name its folder",
        ) from error
