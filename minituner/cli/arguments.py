"""Arguments that several subcommands have."""

from __future__ import annotations

import argparse

from minituner.pipeline.paths import ADAPTER, BASE, STUDY_RECORD, TOKENIZER, VERBS

HERE = "."


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add ``--study``: whose files are the defaults of the arguments below."""
    parser.add_argument(
        "--study",
        default=HERE,
        metavar="FOLDER",
        help="the study whose files are used by default (default: the working folder)",
    )


def add_study_folder(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a study and ``--config``, for commands about a whole study."""
    parser.add_argument(
        "study",
        nargs="?",
        default=HERE,
        metavar="FOLDER",
        help="the study's folder (default: the working folder)",
    )
    parser.add_argument(
        "--config",
        nargs="+",
        metavar="FILE",
        help=f"the study's config files (default: those that {STUDY_RECORD} names)",
    )


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add ``--base``; ``cli.study`` fills in the default, as for the next three."""
    parser.add_argument(
        "--base",
        metavar="FILE",
        help="the base: a checkpoint, a transformers folder or a name of the hub "
        f"(default: the study's, such as {BASE})",
    )


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Add ``--tokenizer``."""
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="the base's tokenizer (default: a transformers folder's own; the study's, such as "
        f"{TOKENIZER})",
    )


def add_adapter(parser: argparse.ArgumentParser, description: str) -> None:
    """Add ``--adapter``, with a description of its use."""
    parser.add_argument(
        "--adapter", metavar="FILE", help=f"{description} (default: the study's {ADAPTER})"
    )


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbs``."""
    parser.add_argument(
        "--verbs", metavar="FILE", help=f"the verbs and their forms (default: the study's {VERBS})"
    )


def positive_int(text: str) -> int:
    """The type of an argument that is at least 1.

    Raises:
        argparse.ArgumentTypeError: It is not such a number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
