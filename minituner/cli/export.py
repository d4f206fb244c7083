"""``export``: a base for transformers, an adapter for PEFT, or a study's runs for MLflow."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass

from minituner.cli.arguments import add_adapter, add_base, add_study, add_tokenizer
from minituner.cli.process import print_warnings
from minituner.errors import UserError

HELP = "write files for transformers, PEFT or MLflow"
DESCRIPTION = """\
Write a folder that another library reads:

  --to transformers          the base, for AutoModelForCausalLM.from_pretrained
  --to transformers --merge  the base with the adapter merged into its weights
  --to peft                  the adapter, for PeftModel.from_pretrained
  --to mlflow                the runs of a study, for mlflow ui

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
        default="transformers",
        metavar="FOLDER",
        help="with --to peft: the folder of the exported base, which the adapter will name as its "
        "base (default: %(default)s)",
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

    from minituner.interop.opt_export import export_base
    from minituner.lora import merge_and_unwrap
    from minituner.storage.adapter import load_adapter
    from minituner.storage.checkpoint import load_base

    model = load_base(options.base, options.tokenizer)
    if options.merge:
        model = merge_and_unwrap(load_adapter(options.adapter, model))
    export_base(model, options.tokenizer, options.folder, options.merge)
    return 0


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

    print_warnings(
        export_adapter_file(options.adapter, options.base, options.folder, options.base_name)
    )
    return 0
