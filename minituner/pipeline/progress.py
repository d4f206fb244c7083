"""Progress of a long loop: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 5.0


def progress_bar(total_steps: int, title: str | None, initial: int = 0) -> tqdm[Any]:
    """A bar with steps, rate and remaining time; nothing is shown without a title."""
    on_terminal = sys.stderr.isatty()
    return tqdm(
        total=total_steps,
        initial=initial,
        desc=title,
        unit="step",
        disable=title is None,
        mininterval=0.2 if on_terminal else SECONDS_BETWEEN_LINES,
        maxinterval=10.0,
        file=sys.stderr if on_terminal else _Lines(),
        dynamic_ncols=on_terminal,
        ncols=None if on_terminal else 100,
    )


class _Lines:
    """Standard error with one line per update instead of a carriage return."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n")
        if text.strip():
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
