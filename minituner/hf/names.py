"""The names of a transformers model's weights, from the headers of its files: no tensor is read."""

from __future__ import annotations

from pathlib import Path

from minituner.errors import UserError
from minituner.hf.weights import check_safetensors, weight_files


def stored_matrices(checkpoint: str) -> list[str]:
    """The dotted names of a folder's matrices, without ``.weight``: its linear layers and its
    embeddings. Empty for what is not a folder, or whose files cannot be used; other checks say so.
    """
    from safetensors import safe_open  # here, because the rules need it only with such a base

    folder = Path(checkpoint)
    names: list[str] = []
    try:
        for path in weight_files(folder) if folder.is_dir() else []:
            check_safetensors(path)
            with safe_open(path, framework="numpy") as file:
                keys = list(file.keys())
                names += [key for key in keys if len(file.get_slice(key).get_shape()) == 2]
    except (UserError, OSError):
        return []
    return [name.removesuffix(".weight") for name in names if name.endswith(".weight")]
