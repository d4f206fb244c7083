"""Files appear whole or not at all; a stage leaves a manifest that says what it did."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.storage.files import (
    atomic_open,
    copy_file,
    iter_jsonl,
    read_json,
    sha256,
    write_json,
    write_jsonl,
)


def test_atomic_open_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_open(path) as stream:
        stream.write("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_open_shows_only_complete_files(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    with atomic_open(path) as stream:
        stream.write("all of it")
        stream.flush()
        assert not path.exists()
    with atomic_open(path, "wb") as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "all of it"
    assert path.read_bytes() == b"new", "shorter than the old, and nothing of the old behind it"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_open_replaces_what_a_killed_writer_left(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = (
        "import os, sys\nfrom minituner.storage.files import atomic_open\n"
        "with atomic_open(sys.argv[1]) as stream:\n"
        "    stream.write('half of a long n')\n    stream.flush()\n    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "the kill did leave something"
    with atomic_open(path) as stream:
        stream.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_write_json_to_an_unwritable_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})

    def refuse(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError) as refusal:
        write_json(path, {"new": 2})
    assert str(path) in str(refusal.value)
    assert os.strerror(code) in str(refusal.value)
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_to_a_full_disk(tmp_path: Path) -> None:
    """/dev/full answers every write with "no space left"."""
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    (tmp_path / ".file.json.partial").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"(?s)file\.json: cannot be written.*No space left"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with pytest.raises(UserError, match=r"results/file\.json: cannot be written"):
        write_json(tmp_path / "results" / "file.json", {})


def test_write_json_is_reproducible_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"b": 1, "a": [1.5, "é"]})
    write_json(tmp_path / "b", {"a": [1.5, "é"], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "c", {"x": math.nan})
    assert not (tmp_path / "c").exists()


def test_jsonl_copy_and_sha256(tmp_path: Path) -> None:
    rows = [{"z": "ñ", "a": 1}, {"z": None, "a": 2}]
    write_jsonl(tmp_path / "rows", rows)
    assert list(iter_jsonl(tmp_path / "rows")) == rows
    copy_file(tmp_path / "rows", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "rows").read_bytes()
    expected = hashlib.sha256((tmp_path / "rows").read_bytes()).hexdigest()
    assert sha256(tmp_path / "rows") == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_in_encodings_of_editors(tmp_path: Path, encoding: str) -> None:
    text = '{"a": "ñ"}\r\n\n \t\n{"a": "\u2028"}'
    (tmp_path / "rows").write_text(text, encoding=encoding, newline="")
    assert list(iter_jsonl(tmp_path / "rows")) == [{"a": "ñ"}, {"a": "\u2028"}]
    (tmp_path / "json").write_text('\n{"a": "ñ"}\r\n', encoding=encoding, newline="")
    assert read_json(tmp_path / "json") == {"a": "ñ"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": 1', "is not JSON\n  found:    Expecting ',' delimiter at column 8"),
        (b'{"a": NaN}', "is not JSON\n  found:    NaN"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "is not JSON\n  found:    Exceeds the limit"),
        (b'{"a": ' + b"[" * 100_000, "is not JSON\n  found:    brackets nested too deeply"),
        (b'{"a": "caf\xe9"}', "is not UTF-8\n  found:    byte 0xe9"),
        (b"[1]", "is not a JSON object\n  found:    [1]"),
        (b"3", "is not a JSON object\n  found:    3"),
    ],
)
def test_bad_json_is_refused_by_line(tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line)
    rows = iter_jsonl(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(UserError) as refusal:
        next(rows)
    assert f"{path}:2: {words}" in str(refusal.value)
    if not line.endswith((b"[1]", b"3")):
        path.write_bytes(line)
        with pytest.raises(UserError, match=words.partition("\n")[0]):
            read_json(path)


def test_reading_a_missing_file(tmp_path: Path) -> None:
    for read in (read_json, lambda path: list(iter_jsonl(path))):
        with pytest.raises(UserError, match="none: cannot be read"):
            read(tmp_path / "none")


def test_a_file_system_that_cannot_sync_folders_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = os.open

    def refuse_folders(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return open_(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse_folders)
    write_json(tmp_path / "file.json", {"new": 2})
    assert read_json(tmp_path / "file.json") == {"new": 2}
