"""A tiny study in a folder of its own, run through the real command line."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from minituner.pipeline.config import read_config

PROJECT = Path(__file__).parent.parent.parent
PARTS = ("Snakefile", "rules", "workflow_scripts", "minituner", "profiles", "envs", "data")
# Different from run to run, by design.
UNCOMPARED = re.compile(
    r"(^|/)(\.snakemake|logs|__pycache__)/|environment\.json$|cost\.md$|^config\.yaml$"
)


@dataclass
class Run:
    """What one call of Snakemake did."""

    code: int
    output: str

    @property
    def rules(self) -> set[str]:
        """The rules whose jobs ran (or would, in a dry run), without the target itself."""
        targets = r"report|ablations|ablate_\w+"
        return {rule for rule in self.jobs if not re.fullmatch(targets, rule)}

    @property
    def jobs(self) -> list[str]:
        """The rule of each job, the target's included."""
        return re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", self.output, re.MULTILINE)


class Study:
    """A copy of the project with the tiny config."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> Study:
        """Copy the project's sources without results, and write the tiny config."""
        root.mkdir(parents=True)
        for part in PARTS:
            source = PROJECT / part
            if source.is_dir():
                ignore = shutil.ignore_patterns(
                    "__pycache__", "filtered", "splits", "tokenized", "*.egg-info"
                )
                shutil.copytree(source, root / part, ignore=ignore)
            else:
                shutil.copy2(source, root / part)
        study = cls(root)
        study.write_config(
            read_config([PROJECT / "config.yaml", Path(__file__).with_name("tiny.yaml")])
        )
        return study

    def copy(self, root: Path) -> Study:
        """The whole tree, with time stamps and Snakemake's metadata."""
        shutil.copytree(self.root, root, symlinks=True)
        return Study(root)

    def snakemake(self, *arguments: str) -> Run:
        """Run Snakemake here, as a user would."""
        return self.run("-m", "snakemake", *arguments)

    def run(self, *arguments: str) -> Run:
        """Run Python here, with standard output and error combined."""
        return self._run([sys.executable, *arguments])

    def shell(self, command: str) -> Run:
        """Run a shell command here, with this environment's programs."""
        return self._run(["bash", "-c", command])

    def _run(self, command: list[str]) -> Run:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def wait_for(self, file: str) -> None:
        """Wait until a running process has written ``file``."""
        until = time.monotonic() + 300
        while not (self.root / file).exists():
            assert time.monotonic() < until, f"{file} was never written"
            time.sleep(0.05)

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, with this copy of the package before any other."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def config(self) -> dict[str, Any]:
        """The config as it is on disk."""
        return read_config([self.root / "config.yaml"])

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace the config."""
        (self.root / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace the first ``old`` in a file by ``new``."""
        path = self.root / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def hashes(self) -> dict[str, str]:
        """The sha256 of every file that must be the same in equal runs."""
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
            for name in [path.relative_to(self.root).as_posix()]
            if not UNCOMPARED.search(name)
        }
