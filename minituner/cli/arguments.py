"""Arguments that several subcommands have."""

from __future__ import annotations

import argparse

from minituner.pipeline.paths import ADAPTER, BASE, TOKENIZER, VERBS


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add ``--base``."""
    parser.add_argument(
        "--base", default=BASE, metavar="FILE", help="the base checkpoint (default: %(default)s)"
    )


def add_tokenizer(parser: argparse.ArgumentParser) -> None:
    """Add ``--tokenizer``."""
    parser.add_argument(
        "--tokenizer",
        default=TOKENIZER,
        metavar="FILE",
        help="the base's tokenizer (default: %(default)s)",
    )


def add_adapter(parser: argparse.ArgumentParser, description: str) -> None:
    """Add ``--adapter``, with a description of its use."""
    parser.add_argument(
        "--adapter", default=ADAPTER, metavar="FILE", help=f"{description} (default: %(default)s)"
    )


def add_verbs(parser: argparse.ArgumentParser) -> None:
    """Add ``--verbs``."""
    parser.add_argument(
        "--verbs",
        default=VERBS,
        metavar="FILE",
        help="the verbs and their forms (default: %(default)s)",
    )


def positive_int(text: str) -> int:
    """The type of an argument that is at least 1.

    Raises:
        argparse.ArgumentTypeError: It is not such a number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)
