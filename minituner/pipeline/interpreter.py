"""The Python that runs the stages, by a path that a shell reads as one word."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

WRAPPER = ".snakemake/python"


def one_word(executable: str) -> str:
    """``executable``, or a script in ``.snakemake`` that runs it if its path needs quotes.

    Snakemake does not quote the interpreter of its scripts. The script's path is relative to the
    working folder, where jobs start, because that folder's own path may contain a space too.
    """
    if shlex.quote(executable) == executable:
        return executable
    wrapper = Path(WRAPPER)
    text = f'#!/bin/sh\nexec {shlex.quote(executable)} "$@"\n'
    if not wrapper.is_file() or wrapper.read_text(encoding="utf-8") != text:
        wrapper.parent.mkdir(exist_ok=True)
        partial = wrapper.with_name(f"python.{os.getpid()}")
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o755)
        partial.replace(wrapper)
    return WRAPPER
