"""What a file or a folder of the study is, in a few lines."""

from __future__ import annotations

import csv
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from minituner.cli.inspect_json import json_file, rows_file
from minituner.cli.inspect_tensors import safetensors_file, torch_file
from minituner.errors import UserError, first_of, number_of, shortened
from minituner.storage.text import decode_line, iter_lines, unreadable

Facts = Mapping[str, object]

KNOWN = (
    "a base checkpoint or an adapter (.pt, .safetensors), a tokenizer, a manifest or results "
    "(.json), a corpus or pairs (.jsonl), a table (.csv, .tsv), verbs, frames or a config (.yaml), "
    "a figure (.png), a report (.md), or a folder of these"
)
LONGEST = 2_000  # characters of one fact
# What stands at the top of a config; rules/config.schema.yaml has the same.
CONFIG_KEYS = {
    *("generate", "data", "base", "ranks", "seeds", "lora", "train", "gates", "statistics"),
    *("ablations", "simulation", "threads"),
}
PNG_BEGINS, PNG_ENDS = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"


def explain(path: str | Path) -> str:
    """A few lines on what the file or folder holds.

    Raises:
        UserError: There is no such file, it is damaged, or it is none of the study's.
    """
    if not str(path):  # it would be taken for the folder one is in
        raise UserError(
            "inspect", "was given no name", found="''", expected=KNOWN, fix="name one of those"
        )
    path = Path(path)
    try:
        status = path.stat()
        title, facts = _explainer(path, status)(path)
    except FileNotFoundError as error:
        raise UserError(
            path, "there is no such file", found="nothing", expected=KNOWN, fix="fix the path"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    return "\n".join([title, *(f"  {name}: {_shown(fact)}" for name, fact in facts.items())])


def _explainer(path: Path, status: os.stat_result) -> Callable[[Path], tuple[str, Facts]]:
    """What explains a file of this kind."""
    if stat.S_ISDIR(status.st_mode):
        return _folder
    kind = path.suffix.lower()
    if not stat.S_ISREG(status.st_mode):
        found = "a pipe, a socket or a device"
    elif kind not in EXPLAINERS:
        found = f"a file that ends in {kind!r}" if kind else "a name without an ending"
    elif status.st_size == 0 and kind != ".jsonl":  # no rows are rows
        found = "an empty file"
    else:
        return EXPLAINERS[kind]
    raise UserError(
        path,
        "is no kind of file that the study has",
        found=found,
        expected=KNOWN,
        fix="name one of those",
    )


def _shown(fact: object) -> str:
    """A fact on one line, and nothing in it that a terminal would obey."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in shortened(fact, LONGEST)
    )


# --- folders ------------------------------------------------------------------------------------


def _folder(path: Path) -> tuple[str, Facts]:
    entries = sorted(path.iterdir())
    names = [entry.name for entry in entries]
    title = "A folder."
    if "adapter_config.json" in names:
        title = "An adapter, as PEFT reads it."
    elif {"config.json", "model.safetensors"} <= set(names):
        title = "A base, as transformers reads it."
    elif any(name.endswith("manifest.json") for name in names):
        title = "Results of the study, with the manifests of the stages that wrote them."
    elif any(name.endswith(".jsonl") for name in names):
        title = "A folder of rows, such as a corpus is."
    shown = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    return title, {"holds": first_of(shown) or "nothing"}


# --- tables, YAML, figures, text ----------------------------------------------------------------


def _table(path: Path) -> tuple[str, Facts]:
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
                "is no table",
                found=str(error),
                expected="rows of comma-separated values" if not tabs else "tab-separated columns",
                fix="fix the quotes, or copy the file again from its source",
            ) from error
    if tabs:
        return "A table, tab-separated.", {"rows": f"{rows + 1:,}", "columns": len(first)}
    return "A table, as CSV.", {"rows": f"{rows:,}", "columns": first_of(first)}


def _lines(stream: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a text.

    Raises:
        UserError: It is not UTF-8, or what no text holds is in it.
    """
    for number, raw in enumerate(iter_lines(stream, path), start=1):
        line = decode_line(raw, f"{path}:{number}")
        if "\0" in line:
            raise UserError(
                f"{path}:{number}",
                "is not text",
                found="a NUL",
                expected=f"a text, as a file that ends in {path.suffix} is",
                fix="copy it again from its source",
            )
        yield line


def _yaml_file(path: Path) -> tuple[str, Facts]:
    from minituner.data.verbs import load_verbs
    from minituner.storage.strict_yaml import read_yaml

    value = read_yaml(path)
    languages = {"english", "spanish"}
    if not isinstance(value, dict):
        return "YAML without keys, so nothing of the study's.", {"holds": type(value).__name__}
    if {"subjects", "frames"} <= value.keys():
        title = "What the generator puts round a verb; make corpus checks it."
        return title, {
            key: first_of(list(entries))
            for key, entries in value.items()
            if isinstance(entries, dict)
        }
    if any(isinstance(entry, dict) and entry.keys() >= languages for entry in value.values()):
        verbs = load_verbs(path)
        irregular = [verb.lemma for verb in verbs.values() if verb.irregular]
        regular = [verb.lemma for verb in verbs.values() if not verb.irregular]
        return "Verbs and their forms.", {
            "irregular": f"{len(irregular):,}: {first_of(irregular)}",
            "regular": f"{len(regular):,}: {first_of(regular)}",
        }
    of_a_config = value.keys() <= CONFIG_KEYS
    title = "Settings, as config.yaml or an overlay on it has them." if of_a_config else "YAML."
    return title, {"keys": first_of(list(value))}


def _figure(path: Path) -> tuple[str, Facts]:
    with path.open("rb") as stream:
        head = stream.read(24)  # signature, length and name of the first chunk, width, height
        stream.seek(-min(len(head), len(PNG_ENDS)), os.SEEK_END)
        end = stream.read()
    if len(head) < 24 or not head.startswith(PNG_BEGINS) or end != PNG_ENDS:
        raise UserError(
            path,
            "is no PNG" if not head.startswith(PNG_BEGINS) else "is a PNG without its end",
            found=f"a file that begins with {head[:8]!r} and ends with {end[-8:]!r}",
            expected="a figure as the study's stages draw it",
            fix="copy it again from its source",
        )
    width, height = struct.unpack(">II", head[16:])
    return "A figure, as PNG.", {"size": f"{width:,} x {height:,} pixels"}


def _text(path: Path) -> tuple[str, Facts]:
    heading, lines = "", 0
    with path.open("rb") as stream:
        for line in _lines(stream, path):
            lines += 1
            heading = heading or (line.lstrip("# ") if line.startswith("#") else "")
    facts: dict[str, object] = {"lines": number_of(lines, "line")}
    return "Text, such as a report.", facts | ({"title": heading} if heading else {})


EXPLAINERS: dict[str, Callable[[Path], tuple[str, Any]]] = {
    ".pt": torch_file,
    ".safetensors": safetensors_file,
    ".json": json_file,
    ".jsonl": rows_file,
    ".csv": _table,
    ".tsv": _table,
    ".yaml": _yaml_file,
    ".yml": _yaml_file,
    ".png": _figure,
    ".md": _text,
    ".txt": _text,
    ".log": _text,
}
