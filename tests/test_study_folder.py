"""A study in another folder than the project's: its link to the code, and its config's defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import check_config, default_files, read_config, require_study
from minituner.pipeline.project import (
    LINK,
    PROJECT,
    from_study,
    is_project,
    link_project,
    locate,
)
from minituner.pipeline.source_closure import import_closure

SCHEMA = ROOT / "rules/config.schema.yaml"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_project_is_not_linked_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = Path(LINK).exists()
    link_project()
    assert is_project() and PROJECT.samefile(ROOT)
    assert Path(LINK).exists() == before
    assert from_study("Snakefile") == "Snakefile"
    assert default_files() == []


def test_link_leads_to_the_files_that_it_names(tmp_path: Path) -> None:
    link_project()
    for file in import_closure("workflow_scripts/render.py", ROOT):
        named = from_study(file)
        assert not named.startswith("/")
        assert Path(named).samefile(ROOT / file)
        assert locate(named).samefile(ROOT / file)
    assert locate("data/own.jsonl", "a study") == Path("a study/data/own.jsonl")
    assert locate(str(tmp_path / "x"), "a study") == tmp_path / "x"


def test_rules_name_the_project_s_files_from_the_study() -> None:
    """In another folder, a path without `from_study` leads nowhere."""
    for file in (ROOT / "rules").glob("*.smk"):
        for line in file.read_text(encoding="utf-8").splitlines():
            for found in re.finditer(r'"(minituner/[^"]*)"', line):
                assert f"from_study({found[0]})" in line, f"{file.name}: {line.strip()}"


def test_link_is_made_again_after_a_move(tmp_path: Path) -> None:
    link_project()
    made = Path(LINK).lstat().st_mtime_ns
    link_project()
    assert Path(LINK).lstat().st_mtime_ns == made
    Path(LINK).unlink()
    Path(LINK).symlink_to(tmp_path / "where the project was")
    link_project()
    assert Path(LINK).samefile(ROOT)
    assert [path.name for path in Path(LINK).parent.iterdir()] == ["minituner"]


def test_link_that_cannot_be_made_is_said() -> None:
    Path(LINK).mkdir(parents=True)
    with pytest.raises(UserError, match="the link to the project cannot be made"):
        link_project()
    Path(LINK).rmdir()
    Path(LINK).parent.rmdir()
    Path(LINK).parent.write_text("in the way")
    with pytest.raises(UserError, match="symbolic links"):
        link_project()


def config_of(text: str) -> dict[str, Any]:
    Path("config.yaml").write_text(text, encoding="utf-8")
    return read_config([*default_files(), "config.yaml"])


def test_config_holds_only_what_differs() -> None:
    link_project()
    defaults, config = read_config([ROOT / "config.yaml"]), config_of("seeds: [7]\n")
    paths = {"data": {"verbs", "corpus"}, "base": {"corpus"}}
    for section, value in defaults.items():
        if section in paths:
            for key, setting in value.items():
                named = f"{LINK}/{setting}" if key in paths[section] else setting
                assert config[section][key] == named, key
        else:
            assert config[section] == ([7] if section == "seeds" else value)
    check_config(config, SCHEMA, [*default_files(), "config.yaml"])


def test_every_path_of_the_defaults_is_found_from_the_study() -> None:
    """A path that PATHS lacks would be looked for in the study's folder."""
    link_project()
    config = config_of("seeds: [7]\n")

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for item in value.values() for text in texts(item)]
        return [value] if isinstance(value, str) else []

    paths = [text for text in texts(config) if (ROOT / text).exists() or text.startswith(LINK)]
    assert len(paths) == 3
    assert all(Path(path).exists() for path in paths)


def test_paths_of_the_study_are_its_own() -> None:
    link_project()
    config = config_of("data: { corpus: own }\nbase: { corpus: null }\n")
    assert config["data"]["corpus"] == "own"
    assert config["base"]["corpus"] is None
    with pytest.raises(UserError, match="own: holds no corpus"):
        check_config(config, SCHEMA, [*default_files(), "config.yaml"])


def test_mistakes_are_at_the_file_that_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_project()
    with pytest.raises(UserError, match=r"^config\.yaml: rank: unknown key"):
        check_config(config_of("rank: [2]\n"), SCHEMA, [*default_files(), "config.yaml"])
    other = tmp_path / "project"
    other.mkdir()
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    (other / "config.yaml").write_text(text.replace("n_heads: 6", "n_heads: six"))
    monkeypatch.setattr("minituner.pipeline.project.PROJECT", other)
    with pytest.raises(UserError) as refusal:
        check_config(config_of("seeds: [1]\n"), SCHEMA, [*default_files(), "config.yaml"])
    assert refusal.value.where == "project/config.yaml: base.model.n_heads"


def test_folder_without_a_config_is_no_study() -> None:
    with pytest.raises(UserError, match="minituner init 'my study'"):
        require_study("my study")
    Path("config.yaml").touch()
    require_study("my study")
