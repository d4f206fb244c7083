"""A finished study of a few made-up items, written to a folder without running the pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from project import ROOT

from minituner.pipeline.config import read_config
from minituner.pipeline.nested import merge, subset
from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.sweep import summarize
from minituner.storage.files import sha256
from minituner.storage.items import read_items, write_items

SWEEP = "experiments/28-lora-ablate-rank"
HEADLINE = "experiments/28-lora-finetune"
GROUPS = ("be", "come", "eat", "go", "have", "see")
PER_GROUP = 3
TEXT_TOKENS = 10
BASE_NLL = 20.0  # of a control text: perplexity e^2

Answer = Callable[[int, int, int], bool]  # rank, seed and number of a test item


def always(answer: bool) -> Answer:
    """The same answer for every rank, seed and item."""
    return lambda _rank, _seed, _item: answer


ALWAYS_RIGHT = always(True)
_SUMMARIES: dict[tuple[str, ...], Any] = {}  # of equal items: most tests have the same


@cache
def _default_config() -> dict[str, Any]:
    """The sections that matter once a study has run."""
    config = read_config([ROOT / "config.yaml"])
    return subset(
        config, "task", "base.checkpoint", "base.pretrain", "base.seeds", "ranks"
    ) | subset(config, "seeds", "lora", "train", "gates", "statistics")


def write_study(
    root: Path,
    right: Answer = ALWAYS_RIGHT,
    *,
    ranks: Sequence[int] = (2, 8),
    seeds: Sequence[int] = (0, 1),
    base: str = "a",
    drift_nats: float = 0.2,
    prompt: str = "He __ it.",
    tokens: str = "t",
    **overrides: Any,
) -> Path:
    """Write the files of a finished study; its base gets every item wrong.

    Args:
        right: Which answers of the adapters are right; their margins are then 2, else -1 nats.
        base: Stands for the base: its sha256 in the manifests.
        drift_nats: How much each control text costs more after tuning than before.
        tokens: Stands for the tokenized test items: their sha256 in the manifests.
        overrides: Sections that are laid over config.yaml.
    """
    headline = {"ranks": list(ranks), "seeds": list(seeds), "lora": {"rank": ranks[-1]}}
    config = merge(merge(deepcopy(_default_config()), headline), overrides)
    config["ablations"] = overrides.get("ablations", {})
    config["statistics"]["bootstrap_draws"] = 200
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    write_items(root / f"{SWEEP}/base/items.csv", _items(None, prompt, always(False), 0, 0.0))
    _put_json(root / f"{SWEEP}/base/metrics.json", _metrics(-1.0, 0.0))
    sha = {"base": base * 64, "test": tokens * 64}
    inputs = {"data/tokenized/test.jsonl": sha["test"]}
    _manifest(root, f"{SWEEP}/base/manifest.json", ["items.csv", "metrics.json"], sha, inputs)
    for rank in ranks:
        write_setting(root, f"{SWEEP}/rank-{rank}", rank, right, prompt, drift_nats, base)
    _write_summary(root, config, sha)
    _write_headline(root, config, sha)
    return root


def write_setting(
    root: Path,
    folder: str,
    rank: int,
    right: Answer = ALWAYS_RIGHT,
    prompt: str = "He __ it.",
    drift_nats: float = 0.2,
    base: str = "a",
    **changes: Any,
) -> None:
    """Write what training and evaluation leave for one rank of the sweep or of an arm."""
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    seeds = config["seeds"]
    rows = [row for seed in seeds for row in _items(seed, prompt, right, rank, drift_nats)]
    write_items(root / folder / "items.csv", rows)
    runs = [
        {
            **_metrics(1.0 + seed, drift_nats),
            "seed": seed,
            "base_max_abs_diff": 0.0,
            "base_sha256": {"before": base * 64, "after": base * 64},
            "scale_audit": [
                {"layer": "fc2", "relative_norm": 0.1, "effective_rank": 1.5, "largest_b": 0.1}
            ],
        }
        for seed in seeds
    ]
    tuned = {
        "rank": rank,
        "scaling": 16 / rank,
        "trained_parameters": 100 * rank,
        "file_bytes": 1000 * rank,
        "size_ratio": rank / 1000,
        "runs": runs,
    }
    _put_json(root / folder / "metrics.json", tuned)
    _put_json(root / folder / "training.json", {"steps": 3, "rank": rank})
    logs = []
    for seed in seeds:
        logs += [f"seed-{seed}/train_log.csv", f"seed-{seed}/adapter_final.safetensors"]
        log = (
            f"step,train_loss,val_loss,control_perplexity\n0,,0.5,2.5\n1,0.4,,\n2,0.{seed}1,0.3,\n"
        )
        _put(root / folder / logs[-2], log)
        _put(root / folder / logs[-1], f"adapter of rank {rank}, seed {seed}")
    parts = subset(config, "lora", "train", "seeds")
    del parts["lora"]["rank"]
    for key in changes:
        section, _, name = key.partition(".")
        del parts[section][name]
    sha = {"base": base * 64, "test": "t" * 64}
    outputs = [*logs, "training.json"]
    more: dict[str, Any] = {"config": parts, "parameters": {"changes": changes}}
    _manifest(root, f"{folder}/train.manifest.json", outputs, sha, {}, **more)
    inputs = {"data/tokenized/test.jsonl": sha["test"]}
    outputs = ["items.csv", "metrics.json"]
    _manifest(root, f"{folder}/evaluate.manifest.json", outputs, sha, inputs)


def _write_summary(root: Path, config: dict[str, Any], sha: dict[str, str]) -> None:
    """The real summary of the made-up items."""
    folders = [root / f"{SWEEP}/rank-{rank}" for rank in config["ranks"]]
    base = root / f"{SWEEP}/base/items.csv"
    texts = [
        (folder / name).read_text(encoding="utf-8")
        for folder in folders
        for name in ("items.csv", "metrics.json")
    ]
    key = (base.read_text(encoding="utf-8"), *texts, str(config["statistics"]))
    if key not in _SUMMARIES:
        tables: list[pd.DataFrame] = [read_items(folder / "items.csv") for folder in folders]
        metrics = [json.loads(text) for text in texts[1::2]]
        settings = StatisticsSettings(**config["statistics"])
        _SUMMARIES[key] = summarize(read_items(base), metrics, tables, settings)
    _put_json(root / f"{SWEEP}/summary.json", _SUMMARIES[key])
    inputs = {
        name: sha256(root / name)
        for rank in config["ranks"]
        for name in [f"{SWEEP}/rank-{rank}/items.csv"]
    }
    parts = subset(config, "statistics")
    path = f"{SWEEP}/summarize.manifest.json"
    _manifest(root, path, ["summary.json"], sha, inputs, config=parts)


def _write_headline(root: Path, config: dict[str, Any], sha: dict[str, str]) -> None:
    gate = {"pass": True, "rule": ">=", "threshold": 10, "value": 48.5}
    _put_json(root / f"{HEADLINE}/gates.json", {"accuracy_gain_pp": gate})
    _put(root / f"{HEADLINE}/loss_curve.png", "a figure")
    parts = subset(config, "gates")
    _manifest(root, f"{HEADLINE}/manifest.json", ["gates.json"], sha, {}, config=parts)


def _put(path: Path, text: str) -> None:
    """Write a file without waiting for the disk, as the package's own functions do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _put_json(path: Path, value: Any) -> None:
    _put(path, json.dumps(value))


