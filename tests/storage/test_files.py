"""Files appear whole or not at all; a stage leaves a manifest that says what it did."""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import read_config
from minituner.pipeline.manifest import run_stage
from minituner.pipeline.verify import changed, describe, verify
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


# --- manifests ----------------------------------------------------------------------------------


class Named:
    """As much of Snakemake's Namedlist as a stage uses."""

    def __init__(self, **values: Any) -> None:
        self._values = values
        self.__dict__.update(values)

    def __iter__(self) -> Iterator[str]:
        for value in self._values.values():
            yield from value if isinstance(value, list) else [value]

    def __getitem__(self, index: int) -> str:
        return list(self)[index]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def keys(self) -> list[str]:
        return list(self._values)

    def items(self) -> list[tuple[str, Any]]:
        return list(self._values.items())


class Job:
    """A stand-in for the ``snakemake`` object."""

    rule = "train"
    config: ClassVar = {"config_files": ["config.yaml"]}

    def __init__(self, folder: Path) -> None:
        for name in ("in.txt", "code.py", "best.pt"):
            (folder / name).write_text(name)
        self.input = Named(
            rows=str(folder / "in.txt"),
            base=str(folder / "best.pt"),
            code=[str(folder / "code.py")],
        )
        self.output = Named(
            result=str(folder / "out.txt"), manifest=str(folder / "train.manifest.json")
        )
        self.params = Named(config={"train": {"epochs": 3}}, seed=[0, 1])
        self.wildcards = Named(rank="8")
        self.log = Named(log=str(folder / "logs" / "train.log"))


@pytest.fixture(autouse=True)
def collected_again() -> Iterator[None]:
    """A stage leaves the collector of cycles off: its process ends, this one goes on."""
    yield
    gc.unfreeze()
    gc.enable()


def test_cycles_are_left_alone_to_the_end_of_a_stages_process(tmp_path: Path) -> None:
    class Node:
        me: Node

    with run_stage(Job(tmp_path)) as job:
        Path(job.output.result).write_text("result")
        node = Node()
        node.me, alive = node, weakref.ref(node)
        del node
        assert not gc.isenabled()
    gc.collect()  # as the interpreter does on its way out
    assert alive() is not None
    gc.unfreeze()
    gc.collect()
    assert alive() is None


def test_a_manifest_says_what_was_read_run_and_written(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with run_stage(job):
        Path(job.output.result).write_text("result")
        Path(job.input.rows).write_text("changed while it ran")
    manifest = read_json(job.output.manifest)

    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    assert manifest["stage"] == "train"
    assert manifest["seed"] == [0, 1]
    assert manifest["config"] == {"train": {"epochs": 3}}
    assert manifest["code"] == {str(tmp_path / "code.py"): digest("code.py")}
    assert manifest["inputs"][job.input.rows] == digest("in.txt"), "hashed before the stage began"
    assert manifest["outputs"] == {job.output.result: digest("result")}
    assert manifest["base_checkpoint_sha256"] == digest("best.pt")
    assert set(manifest["versions"]) >= {"python", "torch", "numpy", "snakemake", "minituner"}
    assert "wall_seconds" in read_json(tmp_path / "train.environment.json")


def test_the_same_run_leaves_the_same_manifest(tmp_path: Path) -> None:
    job = Job(tmp_path)
    written = []
    for _ in range(2):
        with run_stage(job):
            Path(job.output.result).write_text("result")
        written.append(Path(job.output.manifest).read_bytes())
    assert written[0] == written[1]


def test_a_users_mistake_ends_with_its_message_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path)
    with pytest.raises(SystemExit) as stop, run_stage(job):
        raise UserError("c.jsonl:3", "is wrong", found="a", expected="b", fix="do c")
    assert stop.value.code == 1
    for text in (capsys.readouterr().err, Path(job.log[0]).read_text()):
        assert "c.jsonl:3: is wrong\n  found:    a\n  expected: b\n  fix:      do c" in text
        assert "Traceback" not in text
    assert not Path(job.output.manifest).exists()


def test_any_other_error_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with pytest.raises(SystemExit) as stop, run_stage(job):
        raise ZeroDivisionError
    assert stop.value.code == 1
    log = Path(job.log[0]).read_text()
    assert log.startswith("Traceback (most recent call last):")
    assert log.endswith("ZeroDivisionError\n")
    assert not Path(job.output.manifest).exists()


def test_a_stage_needs_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with run_stage(Job(tmp_path)) as job:
        Path(job.output.result).write_text("result")
    assert read_json(tmp_path / "train.environment.json")["git"] is None


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


def test_manifests_in_hidden_files_and_folders_are_none(tmp_path: Path) -> None:
    root = tmp_path / ".a hidden place" / "study"
    config = read_config([ROOT / "config.yaml"])
    keys = ("inputs", "code", "outputs", "config", "versions")
    hidden = ("._manifest.json", ".manifest.json", ".ipynb_checkpoints/manifest.json")
    for name in ("manifest.json", *hidden):
        path = root / "data/filtered" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")
    write_json(root / "data/filtered/manifest.json", {"stage": "filter", **{k: {} for k in keys}})
    stages = verify(config, root)
    assert [stage.path for stage in stages] == ["data/filtered/manifest.json"]
    assert describe(stages) == "1 of 1 stage is current"
    assert describe(stages * 2) == "2 of 2 stages are current"


def test_a_changed_part_of_the_config_is_named_by_its_key() -> None:
    used = {"lora": {"alpha": 16, "dropout": 0.05}, "seeds": [0, 1]}
    now = {"lora": {"alpha": 16, "dropout": 0.1, "rank": 8}, "seeds": [0, 1], "ranks": [2]}
    assert changed(used, now) == ["lora.dropout"]
    assert changed(used, json.loads(json.dumps(used))) == []
    assert changed(used, {"seeds": [0]}) == ["lora", "seeds"]
