"""Run every command of the documents in order, as a reader would: in a fresh clone, in the
environment that the earlier commands have made. The study is tiny, otherwise it would take hours.

python tests/pipeline/walk_the_docs.py --keep /tmp/walked
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from test_own_verbs import write_own
from test_your_own import AT_HAND as OF_OWN_STUDY

from minituner.pipeline.config import read_config

sys.path.insert(0, str(Path(__file__).parent.parent))

from documented import DOCUMENTS, NOT_RUN, ROOT, Command, commands_of

RUNS_PER_ARM = 3
# The files that a command's reader already has.
AT_HAND: dict[str, Callable[[Path], object]] = {
    "python -m minituner convert my-sentences.csv my-corpus.jsonl": lambda root: (
        root / "my-sentences.csv"
    ).write_text("en,es\nHe went home yesterday.,\n", encoding="utf-8"),
    "python -m minituner convert own/sentences.csv own/corpus/own.jsonl "
    "--verbs own/verbs.yaml": write_own,
    **OF_OWN_STUDY,
}
# Commands whose exit code may be about the study and not the command, and what they then name.
CAN_FAIL = {
    # Committed from the whole study's config, and not rerun before CONTRIBUTING.md is reached.
    ("README.md", "make verify"): "experiments/28-lora-simulation",
    # The tiny Llama of the page learns nothing.
    ("docs/your-own.md", "minituner run my-study gates"): "accuracy_gain_pp",
}
# A stand-in for Graphviz's dot where that is not installed: it takes a graph and prints a picture.
DOT = """#!/bin/sh
grep '^digraph' > /dev/null && echo '<svg xmlns="http://www.w3.org/2000/svg"/>'
"""


def clone(folder: Path) -> Path:
    """The committed files, with a config that makes the study tiny and lets its gates pass."""
    root = folder / "minituner"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    config = read_config([root / "config.yaml", root / "tests/pipeline/tiny.yaml"])
    config["simulation"]["studies"] = 3
    config["gates"] |= {"accuracy_gain_pp": -100, "control_ppl_drift": 1000}
    for arm in config["ablations"].values():
        arm["runs"] = dict(list(arm["runs"].items())[:RUNS_PER_ARM])
    (root / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return root


def fresh_environment(folder: Path) -> dict[str, str]:
    """The caller's environment variables, without the Python environment that this runs in."""
    own = Path(sys.prefix) / "bin"
    path = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own]
    if shutil.which("dot") is None:
        print("Graphviz is not installed: using a stand-in for dot.")
        (folder / "bin").mkdir()
        (folder / "bin/dot").write_text(DOT, encoding="utf-8")
        (folder / "bin/dot").chmod(0o755)
        path.append(str(folder / "bin"))
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"PATH": os.pathsep.join(path)}


class Walk:
    """A reader at a shell: what was sourced stays sourced, and they stay where they are."""

    def __init__(self, folder: Path) -> None:
        self.root = clone(folder)
        self.environment = fresh_environment(folder)
        self.lasting: list[str] = []

    def type(self, command: Command) -> bool:
        """Run one command and print how it went; returns whether it succeeded."""
        AT_HAND.get(command.text, lambda _: None)(self.root)
        line = "; ".join([*self.lasting, command.to_type])
        if command.text.startswith(("source ", "cd ")):
            self.lasting.append(command.text)
        start = time.monotonic()
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", line],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        named = CAN_FAIL.get((command.document, command.text))
        expected = named is not None and named in done.stdout and "Traceback" not in done.stdout
        verdict = "ok" if done.returncode == 0 else f"exit code {done.returncode}"
        print(f"{time.monotonic() - start:5.0f} s  {verdict:12}  {command.place}: {command.text}")
        if done.returncode:
            print(f"         it names {named}, as it should" if expected else done.stdout[-3000:])
        sys.stdout.flush()
        return expected or done.returncode == 0


def main() -> int:
    """Run the commands of all documents; returns 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the clone there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walk-the-docs-") as temporary:
        if options.keep:
            options.keep.mkdir(parents=True)
        walk = Walk(options.keep or Path(temporary))
        failed = []
        for command in [command for document in DOCUMENTS for command in commands_of(document)]:
            if command.text in NOT_RUN:
                print(f"         not run       {command.place}: {command.text}")
            elif not walk.type(command):
                failed.append(command)
        print("\n".join(["", *(f"FAILED  {command.place}: {command.text}" for command in failed)]))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
