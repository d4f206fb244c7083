"""``predict``: the base and the tuned model fill in a blank."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

from minituner.cli.arguments import (
    add_adapter,
    add_base,
    add_study,
    add_tokenizer,
    add_verbs,
    positive_int,
)
from minituner.cli.process import can_print_unicode, print_error, standard_input
from minituner.data.prompts import Scoring
from minituner.errors import UserError, number_of
from minituner.storage.text import iter_lines, unreadable

if TYPE_CHECKING:
    from minituner.data.known_forms import KnownForms

HELP = "let the base and the tuned model fill in a blank"
DESCRIPTION = """\
Print the likeliest answers of the base and of the tuned model to sentences with
a blank: two or more underscores. Each answer has the probability of its form, the
text that follows it, and a mark if the study knows the form as right or wrong: a
past form of a verb or, in a study with pairs of its own, a target or a wrong form.

In such a study a sentence may also have no blank; the models then continue it.
If its task is scored by sentences, a blank is filled by comparing: the models
choose among the forms of the pairs with this prompt, or of all pairs if there is
none, and the probability is the share of the whole sentence with that form.

Errors in a sentence go to standard error, the other sentences are still answered,
and the exit code is then 1. The base may be the folder of a transformers model;
its own tokenizer is then the default."""
EXAMPLES = """\
examples:  %(prog)s "He __ to school yesterday."
           %(prog)s --file sentences.txt --json
           cat sentences.txt | %(prog)s"""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    prompts: list[str]
    file: str | None
    top: int
    json: bool
    study: str
    base: str
    tokenizer: str | None  # None is the base's own
    start_token: str | None
    adapter: str
    verbs: str
    pairs: str | None
    scoring: Scoring | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("prompts", nargs="*", metavar="SENTENCE", help="a sentence with __ in it")
    parser.add_argument(
        "--file", metavar="FILE", help="a file with one sentence per line; - for standard input"
    )
    parser.add_argument(
        "--top",
        type=positive_int,
        default=3,
        metavar="N",
        help="answers per model, at most 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per sentence, on one line"
    )
    add_study(parser)
    add_base(parser)
    add_tokenizer(parser)
    parser.add_argument(
        "--start-token",
        metavar="TOKEN",
        help="the token before every text (default: base.start_token of the study)",
    )
    add_adapter(parser, "the adapter of the tuned model")
    add_verbs(parser)
    parser.add_argument(
        "--pairs", metavar="FILE", help="instead of verbs: minimal pairs (default: the study's)"
    )
    parser.add_argument(
        "--scoring",
        choices=get_args(Scoring),
        help="with pairs: how they are scored (default: as in the study)",
    )


def run(options: Options) -> int:
    """Answer every sentence; returns 1 if one of them cannot be answered."""
    # First, because what follows takes seconds.
    return _print_answers(_sentences(options), _answerer(options))


def _answerer(options: Options) -> Callable[[bytes, str], str]:
    """A function from a line and its place to the text to print, empty for an empty line."""
    from copy import deepcopy

    from minituner.base_files import base_files, load_base_tokenizer
    from minituner.bases import load_base_model
    from minituner.predict import BEAM, as_table, predict, typed_prompt
    from minituner.storage.adapter import load_adapter

    forms = _known_forms(options)
    if options.top > BEAM:
        raise UserError(
            "predict: --top",
            "is more than the search finds",
            found=options.top,
            expected=f"a number from 1 to {BEAM}",
            fix=f"e.g. --top {BEAM}",
        )
    files = base_files(options.base, options.tokenizer)
    base = load_base_model(files.base, files.tokenizer)
    tokenizer = load_base_tokenizer(
        files.base, files.tokenizer, base.vocab_size, options.start_token
    )
    models = {"base": base, "tuned": load_adapter(options.adapter, deepcopy(base))}

    def answer(line: bytes, place: str) -> str:
        prompt = typed_prompt(line, place, needs_blank=not forms.is_task)
        if not prompt:
            return ""
        prediction = predict(models, tokenizer, prompt, forms, options.top, place)
        if options.json:
            return json.dumps(prediction, ensure_ascii=not can_print_unicode())
        return as_table(prediction, forms)

    return answer


def _known_forms(options: Options) -> KnownForms:
    """The forms of the pairs, or of the verbs where there are no pairs."""
    from minituner.data.known_forms import forms_of_pairs, forms_of_verbs
    from minituner.data.task_file import read_task, task_files
    from minituner.data.verbs import load_verbs

    if options.pairs is None:
        return forms_of_verbs(load_verbs(options.verbs))
    return forms_of_pairs(read_task(task_files(options.pairs)).pairs, options.scoring or "fill_in")


def _print_answers(
    sentences: Iterable[tuple[str, bytes]], answer: Callable[[bytes, str], str]
) -> int:
    """Print each answer as soon as its line has been read, and the errors in the other lines."""
    answered = refused = 0
    for place, line in sentences:
        try:
            text = answer(line, place)
        except UserError as error:
            print_error(f"{error}\n")
            refused += 1
            continue
        if text:
            print(text, flush=True)
            answered += 1
    if not answered + refused:
        raise _no_sentence("no line, or only empty ones")
    if refused:
        print_error(f"{refused:,} of {number_of(answered + refused, 'sentence')} not answered")
    return 1 if refused else 0


def _sentences(options: Options) -> Iterator[tuple[str, bytes]]:
    """The lines to answer, each with its place, such as ``sentences.txt:3``.

    Raises:
        UserError: There are both sentences and a file, or neither and no pipe.
    """
    if options.prompts and options.file is not None:
        raise UserError(
            "predict",
            "was given both sentences and a file",
            found=f"{number_of(len(options.prompts), 'sentence')} and --file {options.file}",
            expected="sentences, --file FILE, or a pipe",
            fix="leave out one of the two",
        )
    if options.prompts:
        # Python decodes the bytes of an argument that are not UTF-8 to surrogates.
        lines = (prompt.encode("utf-8", "surrogateescape") for prompt in options.prompts)
        return ((f"sentence:{number}", line) for number, line in enumerate(lines, start=1))
    if options.file not in (None, "-"):
        try:
            return _numbered_lines(Path(options.file).open("rb"), options.file)
        except OSError as error:
            raise unreadable(options.file, error) from error
    stream = standard_input()
    if options.file is None and stream.isatty():
        raise _no_sentence("nothing")
    return _numbered_lines(stream, "standard input")


def _numbered_lines(stream: BinaryIO, source: str) -> Iterator[tuple[str, bytes]]:
    try:
        with stream:
            for number, line in enumerate(iter_lines(stream, source), start=1):
                yield f"{source}:{number}", line
    except OSError as error:
        raise unreadable(source, error) from error


def _no_sentence(found: str) -> UserError:
    return UserError(
        "predict",
        "was given no sentence",
        found=found,
        expected="a sentence, --file FILE, or a pipe",
        fix='e.g. python -m minituner predict "He __ to school yesterday."',
    )
