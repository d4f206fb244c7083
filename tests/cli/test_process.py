"""How a command ends, in any state of its standard streams; each test runs a process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from project import ROOT

ENDING = """
import os, signal, sys
from minituner.errors import UserError
from minituner.cli.process import run_command

def mistake(): raise UserError("f", "is wrong", found="a", expected="b", fix="do c")
def interrupted(): print("one"); os.kill(os.getpid(), signal.SIGINT); return 0
def half_imported():
    try: os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt: raise ImportError
def emoji(): print("é 😀"); return 0

sys.exit(run_command({}))
"""


def run_in_shell(command: str, output: int = subprocess.PIPE) -> tuple[int, str | None, str]:
    """The exit code of ``command`` in a shell, its standard output and its standard error."""
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PYTHONPATH": str(ROOT), "python": sys.executable},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
    )
    return done.returncode, done.stdout, done.stderr


def call(name: str) -> str:
    return f"$python -c '{ENDING.format(name)}'"


def test_run_command_reports_a_user_error_but_not_ctrl_c() -> None:
    code, output, errors = run_in_shell(call("mistake"))
    assert (code, output) == (1, "")
    assert errors.startswith("minituner: error\n\nf: is wrong")
    assert run_in_shell(call("interrupted")) == (130, "one\n", "")
    assert run_in_shell(call("half_imported")) == (130, "", "")


@pytest.mark.parametrize("command", ["inspect README.md", "inspect --help", "verify"])
def test_a_closed_pipe_is_not_an_error(command: str) -> None:
    reader, output = os.pipe()
    os.close(reader)
    assert run_in_shell(f"$python -m minituner {command}", output) == (141, None, "")
    os.close(output)


def test_a_full_disk_is_reported() -> None:
    code, _, errors = run_in_shell("$python -m minituner inspect README.md > /dev/full")
    assert code == 1
    assert "standard output: No space left on device" in errors
    assert "Traceback" not in errors


def test_closed_streams_and_ascii_terminals() -> None:
    assert run_in_shell("$python -m minituner inspect README.md <&- >&- 2>&-") == (0, "", "")
    assert run_in_shell("$python -m minituner inspect none 2>&-") == (1, "", "")
    code, output, _ = run_in_shell(f"PYTHONIOENCODING=ascii {call('emoji')}")
    assert (code, output) == (0, "\\xe9 \\U0001f600\n")
