"""The commands in messages: pasted into a shell, they do what the message says, for its study."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

from minituner import commands
from minituner.data.filter import filter_rows
from minituner.data.split import SplitSettings, shares_of
from minituner.errors import UserError
from minituner.pipeline.interpreter import one_word
from minituner.pipeline.ownership import (
    asked_to_overwrite,
    claim_results,
    owner,
    require_own_results,
)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_commands_of_the_default_study_name_no_config() -> None:
    assert commands.snakemake("report") == "snakemake --cores 4 report"
    assert commands.reproduce("report").startswith("`make report`, or `snakemake --cores 4 report`")
    os.chdir(ROOT)
    for root in (".", str(ROOT)):
        commands.use_config_files([], root=root)
        assert commands.snakemake("report", options="") == "snakemake report"


@pytest.mark.parametrize("folder", ["my-study", "../my studies/one", "/else where/it's"])
def test_commands_of_another_folder_name_it(folder: str) -> None:
    commands.use_config_files(["config.yaml", "more.yaml", "/a b/c.yaml"], folder=folder)
    given = shlex.split(commands.snakemake("report", "a file.png", options="--cores 4 --force"))
    assert given == [
        *["minituner", "run", folder, "--force"],
        *["--configfile", f"{folder}/more.yaml", "/a b/c.yaml", "--", "report", "a file.png"],
    ]
    # In a file of the study, which may be moved.
    inside = "minituner run . --configfile more.yaml '/a b/c.yaml' -- report"
    assert commands.snakemake("report", inside=True) == inside
    assert commands.reproduce("report") == f"`{inside}` in the study's folder"


def test_commands_in_a_module_rename_the_rules_but_not_the_files() -> None:
    commands.use_config_files([], folder=None, rule_name="verbs_{}")
    command = "snakemake --cores 4 verbs_report experiments/study.json"
    assert commands.snakemake("report", "experiments/study.json") == command
    made = commands.reproduce("report")
    assert made == "`snakemake --cores 4 verbs_report` in the study's folder"


def test_study_of_another_folder_is_read_there(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.yaml").write_text("data: {corpus: a}")
    (own / "more.yaml").write_text("ranks: [2]")
    files = commands.use_config_files(["own/config.yaml", own / "more.yaml"], "own", root="own")
    assert files == ("config.yaml", "more.yaml")
    assert commands.in_config("ranks") == "more.yaml: ranks"
    assert commands.snakemake("x") == "minituner run own --configfile own/more.yaml -- x"


def test_commands_quote_the_config_files(tmp_path: Path) -> None:
    files = [tmp_path / "own" / "my config.yaml", tmp_path / "config.yaml", "/elsewhere/more.yaml"]
    assert commands.use_config_files(files) == (
        "config.yaml",
        "own/my config.yaml",
        "/elsewhere/more.yaml",
    )
    overlays = ["--configfile", "own/my config.yaml", "/elsewhere/more.yaml", "--"]
    commands.use_config_files(files, folder=None)
    assert shlex.split(commands.snakemake("a file.png", "report")) == [
        *["snakemake", "--cores", "4", *overlays],
        *["a file.png", "report"],
    ]
    (assignment,) = shlex.split(commands.reproduce("check").split("`")[1])[2:]
    name, _, value = assignment.partition("=")
    assert name == "CONFIG"
    assert shlex.split(value) == overlays[1:-1]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["report", "--cores", "2"], "snakemake report --cores 2 --config a=1"),
        (
            ["--configfile", "my c.yaml", "--", "x"],
            "snakemake --configfile 'my c.yaml' --config a=1 -- x",
        ),
        (["--config", "b=2", "--", "x"], "snakemake --config a=1 b=2 -- x"),
        (["--config", "b=2", "a=0", "--", "x"], "snakemake --config a=1 b=2 -- x"),
        ([], "snakemake --config a=1"),
    ],
)
def test_with_config_keeps_the_target_apart(given: list[str], made: str) -> None:
    assert commands.with_config(given, "a", "1") == made


def test_with_config_shortens_what_minituner_run_has_made() -> None:
    commands.use_config_files([], folder="my study")
    made = commands.run_arguments("my study")
    for cores, shown in ((["--cores", "4"], ""), (["--cores", "2"], "--cores 2 "), ([], "")):
        given = [*made, *cores, "--configfile", "c.yaml", "--", "report"]
        command = f"minituner run 'my study' {shown}--configfile c.yaml --config a=1 -- report"
        assert commands.with_config(given, "a", "1") == command


def test_use_config_files_names_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    files = ["./config.yaml", tmp_path / "own/../own/c.yaml", "own/c.yaml", link / "own/c.yaml"]
    assert commands.use_config_files(files) == ("config.yaml", "own/c.yaml")
    monkeypatch.chdir(link)
    assert commands.use_config_files([tmp_path / "own/c.yaml"]) == ("config.yaml", "own/c.yaml")


def test_in_config_names_the_last_file_with_the_key() -> None:
    Path("config.yaml").write_text("data: {corpus: a, split: {probe: 1}}\nranks: [2]\n")
    Path("one.yaml").write_text("data:\n  corpus: b\n")
    Path("two.yaml").write_text("\ufeffranks: [4]\ndata: {split: null}\n", encoding="utf-8")
    commands.use_config_files(["config.yaml", "one.yaml", "two.yaml"])
    for key, file in {
        "ranks": "two.yaml",
        "data.corpus": "one.yaml",
        "data.split": "two.yaml",
        "data.split.probe": "config.yaml",
        "data.verbs": "config.yaml",  # in none of them
    }.items():
        assert commands.in_config(key) == f"{file}: {key}"
    Path("two.yaml").write_text("ranks: [")
    Path("one.yaml").unlink()
    assert commands.in_config("ranks") == "config.yaml: ranks"
    assert commands.in_config("data.corpus") == "config.yaml: data.corpus"


def test_messages_about_the_data_name_the_config_file() -> None:
    Path("config.yaml").write_text("data: {corpus: a, irregular_verbs: [go]}\n")
    Path("own.yaml").write_text("data: {split: {train_share: 0.5}, regular_verbs: [walk]}\n")
    commands.use_config_files(["config.yaml", "own.yaml"])
    settings = SplitSettings(train_share=0.5)
    with pytest.raises(UserError, match=r"^own\.yaml: data\.split: the shares"):
        shares_of(settings)
    with pytest.raises(UserError, match="2 mistakes") as refusal:
        filter_rows([], {}, ["go"], ["walk"])
    assert "\nconfig.yaml: data.irregular_verbs: " in str(refusal.value)
    assert "\nown.yaml: data.regular_verbs: " in str(refusal.value)


def test_only_in_config_spells_config_yaml() -> None:
    """Other modules do not know which file has a key."""
    for file in (ROOT / "minituner").rglob("*.py"):
        assert '"config.yaml: ' not in file.read_text(encoding="utf-8"), file


# --- ownership of the results -------------------------------------------------------------------


def test_require_own_results_refuses_and_names_the_alternatives() -> None:
    commands.use_config_files(["config.yaml", "a.yaml"])
    claim_results()
    require_own_results([])
    commands.use_config_files(["config.yaml", "b.yaml"])
    with pytest.raises(UserError, match="the results here belong to another study") as refusal:
        require_own_results(["--configfile", "b.yaml", "--", "ablations"])
    message = str(refusal.value)
    assert "made with config.yaml and a.yaml\n" in message
    assert "minituner init ../b, write what b.yaml sets into its config.yaml" in message
    assert "minituner run ../b report\n" in message
    assert "minituner run . --configfile a.yaml -- report\n" in message
    assert message.endswith(
        "snakemake --configfile b.yaml --config overwrite_results=true -- ablations"
    )
    claim_results()
    require_own_results([])


@pytest.mark.parametrize(
    ("value", "meant"), [(True, True), ("true", True), ("TRUE", True), (False, False), ("no", None)]
)
def test_asked_to_overwrite_only_by_true(value: object, meant: bool | None) -> None:
    if meant is None:
        with pytest.raises(UserError, match="write --config overwrite_results=true"):
            asked_to_overwrite(value)
    else:
        assert asked_to_overwrite(value) is meant


def test_any_study_may_run_without_a_record() -> None:
    commands.use_config_files(["b.yaml"])
    assert owner() is None
    require_own_results([])


@pytest.mark.parametrize(
    "record", ["", "[]", "{}", '{"config_files": []}', '{"config_files": [1]}', '{"a']
)
def test_damaged_record_is_refused(record: str) -> None:
    Path("experiments").mkdir()
    Path("experiments/study.json").write_text(record)
    with pytest.raises(UserError, match=r"study\.json"):
        require_own_results([])
    with pytest.raises(UserError, match=r"study\.json"):
        claim_results()


# --- the interpreter ----------------------------------------------------------------------------


def test_one_word_keeps_a_plain_path(tmp_path: Path) -> None:
    assert one_word("/usr/bin/python3.11") == "/usr/bin/python3.11"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["My Drive", "O'Brien & Söhne (1)", "a$HOME;b"])
def test_one_word_wraps_a_path_that_needs_quotes(tmp_path: Path, folder: str) -> None:
    link = tmp_path / folder / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    word = one_word(str(link))
    assert shlex.quote(word) == word
    # Unquoted, as Snakemake writes it.
    command = f"{word} -c 'import sys; print(sys.argv[1:])' 'a b' c"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['a b', 'c']"
    before = Path(word).stat().st_mtime_ns
    assert one_word(str(link)) == word
    assert Path(word).stat().st_mtime_ns == before
