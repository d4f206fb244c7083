"""What an export says about itself, and where: readable without the weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from minituner.errors import UserError
from minituner.storage.files import read_json

# Keys in the safetensors' metadata.
RECORD = "minituner_export"
KIND = "minituner_export_kind"  # "" where it is absent
MERGED = "base with an adapter merged into it"  # a kind
RECORD_FILE = "minituner-export.json"  # with the kind and the record, where no metadata have them


def export_kind(folder: Path, metadata: Mapping[str, str]) -> str | None:
    """The kind of export that a folder is, changed since or not; None if it is none.

    Args:
        metadata: Of its safetensors file.
    """
    if RECORD in metadata:
        return metadata.get(KIND, "")
    with suppress(UserError, KeyError, TypeError):
        return str(read_json(folder / RECORD_FILE)["kind"])
    return None
