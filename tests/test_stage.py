"""A stage: its log, its errors, and the manifest that it leaves."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from minituner.errors import UserError
from minituner.pipeline.stage import run_stage
from minituner.storage.files import read_json


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
    config: ClassVar = {"study": {"config_files": ["config.yaml"]}}

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
def gc_enabled_again() -> Iterator[None]:
    """A stage leaves gc disabled, because its process is about to end; this one is not."""
    yield
    gc.unfreeze()
    gc.enable()


def test_run_stage_disables_gc_to_the_end_of_the_process(tmp_path: Path) -> None:
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


def test_manifest_has_the_hashes_of_code_inputs_and_outputs(tmp_path: Path) -> None:
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


def test_manifest_bytes_are_reproducible(tmp_path: Path) -> None:
    job = Job(tmp_path)
    written = []
    for _ in range(2):
        with run_stage(job):
            Path(job.output.result).write_text("result")
        written.append(Path(job.output.manifest).read_bytes())
    assert written[0] == written[1]


def test_run_stage_reports_a_user_error_without_traceback(
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


def test_run_stage_logs_the_traceback_of_other_errors(tmp_path: Path) -> None:
    job = Job(tmp_path)
    with pytest.raises(SystemExit) as stop, run_stage(job):
        raise ZeroDivisionError
    assert stop.value.code == 1
    log = Path(job.log[0]).read_text()
    assert log.startswith("Traceback (most recent call last):")
    assert log.endswith("ZeroDivisionError\n")
    assert not Path(job.output.manifest).exists()


def test_environment_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with run_stage(Job(tmp_path)) as job:
        Path(job.output.result).write_text("result")
    assert read_json(tmp_path / "train.environment.json")["git"] is None
