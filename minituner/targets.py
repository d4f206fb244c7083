"""Which layers to adapt: candidates compared on the validation split, never on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minituner.checkpoint import load_base
from minituner.evaluate import accuracy_summary, judge_pairs
from minituner.lora import load_adapter
from minituner.pairs import TokenizedPair
from minituner.train import LoRATrainConfig, train_rank


def compare_targets(
    base_path: str | Path,
    pairs: Mapping[str, Sequence[TokenizedPair]],
    candidates: Sequence[Sequence[str]],
    *,
    r: int,
    alpha: float,
    dropout: float,
    config: LoRATrainConfig,
    seeds: Sequence[int],
    pad_id: int,
    out_dir: str | Path,
) -> list[dict[str, Any]]:
    """Train adapters on each candidate set of layers and score the validation pairs.

    Args:
        pairs: ``train``, ``val`` and ``control``, as for :func:`minituner.train.train_rank`.
        candidates: Sets of target modules.

    Returns:
        One row a candidate, means over the seeds, the best margin first.
    """
    rows = []
    for target_modules in candidates:
        folder = Path(out_dir) / "+".join(target_modules)
        training = train_rank(
            load_base(base_path),
            pairs,
            r=r,
            alpha=alpha,
            dropout=dropout,
            target_modules=target_modules,
            config=config,
            seeds=seeds,
            pad_id=pad_id,
            out_dir=folder,
        )
        adapters = [folder / f"seed-{seed}" / "adapter_final.pt" for seed in seeds]
        scores = [
            accuracy_summary(
                judge_pairs(load_adapter(adapter, load_base(base_path)), pairs["val"], pad_id)
            )
            for adapter in adapters
        ]
        rows.append(
            {
                "target_modules": list(target_modules),
                "trainable_parameters": training["trainable_parameters"],
                "adapter_size_ratio": adapters[0].stat().st_size / Path(base_path).stat().st_size,
                "val_accuracy": sum(score["accuracy"] for score in scores) / len(seeds),
                "val_margin_nats": sum(score["margin_nats"] for score in scores) / len(seeds),
            }
        )
    return sorted(rows, key=lambda row: -float(row["val_margin_nats"]))


def targets_table(rows: Sequence[Mapping[str, Any]], size_limit: float, r: int) -> str:
    """The comparison as Markdown, with what may be chosen within the size limit."""
    lines = [
        f"# Which layers to adapt, at rank {r}",
        "",
        "Compared on the validation split, the best mean margin first; the test split is never "
        f"used to choose. An adapter may be at most {100 * size_limit:g} % of the base's file.",
        "",
        "| layers | trained weights | adapter / base | validation accuracy | margin, nats | |",
        "|---|---|---|---|---|---|",
    ]
    best = next((row for row in rows if row["adapter_size_ratio"] < size_limit), None)
    for row in rows:
        verdict = "**best**" if row is best else ""
        if row["adapter_size_ratio"] >= size_limit:
            verdict = "too large"
        lines.append(
            f"| `{'`, `'.join(row['target_modules'])}` | {row['trainable_parameters']:,} "
            f"| {100 * row['adapter_size_ratio']:.2f} % | {100 * row['val_accuracy']:.1f} % "
            f"| {row['val_margin_nats']:+.2f} | {verdict} |"
        )
    return "\n".join(lines) + "\n"
