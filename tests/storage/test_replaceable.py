"""A folder is replaced only if nothing but the recorded files, unchanged, would be lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from minituner.errors import UserError
from minituner.storage.files import sha256
from minituner.storage.replaceable import require_replaceable


@pytest.fixture
def record(tmp_path: Path) -> dict[str, str | None]:
    """An earlier output: a file, one in a folder, and one whose contents do not matter."""
    for name in ("one", "inner/two", "any"):
        path = tmp_path / "out" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(name)
    hashes = {name: sha256(tmp_path / "out" / name) for name in ("one", "inner/two")}
    return {**hashes, "any": None, "cache/": None}


def test_recorded_files_may_be_replaced(tmp_path: Path, record: dict[str, str | None]) -> None:
    require_replaceable(tmp_path / "out", record, "export")
    (tmp_path / "out/any").write_text("changed")
    (tmp_path / "out/one").unlink()
    (tmp_path / "out/cache").mkdir()
    require_replaceable(tmp_path / "out", record, "export")
    require_replaceable(tmp_path / "new", {}, "export")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("one", "one"),
        ("inner/two", "inner/two"),
        ("inner/three", "inner/three"),
        ("cache/kept", "cache/kept"),
        ("other/deep/file", "other"),
    ],
)
def test_anything_else_is_kept(
    tmp_path: Path, record: dict[str, str | None], name: str, named: str
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("mine")
    with pytest.raises(UserError, match="cannot be replaced by a comparison") as refused:
        require_replaceable(tmp_path / "out", record, "comparison")
    assert str(refused.value).count(f"changed since: {named}\n") == 1


def test_a_recorded_folder_that_has_become_a_file_is_kept(
    tmp_path: Path, record: dict[str, str | None]
) -> None:
    (tmp_path / "out/cache").write_text("mine")
    with pytest.raises(UserError, match="changed since: cache"):
        require_replaceable(tmp_path / "out", record, "export")
