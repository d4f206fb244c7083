"""The parts of a Markdown text."""

from __future__ import annotations

import re


def tables_of(text: str) -> list[list[str]]:
    """The lines of each table."""
    return [table.splitlines() for table in re.findall(r"((?:^\|.*\n)+)", text, re.MULTILINE)]


def cells(line: str) -> int:
    r"""The number of cells of a table's row; a bar inside a cell is written ``\|``."""
    assert line.startswith("|") and line.endswith("|"), line
    return len(re.split(r"(?<!\\)\|", line)) - 2


def prose_of(text: str) -> str:
    """The text without its tables and code blocks, on one line."""
    lines = [line for line in text.partition("```")[0].splitlines() if not line.startswith("|")]
    return " ".join(" ".join(lines).split())


def links_of(text: str) -> list[str]:
    """The targets of its links and images within the project."""
    return [link for link in re.findall(r"\]\(([^)\s]+)", text) if "://" not in link]


def anchors_of(text: str) -> set[str]:
    """The names that a link may have after its ``#``: headings as GitHub names them, and ids."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))
