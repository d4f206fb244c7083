"""items.csv: a model's scores on each pair or text. Ids, verbs and sentences are text, whatever
they look like: ``1.10`` and ``1.1`` are different ids, and ``NA`` and ``TRUE`` are words."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minituner.storage.files import atomic_open, write_text

if TYPE_CHECKING:
    import pandas as pd

    from minituner.results import ItemRow

TEXT = ("split", "id", "prompt", "group", "form", "complement", "correct_form", "wrong_form")
WHOLE = ("seed", "text_tokens", "target_tokens")
NATS = ("margin_nats", "margin_nats_per_token", "text_nll_nats", "target_nll_nats")
TYPES = {
    **dict.fromkeys(TEXT, "str"),
    **dict.fromkeys(WHOLE, "int64"),
    **dict.fromkeys(NATS, "float64"),
    "correct": "float64",  # 0 or 1, and empty for a plain text
}
# The only word for a missing number is NaN. A plain text has no margin: its cells are empty.
MISSING = {
    **{column: ["nan"] for column in NATS},
    **{column: ["nan", ""] for column in ("margin_nats", "margin_nats_per_token", "correct")},
}


def write_items(path: str | Path, items: Sequence[ItemRow]) -> None:
    """Write per-item results as CSV, whole or not at all.

    Args:
        items: At least one; none has a column that the first lacks. What another lacks is empty.
    """
    with atomic_open(path) as stream:
        writer = csv.DictWriter(stream, items[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(items)


def read_items(path: str | Path) -> pd.DataFrame:
    """Read per-item results, each column with its type in ``TYPES``; the base's have no seed."""
    return _read(path, TYPES)


def copy_items_of_seed(items: str | Path, seed: int, path: str | Path) -> None:
    """Copy one seed's rows of a setting's items.csv, as they are written there."""
    table = _read(items, dict.fromkeys(TYPES, "str"))
    write_text(path, table[table["seed"] == str(seed)].to_csv(index=False, lineterminator="\n"))


def _read(path: str | Path, types: Mapping[str, str]) -> pd.DataFrame:
    import pandas as pd  # here, since it takes 0.4 s, and writing does not need it

    # Only a line feed ends a line.
    missing = {column: words for column, words in MISSING.items() if types[column] != "str"}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values=missing, lineterminator="\n"
    )
