"""The commands that the documents tell a reader to type, in their order.

``tests/test_documented.py`` checks that the programs, options and files in them exist.
``make test-docs`` runs them with ``tests/pipeline/walk_the_docs.py``, one after the other, in the
environment that the first one makes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from project import ROOT

# In the order of the walk. The corpus and config of docs/verbs.md replace the study's, and
# docs/your-own.md goes to another folder, so they are last.
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "config.yaml",
    "Makefile",
    "docs/elbow.md",
    "docs/evaluation.md",
    "docs/reruns.md",
    "docs/cluster.md",
    "Dockerfile",
    "docs/verbs.md",
    "docs/your-own.md",
)
PROGRAMS = r"make|minituner|snakemake|python3?|source|rm|docker|pip|\S+/bin/pip|tests/\S+\.py"
COMMAND = re.compile(rf"(?:{PROGRAMS})(?: |$)")
# The first lines of blocks that are not commands.
PROSE = (
    "    Snakefile            table of contents",
    "    margin = log P(",
)

# --- commands that no test runs, and why ---------------------------------------------------------

SUITE = "the test suite: `make test` runs it, and this test with it"
CLUSTER = "needs a host that submits to Slurm; `make test-slurm` starts one"
NOT_RUN = {
    "make test": SUITE,
    "python -m pytest --ignore tests/pipeline": SUITE,
    "python -m pytest tests/pipeline": SUITE,
    "make coverage": SUITE,
    "tests/pipeline/kill_at_random.py --kills 20": "takes a quarter of an hour of kills",
    "make test-docs": "runs the others",
    "make test-slurm": "needs root, and installs Debian packages",
    "make lock": "depends on the contents of the package index",
    "python3 -m venv .venv-slurm": CLUSTER,
    ".venv-slurm/bin/pip install --constraint envs/requirements.lock "
    "--editable '.[slurm]'": CLUSTER,
    "source .venv-slurm/bin/activate": CLUSTER,
    "snakemake --workflow-profile profiles/slurm report": CLUSTER,
    "snakemake --workflow-profile profiles/slurm report --default-resources mem_mb=1000 runtime=10 "
    "slurm_account=name slurm_partition=name": CLUSTER,
    "python -m minituner compare my-study another-study --out comparison": "needs two studies that "
    "have run; tests/cli/test_compare.py runs it",
    "docker build --tag minituner .": "needs docker, and images from a registry",
    "docker run --name study minituner && docker cp study:/minituner/REPORT.md .": "needs docker",
    "docker run --rm minituner make test": "needs docker",
}
# Placeholders for a name of the reader's, and what the tests put there.
PLACEHOLDERS = {
    "FILE": "data/processed/verb-corpus/irregular.jsonl",
    "<name>": "scaling",
    "clone/Snakefile": "../minituner/Snakefile",
}


@dataclass(frozen=True)
class Command:
    """One command as it is in a document, and its place."""

    document: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """The place, as an editor opens it."""
        return f"{self.document}:{self.line}"

    @property
    def to_type(self) -> str:
        """The command with a value in place of each placeholder."""
        words = (PLACEHOLDERS.get(word, word) for word in self.text.split(" "))
        return " ".join(words).replace("<name>", PLACEHOLDERS["<name>"])


def commands_of(document: str) -> list[Command]:
    """The commands in a document: in indented blocks, in ``sh`` blocks, and between backticks."""
    lines = (ROOT / document).read_text(encoding="utf-8").split("\n")
    if not document.endswith(".md"):  # the comments are Markdown
        lines = [re.sub(r"^# ?", "", line) if line.startswith("#") else "" for line in lines]
    return [
        Command(document, number, text)
        for kind, first, part in _parts(lines)
        for number, text in (_spans(first, part) if kind == "prose" else _typed(first, part))
        if kind in ("prose", "sh") and not part[0].startswith(PROSE)
    ]


def _parts(lines: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Paragraphs and blocks: the kind (``prose``, or a block's language), first line, lines."""
    part: list[str] = []
    fence = None
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("```"):
            if fence is not None and part:
                yield fence or "sh", number - len(part), part
            fence, part = (line[3:].strip() if fence is None else None), []
        elif fence is not None or line.strip():
            part.append(line)
        elif part:
            block = part[0].startswith("    ")
            yield "sh" if block else "prose", number - len(part), part
            part = []


def _spans(first: int, part: list[str]) -> Iterator[tuple[int, str]]:
    """The commands between backticks, which may span several lines."""
    text = "\n".join(part)
    for span in re.finditer(r"`([^`]+)`", text):
        command = " ".join(span[1].split())
        if COMMAND.match(command) and " " in command:
            yield first + text.count("\n", 0, span.start()), command


def _typed(first: int, part: list[str]) -> Iterator[tuple[int, str]]:
    """Each command of a block, joined to one line, without its comment."""
    pending = ""
    for number, line in enumerate(part, start=first):
        whole = pending + re.sub(r"(^|\s{2,})#.*", "", line).strip()
        pending = whole.removesuffix("\\") if whole.endswith("\\") else ""
        if whole and not pending:
            yield number, whole
