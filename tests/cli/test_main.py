"""The program: its name, its subcommands and their options."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from project import ROOT

from minituner.cli.arguments import positive_int
from minituner.cli.main import COMMANDS, main


@pytest.mark.parametrize(
    ("path", "program"),
    [
        ("/venv/bin/minituner", "minituner"),
        ("C:/venv/Scripts/minituner.exe", "minituner"),
        ("/project/minituner/__main__.py", "python -m minituner"),
    ],
)
def test_help_shows_the_program_as_it_was_typed(
    path: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [path, "predict", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {program} predict ")
    assert f"{program} predict --file sentences.txt --json\n" in text


def test_the_installed_script_is_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["minituner"].partition(":")
    assert getattr(import_module(module), name) is main


def test_help_lists_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"    {name} " in text and command.HELP in text


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_the_fields_of_the_arguments(name: str) -> None:
    parser = argparse.ArgumentParser()
    COMMANDS[name].add_arguments(parser)
    arguments = {action.dest for action in parser._actions} - {"help"}
    assert {field.name for field in fields(COMMANDS[name].Options)} == arguments


@pytest.mark.parametrize("arguments", [[], ["fine-tune"], ["export", "--to", "onnx", "x"]])
def test_unknown_arguments_end_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_positive_int_refuses_other_texts() -> None:
    assert positive_int("16") == 16
    for text in ("0", "-1", "2.5", "1e3", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
            positive_int(text)


def test_generate_passes_its_options_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """tests/data/test_generate.py has the behavior of each option."""
    command = ["generate", "--raw", str(ROOT / "data/raw"), "--config", str(ROOT / "config.yaml")]
    command += ["--out", str(tmp_path)]
    assert main([*command, "--check"]) == 1
    assert "fill_in.jsonl: missing\n" in capsys.readouterr().err
    assert main(command) == 0
    edited = tmp_path / "verb-corpus/irregular.jsonl"
    edited.write_text("{}\n")
    assert main(command) == 1
    assert f"minituner: error\n\n{edited.parent}: " in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert edited.stat().st_size > len("{}\n")
