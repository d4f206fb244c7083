"""Hashes that are remembered, and when they are not trusted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from minituner.storage import hash_cache
from minituner.storage.files import sha256, sha256_of_all
from minituner.storage.hash_cache import remembered_sha256


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and that has not changed for an hour."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hash_cache, "SMALL_BYTES", 10)
    path = tmp_path / "weights"
    path.write_bytes(b"1" * 100)
    set_age(path, 3600)
    return path


def set_age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(str(path))
        return sha256(path)

    monkeypatch.setattr(hash_cache, "sha256", counted)
    return read


def notes() -> list[Path]:
    return sorted(hash_cache.FOLDER.glob("*")) if hash_cache.FOLDER.is_dir() else []


def test_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    expected = hashlib.sha256(b"1" * 100).hexdigest()
    assert [remembered_sha256(file) for _ in range(3)] == [expected] * 3
    assert [remembered_sha256("weights"), remembered_sha256(str(file))] == [expected] * 2
    assert len(read) == 1
    assert len(notes()) == 1  # nothing partial is left


def test_file_that_changed_is_read_again(file: Path) -> None:
    remembered_sha256(file)
    file.write_bytes(b"2" * 100)  # another time
    assert remembered_sha256(file) == hashlib.sha256(b"2" * 100).hexdigest()
    remembered_sha256(file)
    status = file.stat()
    file.write_bytes(b"2" * 101)  # another size at the same time
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert remembered_sha256(file) == hashlib.sha256(b"2" * 101).hexdigest()


def test_file_that_has_just_changed_is_not_remembered(file: Path) -> None:
    set_age(file, 0.0)
    remembered_sha256(file)
    assert notes() == []


def test_small_file_is_always_read(file: Path) -> None:
    file.write_bytes(b"1" * 9)
    set_age(file, 3600)
    assert remembered_sha256(file) == hashlib.sha256(b"1" * 9).hexdigest()
    assert notes() == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"file": []}', '{"file": ["x", 1, 2]}'])
def test_damaged_note_is_ignored(file: Path, content: str) -> None:
    expected = remembered_sha256(file)
    (note,) = notes()
    note.write_text(content)
    assert remembered_sha256(file) == expected
    assert json.loads(note.read_text())["sha256"] == expected


def test_folder_that_cannot_be_written_is_no_error(file: Path) -> None:
    Path(".snakemake").write_text("a file, so no folder can be made in it")
    assert remembered_sha256(file) == hashlib.sha256(b"1" * 100).hexdigest()


def test_hash_of_several_files_depends_on_names_and_contents_alone() -> None:
    one = sha256_of_all({"a/x": "1", "a/y": "2"})
    assert one == sha256_of_all({"b/y": "2", "b/x": "1"})
    assert one == hashlib.sha256(b"x 1\ny 2\n").hexdigest()
    assert len({one, sha256_of_all({"x": "2", "y": "1"}), sha256_of_all({"x": "1"})}) == 3
