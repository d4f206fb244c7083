"""``convert``: a user's sentences become a corpus, a task or a control set."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from minituner.cli.arguments import add_study, add_verbs
from minituner.cli.process import print_error
from minituner.errors import UserError, number_of

if TYPE_CHECKING:
    from minituner.convert.task_files import Target

HELP = "make a corpus, a task or a control set from your own sentences"
DESCRIPTION = """\
Convert files to one .jsonl of the pipeline, recognized by what they hold:

  a .csv or .tsv with prompt, target and wrong   minimal pairs, for task.pairs
  a .jsonl with sentence_good and sentence_bad   the same; BLiMP's files
  a .txt with one text per line                  texts, for task.controls
  a .csv or .tsv with en (and es, lemma, tense)  a corpus of verb forms, for data.corpus

--to texts makes a control set of the good sentences of BLiMP's files. Several
wrong forms are separated by |, or are in columns wrong_2, wrong_3; group, form,
split and after are optional. In a corpus, the blank of a sentence is put at the
first past form of a known verb whose tense is unambiguous. See
docs/your-own.md, and docs/verbs.md about a corpus."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    files: list[str]
    output: str
    to: Target | None
    encoding: str | None
    study: str
    verbs: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to read; often one file")
    parser.add_argument("output", metavar="OUT", help="the .jsonl to write; it must not exist")
    parser.add_argument(
        "--to", choices=("corpus", "pairs", "texts"), help="what to make (default: see above)"
    )
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="the files' encoding, such as cp1252 (default: by its byte-order mark, or UTF-8)",
    )
    add_study(parser)
    add_verbs(parser)


def run(options: Options) -> int:
    """Convert the files; returns 1 if nothing in them can be used."""
    path = _new_file(options.output)

    from minituner.convert.task_files import read_task_rows, target_of

    target = options.to or target_of(options.files[0], options.encoding)
    if target == "corpus":
        return _write_corpus(options, path)

    from minituner.storage.files import write_jsonl

    found = read_task_rows(options.files, target, options.encoding)
    if found.rows:
        write_jsonl(path, found.numbered(path.stem))
    print_error(found.report(path))
    return 0 if found.rows else 1


def _write_corpus(options: Options, path: Path) -> int:
    """Convert a table of sentences to a verb corpus; returns 1 if none of them can be used.

    Raises:
        UserError: There is more than one table.
    """
    from minituner.convert.conversion import convert, report
    from minituner.convert.table import read_table
    from minituner.data.verbs import load_verbs
    from minituner.storage.files import write_jsonl

    if len(options.files) > 1:
        raise UserError(
            options.files[1],
            "is a second table for one corpus",
            found=number_of(len(options.files), "table"),
            expected="one",
            fix="convert each to a file of its own; a corpus is a folder of them",
        )
    verbs = load_verbs(options.verbs)
    table = read_table(options.files[0], verbs, options.encoding)
    conversion = convert(table.sentences, verbs, path.stem)
    if conversion.rows:
        write_jsonl(path, conversion.rows)
    print_error(report(conversion, table, path))
    return 0 if conversion.rows else 1


def _new_file(name: str) -> Path:
    """The path of the file to write.

    Raises:
        UserError: The pipeline would not read a file of that name, or it exists.
    """
    path = Path(name)
    if path.name.startswith("."):
        what, found = "would be ignored by the pipeline", "a name that begins with a dot"
    elif path.suffix.lower() != ".jsonl":
        what, found = "is not the name of a corpus or task", f"an ending {path.suffix!r}"
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
        fix="choose another name; a file is never overwritten",
    )
