"""What a JSON or JSON-lines file is: a manifest, a tokenizer, a corpus, results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import tee
from pathlib import Path
from typing import Any

from minituner.cli.explanation import Explanation
from minituner.data.prompts import BLANK
from minituner.data.rows import COLUMNS
from minituner.data.task_file import PAIR_KEYS, REQUIRED, TEXT_KEYS
from minituner.errors import UserError, first_of, number_of, shortened
from minituner.pipeline.manifest import SCHEMA_VERSION
from minituner.storage.files import iter_jsonl, read_json

# The keys of a manifest that are shown, and the types of their values.
MANIFEST_TYPES = {
    "stage": str,
    "experiment": str,
    "config": dict,
    "inputs": dict,
    "code": dict,
    "outputs": dict,
    "versions": dict,
}
LONGEST_VALUE = 60  # characters of a value that rows are counted by


def explain_json(path: Path) -> Explanation:
    """The contents of a JSON file.

    Raises:
        UserError: It is not JSON, or is a manifest or tokenizer that cannot be used.
    """
    value = read_json(path)
    if isinstance(value, list):
        return Explanation("A JSON list.", {"holds": number_of(len(value), "value")})
    if not isinstance(value, dict):
        return Explanation("A JSON value.", {"holds": json.dumps(value, ensure_ascii=False)})
    if "schema_version" in value and "stage" in value:
        return _explain_manifest(path, value)
    if isinstance(value.get("model"), dict) and "vocab" in value["model"]:
        return _explain_tokenizer(path, value)
    for key, title in (
        ("peft_type", "The config of an adapter in PEFT's format."),
        ("model_type", "The config of a model in transformers' format."),
    ):
        if key in value:
            return _explain_library_config(title, value)
    return Explanation(
        "A JSON object, such as results of the study.", {"holds": first_of(value) or "nothing"}
    )


def _explain_library_config(title: str, value: Mapping[str, Any]) -> Explanation:
    facts = {
        name: first_of(fact) if isinstance(fact, list) else fact
        for name, fact in value.items()
        if not isinstance(fact, dict)
    }
    return Explanation(title, facts)


def _explain_manifest(path: Path, value: Mapping[str, Any]) -> Explanation:
    for key, kind in MANIFEST_TYPES.items():
        if not isinstance(value.get(key), kind):
            raise _bad_manifest(
                f"{path}: {key}", value.get(key), f"a value of type {kind.__name__}"
            )
    if value["schema_version"] != SCHEMA_VERSION:
        raise _bad_manifest(f"{path}: schema_version", value["schema_version"], str(SCHEMA_VERSION))
    return Explanation(
        "A manifest: what one stage read, ran and wrote, with sha256 hashes.",
        {
            "stage": value["stage"],
            "experiment": value["experiment"],
            "seed": value.get("seed"),
            "config": json.dumps(value["config"], ensure_ascii=False),
            "read": first_of(value["inputs"]),
            "ran": f"{number_of(len(value['code']), 'source file')}, {first_of(value['code'])}",
            "wrote": first_of(value["outputs"]),
            "with": first_of([f"{name} {version}" for name, version in value["versions"].items()]),
            "to compare it with the files": "python -m minituner verify",
        },
    )


def _bad_manifest(where: str, found: object, expected: str) -> UserError:
    return UserError(
        where,
        "is not what a manifest of the study has there",
        found=json.dumps(found, ensure_ascii=False),
        expected=expected,
        fix="let its stage make it again; python -m minituner verify names the command",
    )


def _explain_tokenizer(path: Path, value: Mapping[str, Any]) -> Explanation:
    from minituner.tokenizer import SPECIAL_TOKENS, load_tokenizer

    size = load_tokenizer(path).vocab_size
    decoder = value.get("decoder")
    byte_level = isinstance(decoder, dict) and decoder.get("type") == "ByteLevel"
    return Explanation(
        "A tokenizer: byte-level, so it can encode any text." if byte_level else "A tokenizer.",
        {
            "kind": value["model"].get("type", "not recorded"),
            "vocabulary": f"{size:,}",
            "special tokens": " ".join(SPECIAL_TOKENS),
        },
    )


def explain_jsonl(path: Path) -> Explanation:
    """The rows of a corpus, of pairs, or of another JSON-lines file, one in memory at a time.

    Raises:
        UserError: A line is not a JSON object.
    """
    rows, all_rows = tee(iter_jsonl(path))
    first = next(rows, {})
    del rows  # otherwise tee would keep every row for it
    if explain_task := _task_explainer(first):
        return explain_task(all_rows)
    columns = ("verb_lemma", "tense", "label") if "verb_lemma" in first else ("group", "form")
    counts: dict[str, Counter[str]] = {column: Counter() for column in columns}
    total = fill_in = 0
    for row in all_rows:
        total += 1
        fill_in += row.get("prompt") is not None
        for column, counter in counts.items():
            counter[str(row.get(column))] += 1
    shown = {column: _counts(counter) for column, counter in counts.items()}
    if "verb_lemma" in first:
        facts = {"rows": f"{total:,}, {fill_in:,} of them fill-in", **shown}
        missing = [name for name in COLUMNS if name not in first]
        return Explanation(
            "A corpus: one sentence per line.",
            facts | ({"columns left out": ", ".join(missing)} if missing else {}),
        )
    if {"group", "form", "prompt"} <= first.keys():
        tokens = ", as token ids" if "prompt_ids" in first else ""
        return Explanation(
            f"Fill-in pairs{tokens}: one per line.", {"pairs": f"{total:,}", **shown}
        )
    return Explanation("JSON rows.", {"rows": f"{total:,}", "columns": first_of(first) or "none"})


def _task_explainer(
    first: Mapping[str, Any],
) -> Callable[[Iterable[Mapping[str, Any]]], Explanation] | None:
    """The function that explains a task file or a control set, by its first row; None for other
    rows."""
    if "text" in first and first.keys() <= {*TEXT_KEYS}:
        return _explain_control
    return _explain_task if {*REQUIRED} <= first.keys() <= {*PAIR_KEYS} else None


def _explain_task(rows: Iterable[Mapping[str, Any]]) -> Explanation:
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("group", "form", "split")}
    total = with_blank = several = 0
    for row in rows:
        total += 1
        with_blank += BLANK in str(row.get("prompt"))
        several += isinstance(row.get("wrong"), list)
        for column, counter in counts.items():
            if row.get(column) is not None:
                counter[str(row[column])] += 1
    return Explanation(
        "A task file: one minimal pair per line.",
        {
            "pairs": f"{total:,}, {with_blank:,} of them with a blank, {several:,} with a list of "
            "wrong forms",
            **{f"by {name}": _counts(counter) for name, counter in counts.items() if counter},
        },
    )


def _explain_control(rows: Iterable[Mapping[str, Any]]) -> Explanation:
    total = texts = words = 0
    for row in rows:
        total += 1
        texts += "text" in row
        words += len(str(row.get("text", "")).split())
    return Explanation(
        "A control set: one text per line.",
        {
            "rows": f"{total:,}, {texts:,} of them texts",
            "words per text": f"{words / max(texts, 1):.1f} on average",
        },
    )


def _counts(counter: Counter[str]) -> str:
    return first_of(
        [f"{shortened(value, LONGEST_VALUE)} {count:,}" for value, count in counter.most_common()]
    )
