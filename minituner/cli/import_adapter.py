"""``import``: an adapter that PEFT has trained becomes an adapter file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from minituner.cli.arguments import add_base, add_study, add_tokenizer
from minituner.cli.process import print_warnings

HELP = "read an adapter that PEFT has trained"
DESCRIPTION = """\
Read an adapter that PEFT has trained over a transformers base or over the export
of a MiniGPT, and write it as a minituner adapter file. LoRA, rsLoRA and DoRA are
supported; any other kind of adapter is refused."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    source: str
    folder: str
    adapter: str
    study: str
    base: str
    tokenizer: str | None  # None is the base's own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("--from", choices=["peft"], required=True, dest="source")
    parser.add_argument("folder", metavar="FOLDER", help="the folder that save_pretrained wrote")
    parser.add_argument(
        "adapter",
        metavar="FILE",
        help="the .pt or .safetensors file to write: a new one, or an earlier adapter",
    )
    add_study(parser)
    add_base(parser)
    add_tokenizer(parser)


def run(options: Options) -> int:
    """Write the adapter file."""
    from minituner.interop.peft_import import import_adapter_file

    print_warnings(
        import_adapter_file(options.folder, options.base, options.adapter, options.tokenizer)
    )
    return 0
