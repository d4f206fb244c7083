"""Users' machines: odd paths, no git, an unwritable home, another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from study import PROJECT, Study

# The programs that Snakemake and make start for a study; git is not one of them.
PROGRAMS = ("bash", "sh", "make", "touch", "mkdir")


def with_environment(study: Study) -> Path:
    """Give a study a .venv as `make report` makes it, with this environment's packages in it."""
    venv = study.root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    paths = (str(study.root), sysconfig.get_path("purelib"))
    (packages / "study.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")
    # As pip writes a program whose interpreter has a space in its path.
    (venv / "bin/snakemake").write_text(
        f"#!/bin/sh\n'''exec' \"{venv}/bin/python\" \"$0\" \"$@\"\n' '''\n"
        "import sys\nfrom snakemake.cli import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    (venv / "bin/snakemake").chmod(0o755)
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(PROJECT / file, study.root / file)
    for mark in (".python", ".installed"):
        (venv / mark).touch()
    return venv


def test_study_runs_with_odd_paths_without_git_or_a_home(finished: Study, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "OneDrive - Müller & Söhne (1)" / "mini tuner")
    with_environment(study)
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in PROGRAMS:
        found = shutil.which(program)
        assert found
        (programs / program).symlink_to(found)
    bare = {
        "PATH": str(programs),
        "HOME": "/proc/no-home",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["make", "report"],
        cwd=study.root,
        env=bare,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
    for file in (".venv", "Makefile", "pyproject.toml"):
        path = study.root / file
        (shutil.rmtree if path.is_dir() else os.unlink)(path)
    assert study.hashes() == finished.hashes()


def test_home_may_be_unwritable(finished: Study) -> None:
    run = study_in(finished.root, {"HOME": "/proc/no-home"}, "--dry-run", "report")
    assert run.returncode == 0, run.stdout


def study_in(
    folder: Path, environment: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_clone_has_the_bytes_of_the_manifests(tmp_path: Path) -> None:
    """Whatever git's settings for line ends, as on Windows."""
    if not (PROJECT / ".git").exists():
        pytest.skip("not a clone")
    clone = tmp_path / "clone"
    settings = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    command = ["git", *settings, "clone", "--quiet", str(PROJECT), str(clone)]
    subprocess.run(command, check=True)
    listing = subprocess.run(
        ["git", *settings, "-C", str(clone), "ls-files", "--eol"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(listing) > 100
    changed = [line for line in listing if line.split()[0][2:] != line.split()[1][2:]]
    assert changed == []
