"""The command line: ``python -m minituner``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from minituner import __version__
from minituner.errors import UserError


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

    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except UserError as error:
        print(f"minituner cannot go on.\n\n{error}", file=sys.stderr)
        return 1


def _verify(options: Any) -> int:
    from minituner.config import read_config
    from minituner.verify import describe, verify

    stages = verify(read_config(options.config))
    print(describe(stages))
    return 0 if all(stage.current for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main())
