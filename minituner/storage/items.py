"""items.csv: what a model said to each pair. Ids, verbs and sentences are text, whatever they look
like: ``1.10`` is another id than ``1.1``, and ``NA`` and ``TRUE`` are words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minituner.storage.files import atomic_open, write_text

if TYPE_CHECKING:
    import pandas as pd

TEXT = ("split", "id", "prompt", "verb", "form", "complement", "correct_form", "wrong_form")
WHOLE = ("seed", "correct", "text_tokens", "target_tokens")
NATS = ("margin_nats", "margin_nats_per_token", "text_nll_nats", "target_nll_nats")
TYPES = {
    **dict.fromkeys(TEXT, "str"),
    **dict.fromkeys(WHOLE, "int64"),
    **dict.fromkeys(NATS, "float64"),
}


def write_items(path: str | Path, items: Sequence[Mapping[str, Any]]) -> None:
    """Write per-item results as CSV, whole or not at all."""
    with atomic_open(path) as stream:
        writer = csv.DictWriter(stream, items[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(items)


def read_items(path: str | Path) -> pd.DataFrame:
    """Read per-item results, each column as what it is (``TYPES``); the base's have no seed."""
    return _read(path, TYPES)


def copy_items_of_seed(items: str | Path, seed: int, path: str | Path) -> None:
    """Copy one seed's answers out of a rank's, as they are written there."""
    table = _read(items, "str")
    write_text(path, table[table["seed"] == str(seed)].to_csv(index=False, lineterminator="\n"))


def _read(path: str | Path, types: Any) -> pd.DataFrame:
    import pandas as pd  # 0.4 s, and who only writes needs none

    # Only a line feed ends a line, and nothing stands for "missing" but NaN among the numbers.
    no_number = {} if types == "str" else {column: ["nan"] for column in NATS}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values=no_number, lineterminator="\n"
    )
