"""The program's subcommands, and what happens between typing one and running it.

The modules of the subcommands import only what is light; everything that needs a model or a corpus
is imported when the subcommand runs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from minituner import __version__
from minituner.cli import (
    compare,
    convert,
    export,
    generate,
    import_adapter,
    init,
    inspect,
    plan,
    predict,
    run,
    verify,
)
from minituner.cli.arguments import HERE
from minituner.cli.process import run_command
from minituner.cli.study import use_study, with_defaults


class Command(Protocol):
    """The module of a subcommand."""

    @property
    def HELP(self) -> str:
        """One line for the list of subcommands."""

    @property
    def DESCRIPTION(self) -> str:
        """What the subcommand does, for its own ``--help``."""

    @property
    def add_arguments(self) -> Callable[[argparse.ArgumentParser], None]:
        """Add the subcommand's arguments; their names are the fields of ``Options``."""

    @property
    def Options(self) -> Callable[..., Any]:
        """A dataclass of the parsed arguments."""

    @property
    def run(self) -> Callable[[Any], int]:
        """Run the subcommand with its ``Options``; returns the exit code."""


COMMANDS: Mapping[str, Command] = {
    "init": init,
    "run": run,
    "predict": predict,
    "inspect": inspect,
    "convert": convert,
    "generate": generate,
    "plan": plan,
    "verify": verify,
    "compare": compare,
    "export": export,
    "import": import_adapter,
}
# An argument such as "-he __ home.": a line of a dialog, with a blank in it.
DIALOG_LINE = re.compile("-[^-].*[_\uff3f]{2}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code of the process.

    Args:
        arguments: The words after the program's name; those of this process if None.

    Raises:
        SystemExit: After ``--help``, and if no subcommand takes the arguments.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    # Without the space, argparse would read a line of a dialog as options.
    words = [f" {word}" if DIALOG_LINE.match(word) else word for word in words]
    arguments = vars(_parser().parse_args(words))
    command = COMMANDS[arguments.pop("command")]
    # Printed commands must name the config files of the study whose results are in this folder.
    use_study(arguments.get("study", HERE))
    return command.run(command.Options(**with_defaults(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_program(), description="What does a LoRA adapter of rank r buy?"
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(
            subparsers.add_parser(
                name,
                help=command.HELP,
                description=command.DESCRIPTION,
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
        )
    return parser


def _program() -> str:
    """The program as it was typed."""
    name = Path(sys.argv[0]).stem
    return name if name == "minituner" else "python -m minituner"
