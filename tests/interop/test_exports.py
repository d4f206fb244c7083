"""An export appears whole or not at all, and takes the place of nothing but a former export."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

import minituner.interop.exports
from minituner.__main__ import main
from minituner.errors import UserError
from minituner.interop.exports import new_export
from minituner.model import MiniGPT
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.files import atomic_folder
from minituner.storage.tensors import load_safetensors, save_safetensors, weights_sha256
from minituner.tokenizer import save_tokenizer

KINDS = ("transformers", "peft")
WEIGHTS = {"transformers": "model.safetensors", "peft": "adapter_model.safetensors"}
Contents = dict[str, bytes]


@pytest.fixture(autouse=True)
def _study(
    base: MiniGPT,
    tuned: MiniGPT,
    make_base: Callable[..., MiniGPT],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two bases, with an adapter each, in the folder that we are in."""
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
    """Every file below ``folder``, hidden ones too."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def exported(kind: str, base: str = "best") -> Contents:
    """What an export into a new folder holds."""
    assert export(kind, f"new-{kind}-{base}", base) == 0
    return contents(f"new-{kind}-{base}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_goes_into_a_new_an_empty_or_a_former_one(kind: str) -> None:
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
def test_nothing_of_anybodys_is_overwritten(
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
    said = capsys.readouterr().err
    assert "folder: cannot take an export\n" in said
    assert name in said
    assert contents("folder") == before


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_that_was_changed_by_hand_is_kept(
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


def test_an_export_of_one_kind_does_not_replace_one_of_the_other() -> None:
    for kind, other in (KINDS, KINDS[::-1]):
        assert export(kind, kind) == 0
        before = contents(kind)
        assert export(other, kind) == 1
        assert contents(kind) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "folder", [".", "", "..", "/", "best.pt", "best.pt/new", "dangling", "a" * 300]
)
def test_a_place_that_is_not_to_be_replaced_is_refused(
    kind: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("dangling").symlink_to("nowhere")
    before = contents(".")
    assert export(kind, folder) == 1
    assert "minituner cannot go on" in capsys.readouterr().err
    assert contents(".") == before


def test_the_folder_that_one_is_in_is_refused_even_if_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    for folder in (".", "../empty", "..", str(Path.cwd())):
        with (
            pytest.raises(UserError, match="the folder you are in, or one around it"),
            new_export(folder, "model.safetensors"),
        ):
            pytest.fail("it was taken")


def test_the_tokenizer_may_lie_where_the_export_goes(capsys: pytest.CaptureFixture[str]) -> None:
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
def test_an_export_that_fails_leaves_what_was_there(
    kind: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = exported(kind)
    monkeypatch.setattr(minituner.interop.exports, "save_safetensors", raising(error))
    for folder, expected in ((f"new-{kind}-best", former), ("empty", {})):
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
def test_a_full_disk_is_told_of_the_folder(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("minituner.storage.files.os.fsync", raising(full))
    assert export(kind, "opt") == 1
    said = capsys.readouterr().err
    assert f"{Path('opt').resolve()}: cannot be written\n  found:    No space left" in said
    assert not Path("opt").exists()


def test_a_folder_that_cannot_take_its_place_leaves_the_former(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("folder").mkdir()
    Path("folder/file").write_text("former")
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
    assert contents("folder") == {"file": b"former"}


def test_what_a_killed_export_has_left_is_taken_up() -> None:
    Path(".opt.partial").mkdir()
    Path(".opt.partial/half").write_text("half")
    assert export("transformers", "opt") == 0
    assert contents("opt") == exported("transformers")
    assert not Path(".opt.partial").exists()


def test_an_export_carries_the_hashes_of_its_files_and_its_weights_format() -> None:
    assert export("transformers", "opt") == 0
    _, texts = load_safetensors("opt/model.safetensors")
    assert texts["format"] == "pt"  # what transformers asks for
    for name in contents("opt").keys() - {"model.safetensors"}:
        assert name in texts["minituner_export"]


def test_a_tokenizer_that_is_not_there_is_refused_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export("transformers", "opt", tokenizer="nowhere.json") == 1
    assert "nowhere.json: cannot be read" in capsys.readouterr().err
    assert not Path("opt").exists()
