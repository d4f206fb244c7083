"""The command line: ``python -m minituner``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from minituner import __version__, commands
from minituner.cli.process import complain, run_command, standard_input, writes_unicode
from minituner.errors import UserError, number_of
from minituner.pipeline.ownership import owner
from minituner.storage.text import iter_lines, unreadable

PRETRAINED = "experiments/17-minigpt-train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Raises:
        SystemExit: After ``--help``, and if the arguments are not those of a command.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: _run(given))


def _run(arguments: Sequence[str]) -> int:
    # A line of a dialog begins with a dash: without the space, "-he __ home." is asking for help.
    apart = [f" {text}" if re.match("-[^-].*[_\uff3f]{2}", text) else text for text in arguments]
    options = _parser().parse_args(apart)
    # Commands that are printed are those of the study whose results lie here.
    commands.use_config_files(owner() or ())
    return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m minituner", description="What does a LoRA adapter of rank r buy?"
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add_command in (
        _add_predict,
        _add_inspect,
        _add_convert,
        _add_verify,
        _add_export,
        _add_import,
    ):
        add_command(subparsers)
    return parser


def _add_predict(subparsers: Any) -> None:
    predict = subparsers.add_parser(
        "predict",
        help="let the base and the tuned model fill in a blank",
        description=textwrap.fill(
            "Print the likeliest answers of the base and of the tuned model to sentences with a "
            "blank, with the probability of the English, the Spanish that follows it, and whether "
            "it is a right or a wrong past form of a known verb. Two underscores or more are a "
            "blank. A sentence that cannot be answered is named on standard error, the others are "
            "answered, and the exit code is 1."
        ),
        epilog='examples:  python -m minituner predict "He __ to school yesterday."\n'
        "           python -m minituner predict --file sentences.txt --json\n"
        "           cat sentences.txt | python -m minituner predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("prompts", nargs="*", metavar="SENTENCE", help="with __ for the blank")
    predict.add_argument("--file", metavar="FILE", help="sentences, one per line; - reads a pipe")
    predict.add_argument(
        "--top",
        type=_from_one,
        default=3,
        metavar="N",
        help="answers per model, 16 at most (%(default)s)",
    )
    predict.add_argument("--json", action="store_true", help="one JSON object per line")
    _add_base(predict)
    _add_tokenizer(predict)
    _add_adapter(predict, "the adapter of the tuned model (%(default)s)")
    _add_verbs(predict)
    predict.set_defaults(run=_predict)


def _add_inspect(subparsers: Any) -> None:
    inspect = subparsers.add_parser(
        "inspect",
        help="say what a file or folder of the study is",
        description="Say in a few lines what a file of the study, or a folder of them, holds: "
        "weights, an export, a tokenizer, a manifest, a corpus, results. Nothing is executed.",
    )
    inspect.add_argument("file", metavar="FILE")
    inspect.set_defaults(run=_inspect)


def _add_convert(subparsers: Any) -> None:
    convert = subparsers.add_parser(
        "convert",
        help="make a corpus of sentences of your own",
        description="Write corpus rows from a .csv with the columns en, es, lemma and tense (all "
        "but en may be left out), or from a .tsv (English, Spanish). Each sentence gets its blank "
        "at the first past form of a known verb whose tense is settled; docs/your-own.md has the "
        "rule.",
    )
    convert.add_argument("table", metavar="TABLE")
    convert.add_argument("corpus", metavar="CORPUS", help="the .jsonl to write; it must not exist")
    convert.add_argument(
        "--encoding",
        metavar="NAME",
        help="the table's encoding, such as cp1252 (UTF-8, or what a byte-order mark says)",
    )
    _add_verbs(convert)
    convert.set_defaults(run=_convert)


def _add_verify(subparsers: Any) -> None:
    verify = subparsers.add_parser(
        "verify",
        help="check every result against its manifest",
        description="Recompute every hash in every manifest, from the corpus to the report, and "
        "say what is current, stale, edited, missing or made by other versions. The exit code is 0 "
        "only if all is current.",
    )
    verify.add_argument(
        "--config",
        nargs="+",
        metavar="FILE",
        help="the config files, if not those that experiments/study.json names",
    )
    verify.set_defaults(run=_verify)


def _add_export(subparsers: Any) -> None:
    export = subparsers.add_parser(
        "export",
        help="write a base for transformers, or an adapter for PEFT",
        description="Write a folder that AutoModelForCausalLM.from_pretrained reads (--to "
        "transformers: the base) or PeftModel.from_pretrained (--to peft: an adapter over it). "
        "Nothing is overwritten but a former export.",
    )
    export.add_argument("--to", choices=["transformers", "peft"], required=True)
    export.add_argument(
        "folder",
        metavar="FOLDER",
        help="where the files go: a new folder, or a former export that nobody has changed",
    )
    _add_base(export)
    _add_tokenizer(export)
    _add_adapter(export, "for --to peft: the adapter (%(default)s)")
    export.add_argument(
        "--base-name",
        default="transformers",
        metavar="FOLDER",
        help="for --to peft: what the adapter calls its base, the folder of its export "
        "(%(default)s)",
    )
    export.set_defaults(run=_export)


def _add_import(subparsers: Any) -> None:
    import_ = subparsers.add_parser(
        "import",
        help="take over an adapter that PEFT has trained",
        description="Read an adapter that PEFT has trained over an exported base, and write it as "
        "an adapter file of minituner's. LoRA, rsLoRA and DoRA are taken; every other kind of "
        "adapter is refused.",
    )
    import_.add_argument("--from", choices=["peft"], required=True, dest="source")
    import_.add_argument("folder", metavar="FOLDER", help="what save_pretrained has written")
    import_.add_argument(
        "adapter",
        metavar="FILE",
        help="the adapter file to write, .pt or .safetensors: a new one, or a former adapter",
    )
    _add_base(import_)
    import_.set_defaults(run=_import)


def _add_base(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base",
        default=f"{PRETRAINED}/best.pt",
        metavar="FILE",
        help="the base checkpoint (%(default)s)",
    )


def _add_tokenizer(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--tokenizer",
        default=f"{PRETRAINED}/tokenizer.json",
        metavar="FILE",
        help="the base's tokenizer (%(default)s)",
    )


def _add_adapter(command: argparse.ArgumentParser, words: str) -> None:
    default = "experiments/28-lora-finetune/adapter_final.safetensors"
    command.add_argument("--adapter", default=default, metavar="FILE", help=words)


def _add_verbs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--verbs",
        default="data/raw/verbs.yaml",
        metavar="FILE",
        help="the verbs and their forms (%(default)s)",
    )


def _from_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _predict(options: Any) -> int:
    sentences = _sentences(options)  # refused before the seconds that the rest takes

    from copy import deepcopy

    from minituner.data.verbs import load_verbs
    from minituner.predict import BEAM, as_table, known_forms, predict, typed_prompt
    from minituner.storage.adapter import load_adapter
    from minituner.storage.checkpoint import load_base
    from minituner.tokenizer import load_tokenizer

    if options.top > BEAM:
        raise UserError(
            "predict: --top",
            "is more than the search finds",
            found=options.top,
            expected=f"a number from 1 to {BEAM}",
            fix=f"e.g. --top {BEAM}",
        )
    base = load_base(options.base, options.tokenizer)
    tokenizer = load_tokenizer(options.tokenizer, base.config.vocab_size)
    models = {"base": base, "tuned": load_adapter(options.adapter, deepcopy(base))}
    marks = known_forms(load_verbs(options.verbs))

    def answer(line: bytes, place: str) -> str:
        prompt = typed_prompt(line, place)
        if not prompt:
            return ""
        prediction = predict(models, tokenizer, prompt, marks, options.top, place)
        if options.json:
            return json.dumps(prediction, ensure_ascii=not writes_unicode())
        return as_table(prediction)

    return _print_answers(sentences, answer)


def _print_answers(
    sentences: Iterable[tuple[str, bytes]], answer: Callable[[bytes, str], str]
) -> int:
    """Print each answer as soon as its line has come, and what is wrong with the other lines."""
    answered = refused = 0
    for place, line in sentences:
        try:
            text = answer(line, place)
        except UserError as error:
            complain(f"{error}\n")
            refused += 1
            continue
        if text:  # there was more than a line end
            print(text, flush=True)
            answered += 1
    if not answered + refused:
        raise _no_sentence("none, or empty ones")
    if refused:
        complain(f"{refused:,} of {number_of(answered + refused, 'sentence')} not answered")
    return 1 if refused else 0


def _sentences(options: Any) -> Iterable[tuple[str, bytes]]:
    """The lines that are to be answered, each after the place where it stands."""
    if options.prompts and options.file is not None:
        raise UserError(
            "predict",
            "was given both sentences and a file",
            found=f"{number_of(len(options.prompts), 'sentence')} and --file {options.file}",
            expected="sentences, --file FILE, or a pipe",
            fix="leave out one of the two",
        )
    if options.prompts:  # what is not UTF-8 in an argument, Python has as surrogates
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


def _inspect(options: Any) -> int:
    from minituner.cli.inspect import explain

    print(explain(options.file))
    return 0


def _convert(options: Any) -> int:
    from minituner.convert.conversion import convert, report
    from minituner.convert.table import read_table
    from minituner.data.verbs import load_verbs
    from minituner.storage.files import write_jsonl

    path = _new_corpus(options.corpus)
    verbs = load_verbs(options.verbs)
    table = read_table(options.table, verbs, options.encoding)
    done = convert(table.sentences, verbs, path.stem)
    if done.rows:
        write_jsonl(path, done.rows)
    print(report(done, table, path), file=sys.stderr)
    return 0 if done.rows else 1


def _new_corpus(name: str) -> Path:
    """The path of a corpus to write.

    Raises:
        UserError: The pipeline would not read a file of that name, or there is one.
    """
    path = Path(name)
    if path.name.startswith("."):
        what, found = "would be passed over by the pipeline", "a name that begins with a dot"
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
        expected="a new file whose name ends in .jsonl, begins with no dot and has no { or }",
        fix="choose another name; no corpus is ever overwritten",
    )


def _export(options: Any) -> int:
    from minituner.interop.opt import export_base
    from minituner.interop.peft_files import export_adapter_file
    from minituner.storage.checkpoint import load_base

    if options.to == "transformers":
        base = load_base(options.base, options.tokenizer)
        export_base(base, options.tokenizer, options.folder)
    else:
        _tell(export_adapter_file(options.adapter, options.base, options.folder, options.base_name))
    return 0


def _import(options: Any) -> int:
    from minituner.interop.peft_files import import_adapter_file

    _tell(import_adapter_file(options.folder, options.base, options.adapter))
    return 0


def _tell(notes: Sequence[str]) -> None:
    """Print what the user should know, beside the output of the command."""
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)


def _verify(options: Any) -> int:
    from minituner.pipeline.config import read_config
    from minituner.pipeline.verify import describe, verify

    files = commands.use_config_files(options.config or commands.config_files())
    stages = verify(read_config(files))
    print(describe(stages))
    return 0 if all(stage.current for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
