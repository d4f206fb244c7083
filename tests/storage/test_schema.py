"""What a schema's violations look like as messages, compared with what jsonschema itself finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.storage.schema import (
    EXPECTED,
    Problem,
    are_sound,
    load_schema,
    refuse,
    schema_problems,
)

SCHEMAS = {
    "config.yaml": ROOT / "rules/config.schema.yaml",
    "data/raw/verbs.yaml": ROOT / "minituner/data/verbs.schema.yaml",
    "data/raw/frames.yaml": ROOT / "minituner/data/frames.schema.yaml",
}
# Keywords that only lead to other schemas, or that say nothing about a value.
STRUCTURE = {
    *("properties", "additionalProperties", "propertyNames", "items", "required"),
    *("allOf", "if", "then", "else", "$ref", "$defs", "minProperties"),
    *("$schema", "title", "description", "x-fix"),
}


def keywords(schema: Any) -> set[str]:
    """Every keyword of JSON Schema used in a schema, at any depth."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            found |= {keyword for inner in value.values() for keyword in keywords(inner)}
        elif isinstance(value, list):
            found |= {keyword for inner in value for keyword in keywords(inner)}
        else:
            found |= keywords(value)
    return found


@pytest.mark.parametrize("path", SCHEMAS.values(), ids=SCHEMAS)
def test_schemas_are_valid_and_every_keyword_has_a_message(path: Path) -> None:
    schema = load_schema(path)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert keywords(schema) <= STRUCTURE | EXPECTED.keys()


@pytest.mark.parametrize(("example", "path"), SCHEMAS.items(), ids=SCHEMAS)
def test_project_files_fit_their_schemas(example: str, path: Path) -> None:
    value = load_schema(ROOT / example)  # any YAML file
    assert schema_problems(value, load_schema(path), example) == []


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "size"],
    "properties": {
        "name": {"type": "string", "format": "plain-text"},
        "size": {"type": "integer", "minimum": 1},
        "share": {"type": "number", "description": "a share", "x-fix": "halve it", "maximum": 1},
        "kinds": {"type": "array", "items": {"enum": ["odd", "even"]}},
        "parts": {"type": "object", "propertyNames": {"maxLength": 3}},
    },
}


def problems_of(**value: object) -> list[Problem]:
    return schema_problems(value, SCHEMA, "a.yaml")


@pytest.mark.parametrize(
    ("value", "key", "what", "found", "expected", "fix"),
    [
        ({"size": 0}, "size", "the value cannot", "0 (a number)", "at least 1", "change it"),
        ({"size": 2.0}, "size", "the value cannot", "2.0 (a number)", "a whole number", "write a"),
        ({"size": True}, "size", "the value cannot", "true", "a whole number", "write a whole"),
        ({"size": "4"}, "size", "the value cannot", "'4' (text)", "a whole", "write 4, without"),
        ({"share": 2}, "share", "the value cannot", "2 (a number)", "a share", "halve it"),
        ({"share": float("nan")}, "share", "the value cannot", "nan", "a share", "write a number"),
        ({"name": 3}, "name", "the value cannot", "3 (a number)", "text", "write it in quotes"),
        ({"name": " a"}, "name", "the value cannot", "' a'", "text in the format", "change it"),
        ({"name": "a\u200b"}, "name", "the value cannot", "'a", "text in the format", "change it"),
        ({"kinds": ["od"]}, "kinds.0", "the value cannot", "'od'", "one of odd, even", "'odd'?"),
        ({"kinds": ["x"]}, "kinds.0", "the value cannot", "'x'", "one of odd, even", "write one"),
        ({"parts": {"long": 1}}, "parts.long", "the name cannot", "'long'", "at most 3", "change"),
        ({"parts": None}, "parts", "has no keys", "nothing (null)", "its keys", "under parts"),
        ({"sizes": 1}, "sizes", "unknown key", "'sizes'", "one of name, size", "mean 'size'?"),
        ({"xyz": 1}, "xyz", "unknown key", "'xyz'", "one of name, size", "remove 'xyz'"),
    ],
)
def test_problem_has_every_part(
    value: dict[str, Any], key: str, what: str, found: str, expected: str, fix: str
) -> None:
    (problem,) = problems_of(**{"name": "a", "size": 1, **value})
    assert ".".join(problem.keys) == key
    assert problem.what.startswith(what)
    assert problem.found.startswith(found)
    assert problem.expected.startswith(expected)
    assert fix in problem.fix


def test_missing_keys_are_one_problem_each() -> None:
    first, second = problems_of(share=1)
    assert (first.keys, second.keys) == (("name",), ("size",))
    assert first.found == "only share"
    assert first.fix == "add it, as in a.yaml of the repository"


def test_misspelled_key_is_not_also_missing() -> None:
    (problem,) = problems_of(nmae="a", size=1)
    assert (problem.keys, problem.meant) == (("nmae",), ("name",))
    assert "did you mean 'name'?" in problem.fix
    assert not are_sound([problem], ("name",))


def test_empty_mapping_is_one_problem() -> None:
    (problem,) = problems_of()
    assert problem.expected == "its keys: name, size, share, kinds, parts"
    assert "overlay" not in problem.fix


def test_problems_are_in_the_order_of_the_file() -> None:
    problems = problems_of(size=0, kinds=["x"] * 12, name=" ")
    assert [p.keys[0] for p in problems] == ["size", *["kinds"] * 12, "name"]
    assert [p.keys[1] for p in problems[1:-1]] == [str(i) for i in range(12)]


@pytest.mark.parametrize(
    ("values", "sound"),
    [
        ([("a",)], False),
        ([("a", "b")], False),
        ([("a", "b", "c")], False),
        ([("a", "c")], True),
        ([("d",), ("a", "c")], True),
        ([("d",), ("a", "b")], False),
        ([()], False),
    ],
)
def test_are_sound(values: list[tuple[str, ...]], sound: bool) -> None:
    problem = Problem(("a", "b"), "what", "found", "expected", "fix")
    assert are_sound([problem], *values) == sound


def test_refuse_reports_ten_problems_and_the_count() -> None:
    with pytest.raises(UserError) as refusal:
        refuse("a.yaml", problems_of(name="a", size=1, kinds=["x"] * 30))
    message = str(refusal.value)
    assert message.startswith("30 mistakes; the first 10:\n")
    assert message.count("a.yaml: kinds.") == 10
    refuse("a.yaml", [])
