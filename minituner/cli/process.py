"""How a command ends: with an exit code and words, whatever becomes of its standard streams."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from minituner.errors import UserError


def run_command(command: Callable[[], int]) -> int:
    """Run ``command``; returns the process's exit code.

    That is the command's own, 1 after a mistake of the user's, and what a shell says of a signal
    after Ctrl-C (130), or if nobody reads the output any more (141).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character
            stream.reconfigure(errors="backslashreplace")
    with _noting_interrupts() as interrupts:
        try:
            return _run_and_flush(command)
        except BrokenPipeError:
            _discard_output()
            return 128 + signal.SIGPIPE
        except BaseException as error:
            if interrupts:  # whatever has become of it: numpy, half imported, makes an ImportError
                _discard_output()
                return 128 + signal.SIGINT
            if not isinstance(error, OSError):
                raise
            _discard_output()
            where = error.filename or "standard output"
            complain(f"minituner cannot go on.\n\n{where}: {error.strerror or error}")
            return 1


def _run_and_flush(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        complain(f"minituner cannot go on.\n\n{error}")
        return 1
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """The Ctrl-Cs so far; each raises KeyboardInterrupt, as ever."""
    interrupts: list[int] = []

    def note(number: int, _frame: object) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:  # a shell lets what runs in the background ignore it
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def complain(text: str) -> None:
    """Write to standard error, if it is open."""
    if sys.stderr is not None:  # print would take the standard output instead
        print(text, file=sys.stderr, flush=True)


def standard_input() -> BinaryIO:
    """The standard input's bytes.

    Raises:
        UserError: It is closed.
    """
    if sys.stdin is None:
        raise UserError(
            "standard input",
            "is closed",
            found="nothing to read from",
            expected="a pipe or a file",
            fix="leave out <&-, or name a file",
        )
    return sys.stdin.buffer


def writes_unicode() -> bool:
    """Whether every character can be written to standard output."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def _discard_output() -> None:
    """Let the interpreter's last flush succeed, where nobody reads what is left to write."""
    with suppress(OSError, AttributeError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())  # fails if it is closed, or is no file
