"""The commands that read finished studies from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_study import always, write_study
from project import run_program

from minituner.__main__ import main


def test_compare_writes_a_page_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(tmp_path / "my-study")
    write_study(tmp_path / "another-study", always(False))
    monkeypatch.chdir(tmp_path)
    command = "compare my-study another-study --out comparison --measure margin_nats"
    assert main(command.split()) == 0
    assert capsys.readouterr().out == "comparison/comparison.md\n"
    page = Path("comparison/comparison.md").read_text(encoding="utf-8")
    assert "**another-study less my-study**" in page
    assert "margin, nats" in page


def test_compare_takes_the_folder_it_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_study(tmp_path / "here")
    write_study(tmp_path / "there")
    monkeypatch.chdir(folder)
    assert main(["compare", ".", "../there", "--out", "../out"]) == 0
    assert "| here | there |" in (tmp_path / "out/comparison.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one"], "needs at least two studies"),
        (["one", "one"], "is named more than once"),
        (["one", "nowhere"], "nowhere: is not a study"),
    ],
)
def test_compare_refuses_what_it_cannot_compare(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_study(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *arguments, "--out", "out"]) == 1
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["compare a b --out out", "export --to mlflow out --study a"])
def test_reading_studies_imports_no_torch_and_no_mlflow(command: str, tmp_path: Path) -> None:
    for name in "ab":
        write_study(tmp_path / name)
    program = (
        f"import sys; from minituner.__main__ import main; code = main({command.split()!r})\n"
        "print(code, sorted({'torch', 'transformers', 'mlflow'} & sys.modules.keys()))"
    )
    done = run_program(program, tmp_path)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