def _manifest(
    root: Path,
    path: str,
    outputs: Sequence[str],
    sha: dict[str, str],
    inputs: dict[str, str],
    **more: Any,
) -> None:
    folder = Path(path).parent
    written = {f"{folder}/{name}": sha256(root / folder / name) for name in outputs}
    manifest = {
        "stage": "s",
        "config": {},
        "parameters": {},
        "code": {},
        "inputs": inputs,
        "outputs": written,
        "base_checkpoint_sha256": sha["base"],
        "versions": {"minituner": "0.1.0"},
        **more,
    }
    _put_json(root / path, manifest)


def _items(seed: int | None, prompt: str, right: Answer, rank: int, drift_nats: float) -> list[Any]:
    """Rows of items.csv: the test items, then as many control items."""
    names = [f"{group}-{i}" for group in GROUPS for i in range(PER_GROUP)]
    rows = []
    for split in ("test", "control"):
        for number, name in enumerate(names):
            correct = split == "control" or right(rank, seed or 0, number)
            extra = drift_nats if split == "control" else 0.0
            row: dict[str, Any] = {} if seed is None else {"seed": seed}
            row |= {
                "split": split,
                "id": f"{split}-{name}",
                "prompt": prompt,
                "group": name.partition("-")[0],
                "form": "past",
                "complement": "",
                "correct_form": "right",
                "wrong_form": "wrong",
                "margin_nats": "2.000000" if correct else "-1.000000",
                "margin_nats_per_token": "1.000000",
                "correct": int(correct),
                "text_nll_nats": f"{BASE_NLL + extra:.6f}",
                "text_tokens": TEXT_TOKENS,
                "target_nll_nats": "1.000000",
                "target_tokens": 2,
            }
            rows.append(row)
    return rows


def _metrics(margin: float, drift_nats: float) -> dict[str, Any]:
    drift = {"drift": {"text": drift_nats / 10, "target": 0.0}} if drift_nats else {}
    split = {
        "n": 18,
        "accuracy": 0.5,
        "accuracy_per_token": 0.25,
        "margin_nats": margin,
        "margin_nats_per_token": 0.125,
        "by_group_and_form": {},
        "perplexity": {"text": 7.5, "target": 2.25},
        **drift,
    }
    test = {**split, "greedy_accuracy": 0.75}
    probe = [{"failed": True}, {"failed": False}]
    return {"val": split, "test": test, "control": split, "probe": probe, "predictions": []}
