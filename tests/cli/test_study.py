"""Commands about a study in a folder: ``init``, ``run``, and where the others find its files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner import commands
from minituner.cli.main import main
from minituner.cli.study import use_study, with_defaults
from minituner.data.skeleton import CONTROL, FRAMES, IRREGULAR, PAIRS, REGULAR
from minituner.errors import UserError
from minituner.pipeline.paths import ADAPTER, BASE, TOKENIZER
from minituner.storage.strict_yaml import read_yaml


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# --- init ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my study", "deep/er", "."])
def test_init_writes_a_study_and_says_what_is_next(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", name]) == 0
    written = {p.relative_to(name).as_posix() for p in Path(name).rglob("*") if p.is_file()}
    assert written == {"config.yaml", ".gitignore", PAIRS, CONTROL}
    quoted = f"'{name}'" if " " in name else name
    assert f"    minituner run {quoted}\n" in capsys.readouterr().out
    config = read_yaml(Path(name, "config.yaml"))
    assert Path(name, config["task"]["pairs"]).is_file()
    (control,) = config["task"]["controls"].values()
    assert Path(name, control["file"]).is_file()
    assert config["lora"]["rank"] in config["ranks"]


def test_init_writes_the_same_bytes_again() -> None:
    contents = []
    for name in ("one", "two"):
        assert main(["init", name]) == 0
        contents.append({p.name: p.read_bytes() for p in Path(name).rglob("*") if p.is_file()})
    assert contents[0] == contents[1]


@pytest.mark.parametrize("what", ["file", "full", "hidden", ""])
def test_init_overwrites_nothing(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("full").mkdir()
    Path("hidden").mkdir()
    files = [Path("file"), Path("full/notes.md"), Path("hidden/.notes")]
    for file in files:
        file.write_text("mine")
    assert main(["init", what]) == 1
    assert "init overwrites nothing" in capsys.readouterr().err
    assert sorted(p for p in Path().rglob("*") if p.is_file()) == sorted(files)
    assert all(file.read_text() == "mine" for file in files)


def test_skeleton_is_a_task_whose_wrong_forms_are_wrong() -> None:
    assert main(["init", "s"]) == 0
    pairs = [json.loads(line) for line in Path("s", PAIRS).read_text().splitlines()]
    assert len(pairs) == len(IRREGULAR) * len(FRAMES) == len({pair["prompt"] for pair in pairs})
    for pair in pairs:
        assert pair["prompt"].count("__") == 1
        assert pair["group"] in re.split(r"\W+", pair["prompt"].lower())
        # Neither may begin with the other: its end would then be scored, not its form.
        assert not pair["target"].startswith(pair["wrong"])
        assert not pair["wrong"].startswith(pair["target"])
        assert pair["wrong"] == pair["group"] + ("es" if pair["group"].endswith("x") else "s")
    texts = [json.loads(line)["text"] for line in Path("s", CONTROL).read_text().splitlines()]
    assert len(set(texts)) == len(REGULAR) * len(FRAMES)
    assert not any("__" in text for text in texts)
    assert not REGULAR.keys() & IRREGULAR.keys()


def test_gitignore_of_a_study_keeps_what_the_project_keeps() -> None:
    """Asked of git itself: what is ignored here is ignored there."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    assert main(["init", "s"]) == 0
    shutil.copytree("s", "project")
    shutil.copy(ROOT / ".gitignore", "project/.gitignore")
    run = "experiments/28-lora-ablate-rank/rank-8"
    files = (
        *("REPORT.md", "config.yaml", PAIRS, "experiments/study.json", f"{run}/metrics.json"),
        *(f"{run}/seed-0/adapter_final.pt", f"{run}/train.environment.json", BASE, ADAPTER),
        *("data/tokenized/test.jsonl", "logs/a.log", ".snakemake/minituner", TOKENIZER),
    )
    ignored = []
    for name in ("s", "project"):
        subprocess.run(["git", "init", "-q", name], check=True)
        command = ["git", "-C", name, "check-ignore", "--no-index", *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        ignored.append(done.stdout.splitlines())
    assert ignored[0] == ignored[1]
    assert set(files) - set(ignored[0]) == {*files[:5], TOKENIZER}


# --- run ----------------------------------------------------------------------------------------


def arguments_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Snakemake gets after the words that name the study."""
    executed: list[str] = []
    monkeypatch.setattr("os.execv", lambda program, argv: executed.extend([program, *argv]))
    for name in (word for word in words if word.endswith(".yaml")):
        Path(name).write_text("seeds: [0]\n")
    main(["run", *words])
    made = [sys.executable, sys.executable, "-m", "snakemake", *commands.run_arguments(words[0])]
    assert executed[: len(made)] == made
    return executed[len(made) :]


@pytest.mark.parametrize(
    "words",
    [
        *(["-c", "2"], ["-c2", "report"], ["--cores=all"], ["-j1"], ["--jobs", "3"]),
        ["--dry-run", "--workflow-profile", "slurm"],
        ["--cores", "1", "--configfile", "a b.yaml", "--", "report"],
    ],
)
def test_run_leaves_the_number_of_cores_to_the_user(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s").mkdir()
    assert arguments_of(["s", *words], monkeypatch) == words


@pytest.mark.parametrize(
    "words", [[], ["report", "-n"], ["--configfile", "c.yaml", "--", "-c"], ["--config", "a=1"]]
)
def test_run_uses_four_cores_by_default(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("s").mkdir()
    assert arguments_of(["s", *words], monkeypatch) == ["--cores", "4", *words]


def test_run_refuses_what_is_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "my-sutdy"]) == 1
    assert "my-sutdy: there is no such folder" in capsys.readouterr().err
    assert not Path("my-sutdy").exists()


@pytest.mark.parametrize("words", [["--configfile", "m.yaml"], ["-n", "--configfiles=m.yaml"]])
def test_run_refuses_a_config_file_that_cannot_be_read(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Which Snakemake answers with a traceback, or without the file's name."""
    Path("s").mkdir()
    assert main(["run", "s", *words]) == 1
    assert "m.yaml: cannot be read" in capsys.readouterr().err
    Path("m.yaml").write_text("a: [1\n")
    assert main(["run", "s", *words]) == 1
    assert "m.yaml" in capsys.readouterr().err


def test_run_without_the_rules_says_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after the installation of a wheel."""
    monkeypatch.setattr("minituner.cli.run.PROJECT", tmp_path)
    assert main(["run", "."]) == 1
    assert "pip install --editable ." in capsys.readouterr().err


# --- the defaults of the other commands -----------------------------------------------------------


def defaults_of(folder: str) -> dict[str, Any]:
    use_study(folder)
    names = ("base", "tokenizer", "adapter", "verbs")
    return with_defaults({"study": folder, **dict.fromkeys(names)})


def test_defaults_are_in_the_folder_of_the_study() -> None:
    Path("s").mkdir()
    Path("s/config.yaml").write_text("ranks: [2]\n")
    assert defaults_of("s") == {
        "study": "s",
        "base": f"s/{BASE}",
        "tokenizer": f"s/{TOKENIZER}",
        "adapter": f"s/{ADAPTER}",
        "verbs": str(ROOT / "data/raw/verbs.yaml"),
    }


def test_defaults_are_what_the_config_of_the_results_names(tmp_path: Path) -> None:
    Path("s/experiments").mkdir(parents=True)
    Path("s/config.yaml").write_text("data: { verbs: own.yaml }\n")
    base = {"checkpoint": "../base.pt", "tokenizer": str(tmp_path / "tokenizer.json")}
    Path("s/more.yaml").write_text(json.dumps({"base": base}))
    Path("s/experiments/study.json").write_text('{"config_files": ["config.yaml", "more.yaml"]}')
    found = defaults_of("s")
    assert (found["base"], found["verbs"]) == ("s/../base.pt", "s/own.yaml")
    assert found["tokenizer"] == str(tmp_path / "tokenizer.json")
    assert commands.snakemake("report") == "minituner run s --configfile s/more.yaml -- report"


def test_defaults_over_a_transformers_base() -> None:
    names = ("base", "tokenizer", "start_token", "pairs", "scoring", "verbs")
    nothing = {"study": "s", **dict.fromkeys(names)}
    Path("s").mkdir()
    Path("llama").mkdir()
    task = "task: { pairs: data/pairs.jsonl, scoring: sentence }\n"
    for checkpoint, base in (("../llama", "s/../llama"), ("org/name", "org/name")):
        Path("s/config.yaml").write_text(
            f"{task}base: {{ checkpoint: {checkpoint}, start_token: <s> }}\n"
        )
        use_study("s")
        found = with_defaults(nothing)
        assert (found["base"], found["tokenizer"], found["start_token"]) == (base, None, "<s>")
        assert (found["pairs"], found["scoring"]) == ("s/data/pairs.jsonl", "sentence")
        other = with_defaults(nothing | {"base": "llama", "verbs": "v.yaml"})
        assert (other["tokenizer"], other["start_token"], other["pairs"]) == (None, None, None)
    Path("s/config.yaml").write_text("base: { checkpoint: ../llama, tokenizer: t.json }\n")
    assert with_defaults(nothing)["tokenizer"] == "s/t.json"
    assert with_defaults(nothing | {"base": "llama"})["tokenizer"] is None


def test_a_given_file_is_not_replaced() -> None:
    Path("s").mkdir()
    given = {"study": "s", "base": "b.pt", "verbs": None, "other": None}
    assert with_defaults(given) == given | {"verbs": str(ROOT / "data/raw/verbs.yaml")}
    with pytest.raises(UserError, match="there is no such folder"):
        use_study("nowhere")


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_knows_the_folder_of_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "s"]) == 0
    capsys.readouterr()
    assert main(["inspect", "s"]) == 0
    assert capsys.readouterr().out.startswith("A study: its config, data and results.\n")
