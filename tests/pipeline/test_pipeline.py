"""The whole pipeline through the command line, on a tiny config."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from study import Study

from minituner.storage.adapter import load_adapter
from minituner.storage.checkpoint import load_base

HEADLINE = "experiments/28-lora-finetune"
SWEEP = "experiments/28-lora-ablate-rank"


def test_dry_run_of_a_fresh_tree_lists_every_stage(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "fresh")
    planned = study.snakemake("--cores", "4", "--dry-run", "report")
    assert planned.code == 0, planned.output
    assert {"train_tokenizer", "pretrain_base", "tokenize", "train", "evaluate"} <= planned.rules
    assert planned.jobs.count("train") == planned.jobs.count("evaluate") == 2


def test_dag_prints_only_the_graph(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "fresh")
    graph = study.run(
        "-c",
        "import subprocess, sys; sys.exit(subprocess.run([sys.executable, "
        "'-m', 'snakemake', '--dag'], stderr=subprocess.DEVNULL).returncode)",
    )
    assert graph.code == 0
    assert graph.output.startswith("digraph") and graph.output.rstrip().endswith("}")
    assert {"2", "8"} == set(re.findall(r"train\\nrank: (\d+)", graph.output))


def assert_readable(path: Path) -> None:
    """Whether a file holds what its name ends in."""
    if path.suffix == ".png":
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000, path
    elif path.suffix == ".json":
        assert json.loads(path.read_text()), path
    elif path.suffix == ".csv":
        with path.open() as stream:
            assert len(list(csv.DictReader(stream))) > 2, path
    elif path.suffix == ".pt":
        assert torch.load(path, weights_only=True)["weights"], path
    else:
        assert path.read_text().startswith("# "), path


def test_report_writes_every_fixed_file(finished: Study) -> None:
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
        assert_readable(finished.root / file)


def test_manifests_of_summarize_and_plot_list_their_outputs(finished: Study) -> None:
    for name, stage, files in (
        ("summarize.manifest.json", "summarize", {"summary.json"}),
        ("manifest.json", "plot", {"accuracy_vs_rank.png", "drift_vs_rank.png"}),
    ):
        manifest = json.loads((finished.root / SWEEP / name).read_text())
        assert manifest["stage"] == stage
        assert manifest["outputs"].keys() >= {f"{SWEEP}/{file}" for file in files}
    assert f"{SWEEP}/summary.json" in manifest["inputs"]


def test_a_second_run_has_nothing_to_do(finished: Study) -> None:
    again = finished.snakemake("--cores", "1", "report")
    assert again.code == 0 and "Nothing to be done" in again.output


def test_a_figure_is_a_target_without_cores(finished: Study) -> None:
    asked = finished.snakemake(f"{SWEEP}/accuracy_vs_rank.png")
    assert asked.code == 0, asked.output
    assert "Nothing to be done" in asked.output


def test_base_inside_the_tuned_model_is_the_checkpoint(finished: Study) -> None:
    path = finished.root / "experiments/17-minigpt-train/best.pt"
    checkpoint = torch.load(path, weights_only=True)
    assert set(checkpoint) == {"format", "config", "tokenizer_sha256", "weights"}
    model = load_adapter(finished.root / HEADLINE / "adapter_final.pt", load_base(path))
    ids = torch.arange(8).unsqueeze(0)
    with torch.no_grad():
        assert not torch.equal(model(ids), load_base(path)(ids)), "the adapter has an effect"
    tensors = {
        name.replace(".base.", "."): tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith(("lora_A", "lora_B"))
    }
    assert tensors.keys() == checkpoint["weights"].keys()
    for name, tensor in checkpoint["weights"].items():
        assert torch.equal(tensors[name], tensor), name
    metrics = json.loads((finished.root / HEADLINE / "metrics.json").read_text())
    assert metrics["base_max_abs_diff"] == 0.0
    assert metrics["base_sha256"]["before"] == metrics["base_sha256"]["after"]


def test_gates_follow_from_the_items(finished: Study) -> None:
    def accuracy(file: str) -> float:
        with (finished.root / file).open() as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
        return sum(float(row["margin_nats"]) > 0 for row in rows) / len(rows)

    gates = json.loads((finished.root / HEADLINE / "gates.json").read_text())
    gain = 100 * (accuracy(f"{HEADLINE}/items.csv") - accuracy(f"{SWEEP}/base/items.csv"))
    assert gates["accuracy_gain_pp"]["value"] == pytest.approx(gain)


def test_gates_fails_on_a_failing_gate(finished: Study) -> None:
    gates = json.loads((finished.root / HEADLINE / "gates.json").read_text())
    assert not gates["accuracy_gain_pp"]["pass"], "the tiny base is too small to learn this"
    checked = finished.snakemake("--cores", "1", "gates")
    assert checked.code != 0
    assert "fails the gate accuracy_gain_pp" in checked.output
    assert "Traceback" not in checked.output
    assert "| `accuracy_gain_pp` |" in (finished.root / "REPORT.md").read_text()


def test_first_training_loss_is_the_same_at_every_rank(finished: Study) -> None:
    """B starts at zero, so before the first update all ranks have the base's loss on it."""

    def first_loss(rank: int) -> str:
        with (finished.root / SWEEP / f"rank-{rank}/seed-0/train_log.csv").open() as stream:
            return list(csv.DictReader(stream))[1]["train_loss"]

    assert first_loss(2) == first_loss(8)


def test_verify_finds_every_stage_current(finished: Study) -> None:
    verified = finished.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output
