"""The command line: ``python -m minituner``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
    export.add_argument(
        "--tokenizer",
        default=f"{PRETRAINED}/tokenizer.json",
        metavar="FILE",
        help="the base's tokenizer (%(default)s)",
    )
    export.add_argument(
        "--adapter",
        default="experiments/28-lora-finetune/adapter_final.pt",
        metavar="FILE",
        help="for --to peft: the adapter (%(default)s)",
    )
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
