"""Where the project is, and its package in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_program(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a Python program in ``folder``, in a new process that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
