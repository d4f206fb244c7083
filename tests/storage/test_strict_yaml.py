"""Every type of value, and the texts that plain YAML would silently misread."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from project import ROOT

from minituner.errors import UserError
from minituner.storage.strict_yaml import read_yaml

FILES = [
    "config.yaml",
    "rules/config.schema.yaml",
    "data/raw/verbs.yaml",
    "data/raw/frames.yaml",
    "minituner/data/verbs.schema.yaml",
    "minituner/data/frames.schema.yaml",
    "profiles/default/profile.yaml",
    "profiles/slurm/profile.yaml",
    "tests/pipeline/tiny.yaml",
    "envs/minituner.yaml",
]


@pytest.mark.parametrize("file", FILES)
def test_project_files_are_read_as_pyyaml_does(file: str) -> None:
    assert read_yaml(ROOT / file) == yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))


def test_every_type_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "text: plain\nquoted: '010'\nnothing:\ntilde: ~\n"
        "whole: [0, 12, -3, +4, 1_000]\nnumbers: [0.5, 1.0e-4, .5, -2., 1_0.0]\n"
        "endless: [.inf, -.inf]\ntruth: [true, False, yes, off]\n"
        "not a number: [1e-4, 08]\n? named\n: {}\n"
    )
    inf = float("inf")
    assert read_yaml(path) == {
        "text": "plain",
        "quoted": "010",
        "nothing": None,
        "tilde": None,
        "whole": [0, 12, -3, 4, 1000],
        "numbers": [0.5, 0.0001, 0.5, -2.0, 10.0],
        "endless": [inf, -inf],
        "truth": [True, False, True, False],
        "not a number": ["1e-4", "08"],
        "named": {},
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("data: 1\nlora: 2\ndata: 3\n", 3, ["'data' is given twice", "on line 1 and on line 3"]),
        (
            "a:\n  b:\n    c: 1\n    c: 1\n",
            4,
            ["'a.b.c' is given twice", "on line 3 and on line 4"],
        ),
        ("a: [{b: 1,\n  'b': 2}]\n", 2, ["'a.0.b' is given twice", "on line 1 and on line 2"]),
        ('{"a": 1,\n"a": 2}', 2, ["'a' is given twice"]),  # JSON
        ("a:\n  no: 1\n", 2, ["a key under 'a'", 'write "no" in quotes']),
        ("1: 1\n", 1, ["not read as text", 'write "1" in quotes']),
        ("2024-01-02: 1\n", 1, ["not read as text"]),
        ("~: 1\n", 1, ["not read as text"]),
        ("? [a, b]\n: 1\n", 1, ["not read as text", "a sequence"]),
        ("a: {x: 1}\nb:\n  <<: {y: 2}\n", 3, ["a merge key under 'b'", "instead of <<"]),
        ("a: &x {y: 1}\nb:\n  <<: *x\n", 3, ["a merge key under 'b'", "are not read"]),
        ("{b: 1, b: 2}\n", 1, ["line 1, at column 2 and at column 8"]),
        ("a: &here {x: 1}\nb: *here\n", 1, ["b is an alias of this value"]),
        ("a: &here [1]\nb: [2, *here]\n", 1, ["b.1 is an alias"]),
        ("&here a: *here\n", 1, ["a is an alias"]),
        ("a: &here b\n*here : 1\n", 1, ["a key is an alias"]),
        ("a: &here {b: *here}\n", 1, ["a.b is an alias"]),  # within itself
        ("a: 010\n", 1, ["a would not be read as it is written", "other than ten", '"010"']),
        ("a: 0x1F\n", 1, ["other than ten"]),
        ("a: [3, 1:30]\n", 1, ["a.1 would not", "1:30"]),
        ("a: 1:30.5\n", 1, ["base sixty"]),
        ("a: 2024-01-02\n", 1, ["reads it as a date"]),
        ("a: 2024-13-45\n", 1, ["reads it as a date"]),
        ("a: =\n", 1, ["default value"]),
        ("a: !!set {x, y}\n", 1, ["a has a tag", "!!set"]),
        ("a: !!python/name:os.system x\n", 1, ["a has a tag", "!!python/name:os.system"]),
        ("- !mine 3\n", 1, ["0 has a tag", "!mine"]),
        ("!!binary aGk=\n", 1, ["the file has a tag"]),
        ("a: 1\n---\nb: 2\n", 2, ["is not YAML", "another document"]),
        ("a:\n\tb: 1\n", 2, ["is not YAML"]),
        ("a: 1\nb: x\x00y\n", 2, ["is not YAML", "control characters"]),
        ("a: 1\nb: c: d\n", 2, ["is not YAML"]),
        ("a: 1\nb: *c\n", 2, ["is not YAML", "found:    undefined alias"]),
    ],
)
def test_misread_values_are_refused_with_their_line(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(UserError) as refusal:
        read_yaml(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}:{line}: ")
    for word in (*words, "found:", "expected:", "fix:"):
        assert word in message


def test_value_of_a_refused_key_is_named_by_it(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &x 1\nb:\n  no: *x\n")
    with pytest.raises(UserError, match="2 mistakes") as refusal:
        read_yaml(path)
    assert "b.no is an alias" in str(refusal.value)


def test_all_mistakes_in_yaml_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 010\nb: 1:30\na:\n  no: 1\n")
    with pytest.raises(UserError) as refusal:
        read_yaml(path)
    message = str(refusal.value)
    assert message.startswith("4 mistakes:\n")
    assert all(f"{path}:{line}: " in message for line in (1, 2, 3, 4))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be-sig", "utf-32"])
def test_byte_order_mark_sets_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.yaml"
    text = "verbo: ir\npret\u00e9rito: fui\n"
    path.write_bytes(
        b"\xfe\xff" + text.encode("utf-16-be")
        if encoding == "utf-16-be-sig"
        else text.encode(encoding)
    )
    assert read_yaml(path) == {"verbo": "ir", "pret\u00e9rito": "fui"}


def test_other_encoding_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("verbo: ir\ncomi\u00f3: s\u00ed, anteayer tambi\u00e9n\n".encode("cp1252"))
    with pytest.raises(UserError, match="Windows-1252") as refusal:
        read_yaml(path)
    assert str(refusal.value).startswith(f"{path}:2: is not UTF-8")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text in ("[" * 100_000, "[" * 60 + "]" * 60, "".join(" " * n + "a:\n" for n in range(99))):
        path.write_text(text)
        with pytest.raises(UserError, match="is nested too deeply"):
            read_yaml(path)
    path.write_text("[" * 50 + "]" * 50)
    assert read_yaml(path)


def test_empty_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# to be written\n")
    assert read_yaml(path) is None


def test_python_loader_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    path = tmp_path / "a.yaml"
    path.write_text("a: 1\nb: 010\na: 2\n")
    with pytest.raises(UserError, match="2 mistakes"):
        read_yaml(path)
    path.write_bytes(b"a: 1\nb: x\x00y\n")
    with pytest.raises(UserError, match=r"a\.yaml:2: is not YAML"):
        read_yaml(path)
