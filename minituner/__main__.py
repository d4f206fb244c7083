"""The command line: ``python -m minituner``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minituner import __version__
from minituner.errors import UserError

PRETRAINED = "experiments/17-minigpt-train"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m minituner", description="What does a LoRA adapter of rank r buy?"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="let the base and the tuned model fill in a blank",
        description="Print the likeliest answers of the base and of the tuned model to sentences "
        "with a blank, with the probability of the English, the Spanish that follows it, and "
        "whether it is a right or a wrong past form of a known verb.",
        epilog='examples:  python -m minituner predict "He __ to school yesterday."\n'
        "           python -m minituner predict --file sentences.txt --json\n"
        "           cat sentences.txt | python -m minituner predict",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("prompts", nargs="*", metavar="SENTENCE", help="with __ for the blank")
    predict.add_argument("--file", metavar="FILE", help="sentences, one a line; - reads a pipe")
    predict.add_argument("--top", type=_from_one, default=3, help="answers a model (%(default)s)")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_base(predict)
    _add_tokenizer(predict)
    _add_adapter(predict, "the adapter of the tuned model (%(default)s)")
    _add_verbs(predict)
    predict.set_defaults(run=_predict)

    inspect = commands.add_parser(
        "inspect",
        help="say what a file of the study is",
        description="Say in a few lines what a checkpoint, adapter, tokenizer, manifest, corpus or "
        "table of results holds. Nothing in the file is executed.",
    )
    inspect.add_argument("file", metavar="FILE")
    inspect.set_defaults(run=_inspect)

    convert = commands.add_parser(
        "convert",
        help="make a corpus of sentences of your own",
        description="Write corpus rows from a .tsv (English, Spanish) or a .csv (columns en, es, "
        "lemma; the last two may be left out). Each sentence gets its blank at the first past form "
        "in it of a known verb; docs/your-own.md has the rule.",
    )
    convert.add_argument("table", metavar="TABLE")
    convert.add_argument("corpus", metavar="CORPUS", help="the .jsonl to write; it must not exist")
    _add_verbs(convert)
    convert.set_defaults(run=_convert)

    verify = commands.add_parser(
        "verify",
        help="check every result against its manifest",
        description="Recompute every hash in every manifest, from the corpus to the report, and "
        "say what is current, stale, edited, missing or made by other versions. The exit code is 0 "
        "only if all is current.",
    )
    verify.add_argument(
        "--config",
        nargs="+",
        default=["config.yaml"],
        metavar="FILE",
        help="the config, then any overlays the study was run with (%(default)s)",
    )
    verify.set_defaults(run=_verify)

    export = commands.add_parser(
        "export",
        help="write a base for transformers, or an adapter for PEFT",
        description="Write a folder that AutoModelForCausalLM.from_pretrained reads (--to "
        "transformers: the base) or PeftModel.from_pretrained (--to peft: an adapter over it).",
    )
    export.add_argument("--to", choices=["transformers", "peft"], required=True)
    export.add_argument("folder", metavar="FOLDER", help="where the files go")
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

    import_ = commands.add_parser(
        "import",
        help="take over an adapter that PEFT has trained",
        description="Read an adapter that PEFT has trained over an exported base, and write it as "
        "an adapter file of minituner's.",
    )
    import_.add_argument("--from", choices=["peft"], required=True, dest="source")
    import_.add_argument("folder", metavar="FOLDER", help="what save_pretrained has written")
    import_.add_argument("adapter", metavar="FILE", help="the adapter file to write")
    _add_base(import_)
    import_.set_defaults(run=_import)

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except UserError as error:
        print(f"minituner cannot go on.\n\n{error}", file=sys.stderr)
        return 1


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
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be from 1 on, not {value}")
    return value


def _predict(options: Any) -> int:
    from copy import deepcopy

    from minituner.adapter import load_adapter
    from minituner.checkpoint import load_base
    from minituner.predict import as_table, known_forms, predict, read_prompts
    from minituner.tokenizer import load_tokenizer
    from minituner.verbs import load_verbs

    prompts = read_prompts(*_sentences(options))
    base = load_base(options.base, options.tokenizer)
    tokenizer = load_tokenizer(options.tokenizer, base.config.vocab_size)
    tuned = load_adapter(options.adapter, deepcopy(base))
    models = {"base": base, "tuned": tuned}
    marks = known_forms(load_verbs(options.verbs))
    for prediction in predict(models, tokenizer, prompts, marks, options.top):
        text = json.dumps(prediction, ensure_ascii=False) if options.json else as_table(prediction)
        print(text, flush=True)
    return 0


def _sentences(options: Any) -> tuple[list[str], str]:
    """What is to be predicted, line by line, and where it stands."""
    if options.prompts:
        return options.prompts, "sentence"
    if options.file not in (None, "-"):
        try:
            return Path(options.file).read_text(encoding="utf-8-sig").splitlines(), options.file
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                options.file,
                "cannot be read",
                found=str(error),
                expected="a text file in UTF-8, one sentence a line",
                mend="mend the path, or save the file as UTF-8",
            ) from error
    if options.file is None and sys.stdin.isatty():
        raise UserError(
            "predict",
            "was given no sentence",
            found="nothing",
            expected="a sentence, --file FILE, or a pipe",
            mend='e.g. python -m minituner predict "He __ to school yesterday."',
        )
    return sys.stdin.read().splitlines(), "standard input"


def _inspect(options: Any) -> int:
    from minituner.artefacts import explain

    print(explain(options.file))
    return 0


def _convert(options: Any) -> int:
    from minituner.convert import convert, read_sentences
    from minituner.files import write_jsonl
    from minituner.verbs import load_verbs

    path = Path(options.corpus)
    if path.suffix != ".jsonl" or path.exists():
        raise UserError(
            path,
            "cannot be written" if path.suffix == ".jsonl" else "is no .jsonl file",
            found="it exists already" if path.exists() else f"an ending {path.suffix!r}",
            expected="a new file that ends in .jsonl",
            mend="choose another name; no corpus is ever overwritten",
        )
    verbs = load_verbs(options.verbs)
    rows, without = convert(read_sentences(options.table), verbs, path.stem)
    if rows:
        write_jsonl(path, rows)
    print(f"{len(rows)} rows", f"in {path}" if rows else "", file=sys.stderr)
    for sentence in without[:10]:
        print(
            f"{sentence.place}: no past form of a known verb: {sentence.english!r}", file=sys.stderr
        )
    if len(without) > 10:
        print(f"and {len(without) - 10} more such sentences", file=sys.stderr)
    return 0 if rows else 1


def _export(options: Any) -> int:
    from minituner.checkpoint import load_base
    from minituner.interop import export_adapter_file, export_base

    if options.to == "transformers":
        base = load_base(options.base, options.tokenizer)
        export_base(base, options.tokenizer, options.folder)
    else:
        export_adapter_file(options.adapter, options.base, options.folder, options.base_name)
    return 0


def _import(options: Any) -> int:
    from minituner.interop import import_adapter_file

    import_adapter_file(options.folder, options.base, options.adapter)
    return 0


def _verify(options: Any) -> int:
    from minituner.config import read_config
    from minituner.verify import describe, verify

    stages = verify(read_config(options.config))
    print(describe(stages))
    return 0 if all(stage.current for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
