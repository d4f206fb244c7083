"""An export is written completely or not at all, and replaces only an earlier export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import minituner.interop.export_folder
from minituner.__main__ import main
from minituner.errors import UserError
from minituner.interop.export_folder import new_export
from minituner.model import MiniGPT
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.files import atomic_folder
from minituner.storage.tensors import load_safetensors, save_safetensors, weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer

KINDS = ("transformers", "peft")
WEIGHTS = {"transformers": "model.safetensors", "peft": "adapter_model.safetensors"}
Contents = dict[str, bytes]


@pytest.fixture(autouse=True)
def _study(
    base: MiniGPT,
    tuned: MiniGPT,
    make_base: Callable[..., MiniGPT],
    tokenizer: TextTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two bases, each with an adapter, in the working folder."""
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tokenizer, "tokenizer.json")
    save_base("best.pt", base, "tokenizer.json")
    save_base("other.pt", make_base(1), "tokenizer.json")
    save_adapter("best.adapter.pt", tuned, weights_sha256(base.state_dict()), seed=0)
    save_adapter("other.adapter.pt", tuned, weights_sha256(make_base(1).state_dict()), seed=1)


def export(kind: str, folder: str, base: str = "best", tokenizer: str = "tokenizer.json") -> int:
    files = ["--base", f"{base}.pt", "--tokenizer", tokenizer, "--adapter", f"{base}.adapter.pt"]
    return main(["export", "--to", kind, folder, *files])


def contents(folder: str | Path) -> Contents:
    """Every file below ``folder``, including hidden ones."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def exported(kind: str, base: str = "best") -> Contents:
    """The files of an export into a new folder."""
    assert export(kind, f"new-{kind}-{base}", base) == 0
    return contents(f"new-{kind}-{base}")


@pytest.mark.parametrize("kind", KINDS)
def test_export_into_new_empty_and_exported_folders(kind: str) -> None:
    best, other = exported(kind), exported(kind, "other")
    assert best != other
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    for folder in ("deep/er/new", "empty", "empty", "link", "new/"):
        for base, expected in (("best", best), ("other", other), ("other", other)):
            assert export(kind, folder, base) == 0
            assert contents(folder) == expected
    assert Path("link").is_symlink()
    left = {path.name for path in Path.cwd().iterdir() if path.name.startswith(".")}
    assert left == set()


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "config.json": lambda folder: (folder / "config.json").write_text("{}"),
    "notes.txt": lambda folder: (folder / "notes.txt").write_text("mine"),
    ".hidden": lambda folder: (folder / ".hidden").write_text("mine"),
    "inner": lambda folder: (folder / "inner").mkdir(),
    "model.safetensors": lambda folder: save_safetensors(
        folder / "model.safetensors", {}, {"format": "pt"}
    ),
    "adapter_model.safetensors": lambda folder: (folder / WEIGHTS["peft"]).write_text("{"),
}


@pytest.mark.parametrize("among", [False, True], ids=["alone", "in an export"])
@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("kind", KINDS)
def test_export_overwrites_no_other_file(
    kind: str, name: str, among: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if among:
        assert export(kind, "folder") == 0
        capsys.readouterr()
    else:
        Path("folder").mkdir()
    FOREIGN[name](Path("folder"))
    before = contents("folder")
    assert export(kind, "folder", "other") == 1
    message = capsys.readouterr().err
    assert "folder: cannot be replaced by an export\n" in message
    assert name in message
    assert contents("folder") == before


@pytest.mark.parametrize("kind", KINDS)
def test_export_does_not_overwrite_an_edited_export(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = exported(kind).keys() - {WEIGHTS[kind]}
    for name in names:
        folder = f"with-another-{name}"
        assert export(kind, folder) == 0
        with (Path(folder) / name).open("a") as stream:
            stream.write(" ")
        before = contents(folder)
        capsys.readouterr()
        assert export(kind, folder) == 1
        assert f"changed since: {name}\n" in capsys.readouterr().err
        assert contents(folder) == before


def test_export_does_not_replace_another_kind_of_export() -> None:
    for kind, other in (KINDS, KINDS[::-1]):
        assert export(kind, kind) == 0
        before = contents(kind)
        assert export(other, kind) == 1
        assert contents(kind) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "folder", [".", "", "..", "/", "best.pt", "best.pt/new", "dangling", "a" * 300]
)
def test_export_refuses_folders_it_must_not_replace(
    kind: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("dangling").symlink_to("nowhere")
    before = contents(".")
    assert export(kind, folder) == 1
    assert "minituner: error" in capsys.readouterr().err
    assert contents(".") == before


def test_new_export_refuses_the_working_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    for folder in (".", "../empty", "..", str(Path.cwd())):
        with (
            pytest.raises(UserError, match="the folder you are in, or one around it"),
            new_export(folder, "model.safetensors"),
        ):
            pytest.fail("not refused")


def test_export_can_read_the_tokenizer_of_the_export_it_replaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    best = exported("transformers")
    Path("base").mkdir()
    for name in ("best.pt", "tokenizer.json"):
        shutil.copyfile(name, f"base/{name}")
    before = contents("base")
    assert export("transformers", "base", "base/best", "base/tokenizer.json") == 1
    assert "best.pt, tokenizer.json" in capsys.readouterr().err
    assert contents("base") == before

    assert export("transformers", "opt") == 0  # its own tokenizer.json is the same
    assert export("transformers", "opt", tokenizer="opt/tokenizer.json") == 0
    assert contents("opt") == best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_export_leaves_the_folder_unchanged(
    kind: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = exported(kind)
    monkeypatch.setattr(minituner.interop.export_folder, "save_safetensors", raising(error))
    for folder, expected in ((f"new-{kind}-best", earlier), ("empty", {})):
        Path(folder).mkdir(exist_ok=True)
        with suppress(KeyboardInterrupt):
            assert export(kind, folder, "other") == 1
        assert contents(folder) == expected
    assert not any(path.name.startswith(".") for path in Path.cwd().iterdir())


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_reported_for_the_folder(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("minituner.storage.files.os.fsync", raising(full))
    assert export(kind, "opt") == 1
    message = capsys.readouterr().err
    assert f"{Path('opt').resolve()}: cannot be written\n  found:    No space left" in message
    assert not Path("opt").exists()


def test_atomic_folder_restores_the_folder_if_renaming_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("folder").mkdir()
    Path("folder/file").write_text("earlier")
    rename = Path.rename

    def busy(self: Path, target: Path) -> Path:
        if self.name == ".folder.partial":
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    with (
        pytest.raises(UserError, match=r"cannot be written(.|\n)*busy"),
        atomic_folder("folder") as new,
    ):
        (new / "file").write_text("new")
    assert contents("folder") == {"file": b"earlier"}


def test_export_cleans_up_after_a_killed_export() -> None:
    Path(".opt.partial").mkdir()
    Path(".opt.partial/half").write_text("half")
    assert export("transformers", "opt") == 0
    assert contents("opt") == exported("transformers")
    assert not Path(".opt.partial").exists()


def test_an_export_records_the_hashes_of_its_files() -> None:
    assert export("transformers", "opt") == 0
    _, texts = load_safetensors("opt/model.safetensors")
    assert texts["format"] == "pt"  # transformers requires it
    for name in contents("opt").keys() - {"model.safetensors"}:
        assert name in texts["minituner_export"]


def test_export_refuses_a_missing_tokenizer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export("transformers", "opt", tokenizer="nowhere.json") == 1
    assert "nowhere.json: cannot be read" in capsys.readouterr().err
    assert not Path("opt").exists()
