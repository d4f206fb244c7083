"""What a table, a YAML file, a figure or a text is."""

from __future__ import annotations

import csv
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minituner.cli.explanation import Explanation
from minituner.data.verbs import load_verbs
from minituner.errors import UserError, first_of, number_of
from minituner.storage.strict_yaml import read_yaml
from minituner.storage.text import decode_line, iter_lines

# The keys at the top of a config; rules/config.schema.yaml has the same.
CONFIG_KEYS = {
    *("generate", "task", "data", "base", "ranks", "seeds", "lora", "train", "gates", "statistics"),
    *("ablations", "simulation", "compute", "threads"),
}
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"
PNG_HEADER = 24  # bytes: the signature, the length and name of the first chunk, width, height


def explain_table(path: Path) -> Explanation:
    """The rows and columns of a CSV file, or of a TSV file.

    Raises:
        UserError: It is not such a table.
    """
    tabs = path.suffix.lower() == ".tsv"
    with path.open("rb") as stream:
        lines = (f"{line}\n" for line in _lines(stream, path))
        reader = csv.reader(lines, delimiter="\t" if tabs else ",")
        try:
            first: list[str] = next(filter(None, reader), [])
            rows = sum(1 for row in reader if row)
        except csv.Error as error:
            raise UserError(
                f"{path}:{reader.line_num}",
                "is not a table",
                found=str(error),
                expected="tab-separated columns" if tabs else "rows of comma-separated values",
                fix="fix the quotes, or copy the file again from its source",
            ) from error
    if tabs:  # without a header
        return Explanation(
            "A tab-separated table.", {"rows": f"{rows + 1:,}", "columns": len(first)}
        )
    return Explanation("A CSV table.", {"rows": f"{rows:,}", "columns": first_of(first)})


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a text.

    Raises:
        UserError: It is not UTF-8, or has a NUL in it.
    """
    for number, raw in enumerate(iter_lines(stream, path), start=1):
        line = decode_line(raw, f"{path}:{number}")
        if "\0" in line:
            raise UserError(
                f"{path}:{number}",
                "is not text",
                found="a NUL",
                expected=f"text, like every file that ends in {path.suffix}",
                fix="copy it again from its source",
            )
        yield line


def explain_yaml(path: Path) -> Explanation:
    """The verbs, the frames, the settings or the keys of a YAML file.

    Raises:
        UserError: It is not YAML, or its verbs cannot be used.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        return Explanation(
            "YAML without keys, so not a file of the study.", {"holds": type(value).__name__}
        )
    if {"subjects", "frames"} <= value.keys():
        title = "The generator's subjects and sentence frames; make corpus checks them."
        mappings = {key: entries for key, entries in value.items() if isinstance(entries, dict)}
        return Explanation(title, {key: first_of(list(keys)) for key, keys in mappings.items()})
    if any(
        isinstance(entry, dict) and {"english", "spanish"} <= entry.keys()
        for entry in value.values()
    ):
        return _explain_verbs(path)
    is_config = value.keys() <= CONFIG_KEYS
    title = "Settings: config.yaml, or an overlay on it." if is_config else "YAML."
    return Explanation(title, {"keys": first_of(list(value))})


def _explain_verbs(path: Path) -> Explanation:
    verbs = load_verbs(path)
    irregular = [verb.lemma for verb in verbs.values() if verb.irregular]
    regular = [verb.lemma for verb in verbs.values() if not verb.irregular]
    return Explanation(
        "Verbs and their forms.",
        {
            "irregular": f"{len(irregular):,}: {first_of(irregular)}",
            "regular": f"{len(regular):,}: {first_of(regular)}",
        },
    )


def explain_figure(path: Path) -> Explanation:
    """The size of a PNG.

    Raises:
        UserError: It is not a PNG, or not a complete one.
    """
    with path.open("rb") as stream:
        head = stream.read(PNG_HEADER)
        stream.seek(-min(len(head), len(PNG_END)), os.SEEK_END)
        end = stream.read()
    is_png = head.startswith(PNG_SIGNATURE)
    if len(head) < PNG_HEADER or not is_png or end != PNG_END:
        raise UserError(
            path,
            "is a PNG without its end" if is_png else "is not a PNG",
            found=f"a file that begins with {head[:8]!r} and ends with {end[-8:]!r}",
            expected="a complete figure, as the study's stages draw it",
            fix="copy it again from its source",
        )
    width, height = struct.unpack(">II", head[16:])
    return Explanation("A PNG figure.", {"size": f"{width:,} x {height:,} pixels"})


def explain_text(path: Path) -> Explanation:
    """The number of lines, and the first heading.

    Raises:
        UserError: It is not UTF-8, or has a NUL in it.
    """
    heading, lines = "", 0
    with path.open("rb") as stream:
        for line in _lines(stream, path):
            lines += 1
            heading = heading or (line.lstrip("# ") if line.startswith("#") else "")
    facts: dict[str, object] = {"lines": number_of(lines, "line")}
    return Explanation("Text, such as a report.", facts | ({"title": heading} if heading else {}))
