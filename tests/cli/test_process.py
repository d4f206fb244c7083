"""How a command ends, whatever its standard streams are: each test is a process of its own."""

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


def ended(command: str, output: int = subprocess.PIPE) -> tuple[int, str | None, str]:
    """The exit code of ``command`` in a shell, what it printed, and what it said."""
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


def a_function(name: str) -> str:
    return f"$python -c '{ENDING.format(name)}'"


def test_a_mistake_is_told_and_ctrl_c_is_not() -> None:
    code, printed, said = ended(a_function("mistake"))
    assert (code, printed) == (1, "")
    assert said.startswith("minituner cannot go on.\n\nf: is wrong")
    assert ended(a_function("interrupted")) == (130, "one\n", "")
    assert ended(a_function("half_imported")) == (130, "", "")


@pytest.mark.parametrize("command", ["inspect README.md", "inspect --help", "verify"])
def test_nobody_reading_the_output_is_no_mistake(command: str) -> None:
    nobody, output = os.pipe()
    os.close(nobody)
    assert ended(f"$python -m minituner {command}", output) == (141, None, "")
    os.close(output)


def test_a_full_disk_is_named() -> None:
    code, _, said = ended("$python -m minituner inspect README.md > /dev/full")
    assert code == 1
    assert "standard output: No space left on device" in said
    assert "Traceback" not in said


def test_closed_streams_and_poor_terminals_are_borne() -> None:
    assert ended("$python -m minituner inspect README.md <&- >&- 2>&-") == (0, "", "")
    assert ended("$python -m minituner inspect none 2>&-") == (1, "", "")
    code, printed, _ = ended(f"PYTHONIOENCODING=ascii {a_function('emoji')}")
    assert (code, printed) == (0, "\\xe9 \\U0001f600\n")
