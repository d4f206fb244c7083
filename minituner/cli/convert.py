"""``convert``: sentences from a table become the rows of a corpus."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from minituner.cli.arguments import add_study, add_verbs
from minituner.cli.process import print_error
from minituner.errors import UserError

HELP = "make a corpus from your own sentences"
DESCRIPTION = """\
Write a corpus from a .csv with the columns en, es, lemma and tense (only en is
required), or from a .tsv with English and Spanish. The blank of a sentence is
put at the first past form of a known verb whose tense is unambiguous; see
docs/your-own.md."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    table: str
    corpus: str
    encoding: str | None
    study: str
    verbs: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("table", metavar="TABLE", help="the .csv or .tsv to read")
    parser.add_argument("corpus", metavar="CORPUS", help="the .jsonl to write; it must not exist")
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="the table's encoding, such as cp1252 (default: by its byte-order mark, or UTF-8)",
    )
    add_study(parser)
    add_verbs(parser)


def run(options: Options) -> int:
    """Convert the table; returns 1 if none of its sentences can be used."""
    path = _new_corpus(options.corpus)

    from minituner.convert.conversion import convert, report
    from minituner.convert.table import read_table
    from minituner.data.verbs import load_verbs
    from minituner.storage.files import write_jsonl

    verbs = load_verbs(options.verbs)
    table = read_table(options.table, verbs, options.encoding)
    conversion = convert(table.sentences, verbs, path.stem)
    if conversion.rows:
        write_jsonl(path, conversion.rows)
    print_error(report(conversion, table, path))
    return 0 if conversion.rows else 1


def _new_corpus(name: str) -> Path:
    """The path of the corpus to write.

    Raises:
        UserError: The pipeline would not read a file of that name, or it exists.
    """
    path = Path(name)
    if path.name.startswith("."):
        what, found = "would be ignored by the pipeline", "a name that begins with a dot"
    elif path.suffix.lower() != ".jsonl":
        what, found = "is not the name of a corpus", f"an ending {path.suffix!r}"
    elif "{" in name or "}" in name:
        what, found = "would be refused by the pipeline", "a brace in its name"
    elif os.path.lexists(path):
        what, found = "cannot be written", "it exists already"
    else:
        return path
    raise UserError(
        path,
        what,
        found=found,
        expected="a new file whose name ends in .jsonl, has no { or }, and no dot at its beginning",
        fix="choose another name; a corpus is never overwritten",
    )
