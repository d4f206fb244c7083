"""The whole pipeline for real, through the command line, on a tiny config."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from study import Study

HEADLINE = "experiments/28-lora-finetune"
SWEEP = "experiments/28-lora-ablate-rank"


def test_a_fresh_tree_lists_every_stage(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "fresh")
    planned = study.snakemake("--cores", "4", "--dry-run", "report")
    assert planned.code == 0, planned.output
    assert {"train_tokenizer", "pretrain_base", "tokenize", "train", "evaluate"} <= planned.rules
    assert planned.jobs.count("train") == planned.jobs.count("evaluate") == 2


def test_the_graph_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "fresh")
    graph = study.run(
        "-c",
        "import subprocess, sys; sys.exit(subprocess.run([sys.executable, "
        "'-m', 'snakemake', '--dag'], stderr=subprocess.DEVNULL).returncode)",
    )
    assert graph.code == 0
    assert graph.output.startswith("digraph") and graph.output.rstrip().endswith("}")
    assert {"2", "8"} == set(re.findall(r"train\\nrank: (\d+)", graph.output))


def test_the_run_leaves_every_fixed_file(finished: Study) -> None:
    for file in (
        "experiments/17-minigpt-train/best.pt",
        "experiments/17-minigpt-train/tokenizer.json",
        "experiments/17-minigpt-train/loss_curve.png",
        "experiments/17-minigpt-train/manifest.json",
        f"{HEADLINE}/adapter_final.pt",
        f"{HEADLINE}/train_log.csv",
        f"{HEADLINE}/loss_curve.png",
        f"{HEADLINE}/metrics.json",
        f"{HEADLINE}/items.csv",
        f"{HEADLINE}/gates.json",
        f"{HEADLINE}/manifest.json",
        f"{SWEEP}/accuracy_vs_rank.png",
        f"{SWEEP}/drift_vs_rank.png",
        f"{SWEEP}/manifest.json",
        "REPORT.md",
    ):
        assert (finished.root / file).stat().st_size > 0, file


def test_a_second_run_has_nothing_to_do(finished: Study) -> None:
    again = finished.snakemake("--cores", "1", "report")
    assert again.code == 0 and "Nothing to be done" in again.output


def test_a_figure_can_be_asked_for_without_cores(finished: Study) -> None:
    asked = finished.snakemake(f"{SWEEP}/accuracy_vs_rank.png")
    assert asked.code == 0, asked.output
    assert "Nothing to be done" in asked.output


def test_the_base_inside_the_tuned_model_is_the_checkpoint(finished: Study) -> None:
    base = torch.load(finished.root / "experiments/17-minigpt-train/best.pt", weights_only=True)
    assert set(base) == {"format", "config", "tokenizer_sha256", "weights"}
    metrics = json.loads((finished.root / HEADLINE / "metrics.json").read_text())
    assert metrics["base_max_abs_diff"] == 0.0
    assert metrics["base_sha256"]["before"] == metrics["base_sha256"]["after"]


def test_the_gates_follow_from_the_items(finished: Study) -> None:
    def accuracy(file: str) -> float:
        with (finished.root / file).open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
        return sum(float(row["margin_nats"]) > 0 for row in rows) / len(rows)

    gates = json.loads((finished.root / HEADLINE / "gates.json").read_text())
    gain = 100 * (accuracy(f"{HEADLINE}/items.csv") - accuracy(f"{SWEEP}/base/items.csv"))
    assert gates["accuracy_gain_pp"]["value"] == pytest.approx(gain)


def test_a_failing_gate_fails_the_command_and_is_in_the_report(finished: Study) -> None:
    gates = json.loads((finished.root / HEADLINE / "gates.json").read_text())
    assert not gates["accuracy_gain_pp"]["pass"], "the tiny base is too small to learn this"
    checked = finished.snakemake("--cores", "1", "gates")
    assert checked.code != 0
    assert "fails the gate accuracy_gain_pp" in checked.output
    assert "Traceback" not in checked.output
    assert "| `accuracy_gain_pp` |" in (finished.root / "REPORT.md").read_text()


def test_every_rank_saw_the_same_first_batch(finished: Study) -> None:
    """B starts at zero, so before the first update all ranks have the base's loss on it."""

    def first_loss(rank: int) -> str:
        with (finished.root / SWEEP / f"rank-{rank}/seed-0/train_log.csv").open() as stream:
            return list(csv.DictReader(stream))[1]["train_loss"]

    assert first_loss(2) == first_loss(8)


def test_everything_verifies(finished: Study) -> None:
    verified = finished.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output
