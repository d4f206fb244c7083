"""A study that the pipeline has made is compared and exported from another folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from study import Study

from minituner.errors import UserError
from minituner.interop.mlflow_export import export_studies
from minituner.reporting.comparison import compare_studies
from minituner.storage.files import sha256


def files_of(study: Study) -> dict[str, str]:
    """The sha256 of every file, of logs too: reading a study changes none."""
    return {str(path): sha256(path) for path in study.root.rglob("*") if path.is_file()}


def test_two_copies_of_a_study_do_not_differ(finished: Study, tmp_path: Path) -> None:
    copy, before = finished.copy(tmp_path / "copy"), files_of(finished)
    compare_studies([finished.root, copy.root], "accuracy", tmp_path / "out")
    page = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "**copy less finished**" in page
    for rank in (2, 8):
        assert f"| {rank} | +0.0 [" in page
    assert "| 1.000 | +0.00 [no interval] |" in page
    row = next(line for line in page.splitlines() if line.startswith("| 8 | copy |"))
    seconds, peak = (cell.strip() for cell in row.split("|")[-3:-1])
    assert seconds.isdigit() and int(peak) > 50
    assert files_of(finished) == before


def test_a_stale_study_is_not_compared(finished: Study, tmp_path: Path) -> None:
    copy = finished.copy(tmp_path / "copy")
    config = copy.config
    config["train"]["learning_rate"] = 0.5
    copy.write_config(config)
    with pytest.raises(UserError, match=r"config: train\.learning_rate has changed"):
        compare_studies([finished.root, copy.root], "accuracy", tmp_path / "out")


def test_a_study_is_exported_to_mlflow(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    export_studies([finished.root], tmp_path / "store", with_adapters=True)
    client = MlflowClient(tracking_uri=(tmp_path / "store").as_uri())
    (experiment,) = client.search_experiments()
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {
        "base",
        "sweep",
        *(f"rank-{rank}-seed-{seed}" for rank in (2, 8) for seed in (0, 1)),
    }
    run = runs["rank-8-seed-0"]
    folder = finished.root / "experiments/28-lora-ablate-rank/rank-8/seed-0"
    log = (folder / "train_log.csv").read_text().splitlines()
    losses = client.get_metric_history(run.info.run_id, "train_loss")
    assert [f"{point.step},{point.value:.6f}" for point in losses] == [
        ",".join(line.split(",")[:2]) for line in log[2:]
    ]
    adapter = client.download_artifacts(run.info.run_id, "adapter_final.safetensors")
    assert sha256(adapter) == sha256(folder / "adapter_final.safetensors")
    assert run.info.start_time > 0
    assert {"gate.accuracy_gain_pp", "gate.control_ppl_drift"} <= run.data.tags.keys()
    shown = {file.path for file in client.list_artifacts(runs["sweep"].info.run_id)}
    assert shown >= {"REPORT.md", "summary.json", "accuracy_vs_rank.png", "drift_vs_rank.png"}
