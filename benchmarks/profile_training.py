"""Where the time of training one seed goes, by cProfile: the functions' own time."""

from __future__ import annotations

import cProfile
import json
import pstats
import tempfile
from pathlib import Path

import work

SHOWN = 12


def main() -> None:
    from minituner.checkpoint import load_base
    from minituner.pairs import read_pairs
    from minituner.seeding import seed_everything
    from minituner.train import LoRATrainConfig, train_rank

    config = work.settings()
    seed_everything(0, 1)
    pairs = {
        name: read_pairs(work.TOKENIZED / f"{name}.jsonl") for name in ("train", "val", "control")
    }
    lora = {key: value for key, value in config["lora"].items() if key != "rank"}
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        profiler.enable()
        train_rank(
            load_base(work.BASE),
            pairs,
            r=config["lora"]["rank"],
            **lora,
            config=LoRATrainConfig(**config["train"]),
            seeds=[0],
            pad_id=work.PAD_ID,
            out_dir=folder,
        )
        profiler.disable()
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
    """A function's name, with its file if it has one."""
    file, _, name = place
    return name if file == "~" else f"{Path(file).stem}.{name}"


if __name__ == "__main__":
    main()
