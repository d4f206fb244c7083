"""What a file of JSON or of JSON lines is: a manifest, a tokenizer, a corpus, results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import tee
from pathlib import Path
from typing import Any

from minituner.data.rows import COLUMNS
from minituner.errors import UserError, first_of, number_of, shortened
from minituner.pipeline.manifest import SCHEMA_VERSION
from minituner.storage.files import iter_jsonl, read_json

Facts = Mapping[str, object]

# What a manifest has under its keys, as far as it is shown.
MANIFEST = {
    "stage": str,
    "experiment": str,
    "config": dict,
    "inputs": dict,
    "code": dict,
    "outputs": dict,
    "versions": dict,
}


def json_file(path: Path) -> tuple[str, Facts]:
    """A title and facts.

    Raises:
        UserError: It is not JSON, or a manifest or tokenizer that cannot be used.
    """
    value = read_json(path)
    if isinstance(value, list):
        return "A list, as JSON.", {"holds": number_of(len(value), "value")}
    if not isinstance(value, dict):
        return "One value, as JSON.", {"holds": shortened(json.dumps(value, ensure_ascii=False))}
    if "schema_version" in value and "stage" in value:
        return _manifest(path, value)
    if isinstance(value.get("model"), dict) and "vocab" in value["model"]:
        return _tokenizer(path, value)
    for key, title in (
        ("peft_type", "The config of an adapter, as PEFT reads it."),
        ("model_type", "The config of a model, as transformers reads it."),
    ):
        if key in value:
            plain = {name: fact for name, fact in value.items() if not isinstance(fact, dict)}
            return title, {
                name: first_of(fact) if isinstance(fact, list) else fact
                for name, fact in plain.items()
            }
    return "A JSON object, such as the study's results are.", {
        "holds": first_of(value) or "nothing"
    }


def _manifest(path: Path, value: Mapping[str, Any]) -> tuple[str, Facts]:
    for key, kind in MANIFEST.items():
        if not isinstance(value.get(key), kind):
            raise _no_manifest(f"{path}: {key}", value.get(key), f"a value of type {kind.__name__}")
    if value["schema_version"] != SCHEMA_VERSION:
        raise _no_manifest(f"{path}: schema_version", value["schema_version"], str(SCHEMA_VERSION))
    return "A manifest: what one stage read, ran and wrote, by sha256.", {
        "stage": value["stage"],
        "experiment": value["experiment"],
        "seed": value.get("seed"),
        "config": json.dumps(value["config"], ensure_ascii=False),
        "read": first_of(value["inputs"]),
        "ran": f"{number_of(len(value['code']), 'source file')}, {first_of(value['code'])}",
        "wrote": first_of(value["outputs"]),
        "with": first_of([f"{name} {version}" for name, version in value["versions"].items()]),
        "to hold it against the files": "python -m minituner verify",
    }


def _no_manifest(where: str, found: object, expected: str) -> UserError:
    return UserError(
        where,
        "is not what a manifest of the study has there",
        found=json.dumps(found, ensure_ascii=False),
        expected=expected,
        fix="let its stage make it again; python -m minituner verify names the command",
    )


def _tokenizer(path: Path, value: Mapping[str, Any]) -> tuple[str, Facts]:
    from minituner.tokenizer import SPECIAL_TOKENS, load_tokenizer

    size = load_tokenizer(path).get_vocab_size()
    decoder = value.get("decoder")
    byte_level = isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"
    title = "A tokenizer" + (": byte-level, so no text is unknown to it." if byte_level else ".")
    return title, {
        "kind": value["model"].get("type", "not said"),
        "vocabulary": f"{size:,}",
        "special tokens": " ".join(SPECIAL_TOKENS),
    }


# --- JSON lines ---------------------------------------------------------------------------------


def rows_file(path: Path) -> tuple[str, Facts]:
    """A title and facts; of any number of rows one is held at a time.

    Raises:
        UserError: A line is not a JSON object.
    """
    rows, all_rows = tee(iter_jsonl(path))
    first = next(rows, {})
    del rows  # or it would hold on to all of them
    columns = ("verb_lemma", "tense", "label") if "verb_lemma" in first else ("verb", "form")
    counts: dict[str, Counter[str]] = {column: Counter() for column in columns}
    total = fill_in = 0
    for row in all_rows:
        total += 1
        fill_in += row.get("prompt") is not None
        for column, counter in counts.items():
            counter[str(row.get(column))] += 1
    shown = {column: _counted(counter) for column, counter in counts.items()}
    if "verb_lemma" in first:
        title = "A corpus: one sentence per line."
        facts = {"rows": f"{total:,}, {fill_in:,} of them fill-in", **shown}
        missing = [name for name in COLUMNS if name not in first]
        return title, facts | ({"columns left out": ", ".join(missing)} if missing else {})
    if {"verb", "form", "prompt"} <= first.keys():
        tokens = ", as token ids" if "prompt_ids" in first else ""
        return f"Fill-in pairs{tokens}: one per line.", {"pairs": f"{total:,}", **shown}
    return "Rows, as JSON.", {"rows": f"{total:,}", "columns": first_of(first) or "none"}


def _counted(counter: Counter[str]) -> str:
    return first_of([f"{shortened(value, 60)} {count:,}" for value, count in counter.most_common()])
