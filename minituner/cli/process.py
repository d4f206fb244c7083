"""How a command ends: with an exit code and a message, in any state of its standard streams."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

from minituner.errors import UserError, report_of


def run_command(command: Callable[[], int]) -> int:
    """Run ``command`` and return the exit code of the process.

    It is the command's own, 1 after a user's mistake, and what a shell reports for a signal after
    Ctrl-C (130) or when nothing reads the output (141).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    with _noting_interrupts() as interrupts:
        try:
            return _run_and_flush(command)
        except BrokenPipeError:
            _discard_output()
            return 128 + signal.SIGPIPE
        except BaseException as error:
            # Not only KeyboardInterrupt: interrupting the import of numpy raises an ImportError.
            if interrupts:
                _discard_output()
                return 128 + signal.SIGINT
            if not isinstance(error, OSError):
                raise
            _discard_output()
            where = error.filename or "standard output"
            print_error(report_of(f"{where}: {error.strerror or error}"))
            return 1


def _run_and_flush(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        print_error(report_of(error))
        return 1
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Collect every Ctrl-C in the block; each one still raises KeyboardInterrupt."""
    interrupts: list[int] = []

    def note(number: int, _frame: object) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    # A shell lets background jobs ignore SIGINT; leave that as it is.
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if default:
        signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        if default:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def print_error(text: str) -> None:
    """Write a line to standard error, if it is open."""
    if sys.stderr is not None:  # with file=None, print would write to standard output
        print(text, file=sys.stderr, flush=True)


def print_warnings(warnings: Iterable[str]) -> None:
    """Write each warning to standard error, next to the command's output."""
    for warning in warnings:
        print_error(f"warning: {warning}")


def standard_input() -> BinaryIO:
    """The bytes of standard input.

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


def can_print_unicode() -> bool:
    """Whether standard output can print every character."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")


def _discard_output() -> None:
    """Send unwritten output to the null device, so that the interpreter's final flush succeeds."""
    with suppress(OSError, AttributeError), Path(os.devnull).open("wb") as null_device:
        os.dup2(null_device.fileno(), sys.stdout.fileno())  # fails if closed or not a file
