"""``export``: a base for transformers, an adapter for PEFT, or a study's runs for MLflow."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from minituner.cli.arguments import add_adapter, add_base, add_study, add_tokenizer
from minituner.cli.process import print_warnings
from minituner.errors import UserError
from minituner.hf.hub import is_transformers

if TYPE_CHECKING:
    from minituner.hf.model import TransformersLM

HELP = "write files for transformers, PEFT or MLflow"
DESCRIPTION = """\
Write a folder that another library reads:

  --to transformers          the base, for AutoModelForCausalLM.from_pretrained
  --to transformers --merge  the base with the adapter merged into its weights
  --to peft                  the adapter, for PeftModel.from_pretrained
  --to mlflow                the runs of a study, for mlflow ui

If the base is the folder of a transformers model, or a name of the hub, the
adapter is for that very base, and only the merged model is written for
transformers. Nothing is overwritten except an earlier export."""


@dataclass(frozen=True)
class Options:
    """The parsed arguments."""

    to: str
    merge: bool
    folder: str
    study: str
    base: str
    tokenizer: str | None  # None is the base's own
    adapter: str
    base_name: str | None
    further_studies: list[str]
    with_adapters: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommand's arguments."""
    parser.add_argument("--to", choices=["transformers", "peft", "mlflow"], required=True)
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
        metavar="FOLDER",
        help="with --to peft: the folder or name that the adapter will name as its base (default: "
        "a transformers base itself; of a MiniGPT the exported base, in the folder transformers)",
    )
    parser.add_argument(
        "--further-studies",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="with --to mlflow: other studies to export with it",
    )
    parser.add_argument(
        "--with-adapters",
        action="store_true",
        help="with --to mlflow: copy the adapters too, not only small files",
    )


def run(options: Options) -> int:
    """Write the export."""
    _require_fitting(options)
    if options.to == "mlflow":
        return _export_studies(options)
    if options.to == "peft":
        return _export_adapter(options)

    if is_transformers(options.base):
        return _export_merged(options)
    return _export_minigpt(options)


def _require_fitting(options: Options) -> None:
    """Refuse an option that another target has."""
    if options.merge and options.to != "transformers":
        raise UserError(
            "export: --merge",
            f"cannot be used with --to {options.to}",
            found=f"--to {options.to} --merge",
            expected="--merge with --to transformers: PEFT's files hold an adapter, and a merged "
            "base has none",
            fix="leave out --merge, or write the merged base: --to transformers --merge",
        )
    if options.with_adapters and options.to != "mlflow":
        raise UserError(
            "export: --with-adapters",
            f"cannot be used with --to {options.to}",
            found=f"--to {options.to} --with-adapters",
            expected="--with-adapters with --to mlflow",
            fix="leave out --with-adapters",
        )


def _export_minigpt(options: Options) -> int:
    from minituner.interop.opt_export import export_base
    from minituner.lora import merge_and_unwrap
    from minituner.storage.adapter import load_adapter
    from minituner.storage.checkpoint import load_base

    tokenizer = str(options.tokenizer)
    model = load_base(options.base, tokenizer)
    if options.merge:
        model = merge_and_unwrap(load_adapter(options.adapter, model))
    export_base(model, tokenizer, options.folder, options.merge)
    return 0


def _export_merged(options: Options) -> int:
    if not options.merge:
        raise UserError(
            options.base,
            "is a transformers model already, so there is nothing to export",
            found="--to transformers without --merge",
            expected="an adapter to merge into it, or a MiniGPT's checkpoint as the base",
            fix="add --merge, or export only the adapter: --to peft",
        )
    from minituner.bases import load_base_model
    from minituner.lora import merge_and_unwrap
    from minituner.storage.adapter import load_adapter

    model = load_adapter(options.adapter, load_base_model(options.base, options.tokenizer))
    # Imports transformers, so after the check that it is installed.
    from minituner.interop.merged_export import export_merged

    merged = cast("TransformersLM", merge_and_unwrap(model))
    export_merged(merged, options.base, options.tokenizer, options.folder)
    return 0


def _export_studies(options: Options) -> int:
    from importlib.util import find_spec

    from minituner.interop.mlflow_export import export_studies

    export_studies([options.study, *options.further_studies], options.folder, options.with_adapters)
    # MLflow opens file stores, which it no longer develops, only if this variable says so.
    uri = shlex.quote(options.folder)
    print(f"MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {uri}")
    if find_spec("mlflow") is None:
        print_warnings(["mlflow is not installed here: pip install 'minituner[mlflow]'"])
    return 0


def _export_adapter(options: Options) -> int:
    from minituner.interop.peft_export import export_adapter_file

    default = options.base if is_transformers(options.base) else "transformers"
    name = default if options.base_name is None else options.base_name
    print_warnings(
        export_adapter_file(options.adapter, options.base, options.folder, name, options.tokenizer)
    )
    return 0
