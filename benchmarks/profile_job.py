"""Profiles another script of this folder with cProfile: the functions' own time.

python benchmarks/profile_job.py ours --seeds 1 --out /tmp/ours

The imports at the top of the script are not counted.
"""

from __future__ import annotations

import cProfile
import importlib
import json
import pstats
import sys
from pathlib import Path

SHOWN = 12


def main() -> None:
    script = importlib.import_module(sys.argv.pop(1))
    profiler = cProfile.Profile()
    profiler.runcall(script.main)
    stats = pstats.Stats(profiler)
    total: float = stats.total_tt  # type: ignore[attr-defined]
    entries = stats.stats.items()  # type: ignore[attr-defined]
    rows = sorted(
        (
            {"function": label(place), "calls": calls, "seconds": own, "share": own / total}
            for place, (calls, _, own, _, _) in entries
        ),
        key=lambda row: -float(row["seconds"]),
    )
    print(json.dumps({"total_seconds": total, "rows": rows[:SHOWN]}))


def label(place: tuple[str, int, str]) -> str:
    """A function's name, prefixed by its module if it is written in Python."""
    file, _, name = place
    return name if file == "~" else f"{Path(file).stem}.{name}"


if __name__ == "__main__":
    main()
