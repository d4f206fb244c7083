"""The command line: ``python -m minituner``, or ``minituner`` once the package is installed."""

from __future__ import annotations

import sys

from minituner.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
