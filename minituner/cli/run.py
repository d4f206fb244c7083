"""``run``: a study, in its own folder."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from dataclasses import dataclass

from minituner.commands import CORES, run_arguments
from minituner.errors import UserError
from minituner.pipeline.project import PROJECT

HELP = "run a study in its folder"
DESCRIPTION = """\
Run Snakemake with the project's Snakefile and profile in a study's folder, where
everything is read and written. Targets are rules, or files relative to that
folder; any option of Snakemake may follow. Without targets the report is made,
and without --cores on 4 cores."""
EXAMPLES = """\
examples:  %(prog)s my-study
           %(prog)s my-study --dry-run ablations
           %(prog)s my-study --configfile more.yaml -- report gates"""
# Options of Snakemake that say how many jobs may run, or name another profile, which may say it.
CORES_OPTIONS = ("--cores", "-c", "--jobs", "-j", "--profile", "--workflow-profile")

CONFIG_OPTIONS = ("--configfile", "--configfiles")


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    study: str
    arguments: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("study", metavar="FOLDER", help="the study's folder")
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="targets and options of Snakemake (default: report)",
    )


def run(options: Options) -> int:
    """Become Snakemake, which then has the terminal, Ctrl-C and the exit code.

    Raises:
        UserError: The package is installed without its rules, or a config file cannot be read.
    """
    from minituner.pipeline.config import read_config

    if not (PROJECT / "Snakefile").is_file():
        raise UserError(
            PROJECT / "Snakefile",
            "there is no such file",
            found="a package without the rules of the pipeline",
            expected="the package installed from a clone of the repository, as a link to it",
            fix="in a clone: pip install --editable .",
        )
    if files := _config_files(options.arguments):
        read_config(files)  # Snakemake's own message for a missing file is a traceback
    words = [*run_arguments(options.study), *_cores(options.arguments), *options.arguments]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *words])


def _cores(arguments: list[str]) -> list[str]:
    """The default number of cores, unless the arguments say how many jobs may run."""
    until = arguments.index("--") if "--" in arguments else len(arguments)
    given = any(word.split("=")[0] in CORES_OPTIONS or _short(word) for word in arguments[:until])
    return [] if given else shlex.split(CORES)


def _config_files(arguments: list[str]) -> list[str]:
    """The config files among the arguments, relative to the working folder."""
    files: list[str] = []
    reading = False
    for word in arguments:
        option, _, value = word.partition("=")
        if word.startswith("-"):
            reading = option in CONFIG_OPTIONS
            files += [value] if reading and value else []
        elif reading:
            files.append(word)
    return files


def _short(word: str) -> bool:
    """Whether a word is such as ``-c4``."""
    return word[:2] in CORES_OPTIONS and word[2:].isdigit()
