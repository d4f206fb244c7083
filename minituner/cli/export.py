"""``export``: a base for transformers, or an adapter for PEFT."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from minituner.cli.arguments import add_adapter, add_base, add_study, add_tokenizer
from minituner.cli.process import print_warnings
from minituner.errors import UserError

HELP = "write a base for transformers, or an adapter for PEFT"
DESCRIPTION = """\
Write a folder that another library reads:

  --to transformers          the base, for AutoModelForCausalLM.from_pretrained
  --to transformers --merge  the base with the adapter merged into its weights
  --to peft                  the adapter, for PeftModel.from_pretrained

Nothing is overwritten except an earlier export."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    to: str
    merge: bool
    folder: str
    study: str
    base: str
    tokenizer: str
    adapter: str
    base_name: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("--to", choices=["transformers", "peft"], required=True)
    parser.add_argument(
        "--merge",
        action="store_true",
        help="with --to transformers: merge the adapter into the base",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="the folder to write: a new one, or an earlier export whose files are unchanged",
    )
    add_study(parser)
    add_base(parser)
    add_tokenizer(parser)
    add_adapter(parser, "with --to peft or --merge: the adapter")
    parser.add_argument(
        "--base-name",
        default="transformers",
        metavar="FOLDER",
        help="with --to peft: the folder of the exported base, which the adapter will name as its "
        "base (default: %(default)s)",
    )


def run(options: Options) -> int:
    """Write the export."""
    if options.to == "peft":
        return _export_adapter(options)

    from minituner.interop.opt_export import export_base
    from minituner.lora import merge_and_unwrap
    from minituner.storage.adapter import load_adapter
    from minituner.storage.checkpoint import load_base

    model = load_base(options.base, options.tokenizer)
    if options.merge:
        model = merge_and_unwrap(load_adapter(options.adapter, model))
    export_base(model, options.tokenizer, options.folder, options.merge)
    return 0


def _export_adapter(options: Options) -> int:
    if options.merge:
        raise UserError(
            "export: --merge",
            "cannot be used with --to peft",
            found="--to peft --merge",
            expected="--merge with --to transformers: PEFT's files hold an adapter, and a merged "
            "base has none",
            fix="leave out --merge, or write the merged base: --to transformers --merge",
        )

    from minituner.interop.peft_export import export_adapter_file

    print_warnings(
        export_adapter_file(options.adapter, options.base, options.folder, options.base_name)
    )
    return 0
