"""What ``export --to mlflow`` writes is read back with MLflow's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from finished_study import SWEEP, always, write_setting, write_study

from minituner.__main__ import main
from minituner.errors import UserError
from minituner.interop.mlflow_export import export_studies
from minituner.interop.mlflow_store import RECORD
from minituner.storage.files import write_json, write_text

ARMS = {
    "scaling": {
        "enabled": True,
        "ranks": "headline",
        "runs": {
            "fixed": {},
            "larger": {"lora": {"alpha": 64}},
            "never-run": {"lora": {"alpha": 128}},
        },
    }
}
LARGER = "experiments/28-lora-ablate-scaling/larger/rank-8"


@pytest.fixture(autouse=True, scope="module")
def _file_store() -> Iterator[None]:
    """MLflow opens file stores only if asked to, and would report its use over the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


def study_with_an_arm(folder: Path) -> Path:
    """A study with an arm, of which one run has run; it knows when one of its stages ran."""
    write_study(folder, always(True), ablations=ARMS)
    write_setting(folder, LARGER, 8, **{"lora.alpha": 64})
    write_text(folder / "experiments/28-lora-ablate-scaling/scaling.png", "the arm's figure")
    environment = {"started": "2026-11-25T20:00:00Z", "wall_seconds": 1.5, "git": "abc123"}
    write_json(folder / f"{SWEEP}/rank-2/train.environment.json", environment)
    return folder


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Such a study, which may be changed."""
    return study_with_an_arm(tmp_path / "mine")


class Store:
    """A file store as MLflow's client reads it."""

    def __init__(self, folder: Path) -> None:
        from mlflow.tracking import MlflowClient  # here: it takes seconds

        self.client = MlflowClient(tracking_uri=folder.resolve().as_uri())
        self.experiments = self.client.search_experiments()
        ids = [experiment.experiment_id for experiment in self.experiments]
        found = self.client.search_runs(ids, max_results=1000)
        self.names = sorted(run.info.run_name for run in found)
        self.runs: dict[str, Any] = {run.info.run_name: run for run in found}

    def history(self, run: str, metric: str) -> list[tuple[int, float]]:
        points = self.client.get_metric_history(self.runs[run].info.run_id, metric)
        return [(point.step, point.value) for point in points]

    def artifacts(self, run: str) -> set[str]:
        return {file.path for file in self.client.list_artifacts(self.runs[run].info.run_id)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a study, exported to ``store`` next to it."""
    folder = study_with_an_arm(tmp_path_factory.mktemp("exported") / "mine")
    export_studies([folder], folder.parent / "store")
    return folder


@pytest.fixture(scope="module")
def store(exported: Path) -> Store:
    """That export as MLflow reads it."""
    return Store(exported.parent / "store")


def test_there_is_a_run_per_rank_and_seed_of_the_base_the_sweep_and_the_arms(store: Store) -> None:
    assert [experiment.name for experiment in store.experiments] == ["irregular verbs"]
    assert store.experiments[0].tags["outcome"] == "ceiling"
    seeds = (0, 1)
    assert store.names == sorted(
        [
            "base",
            "sweep",
            *(f"rank-{rank}-seed-{seed}" for rank in (2, 8) for seed in seeds),
            *(f"scaling-larger-rank-8-seed-{seed}" for seed in seeds),
        ]
    )


def test_parameters_are_the_settings_of_the_run(store: Store) -> None:
    parameters = store.runs["rank-2-seed-1"].data.params
    assert (
        parameters.items()
        >= {
            "rank": "2",
            "scaling": "8.0",
            "seed": "1",
            "steps": "3",
            "lora.alpha": "16",
            "lora.dropout": "0.05",
            "lora.target_modules": '["mlp.fc2"]',
            "train.learning_rate": "0.0001",
            "trained_parameters": "200",
            "base_sha256": "a" * 64,
        }.items()
    )
    assert "seeds" not in parameters
    larger = store.runs["scaling-larger-rank-8-seed-0"].data
    assert larger.params["lora.alpha"] == "64"
    assert larger.tags.items() >= {"kind": "ablation", "arm": "scaling"}.items()
    assert store.runs["base"].data.params["base_sha256"] == "a" * 64


def test_metrics_have_their_steps(store: Store) -> None:
    assert store.history("rank-8-seed-1", "train_loss") == [(1, 0.4), (2, 0.11)]
    assert store.history("rank-8-seed-1", "val_loss") == [(0, 0.5), (2, 0.3)]
    assert store.history("rank-8-seed-0", "control_perplexity") == [(0, 2.5)]
    assert store.history("sweep", "accuracy/mean") == [(2, 1.0), (8, 1.0)]
    assert store.history("sweep", "gain/mean") == [(2, 1.0), (8, 1.0)]


def test_final_metrics_are_those_of_the_evaluation(store: Store) -> None:
    metrics = store.runs["rank-2-seed-1"].data.metrics
    assert (
        metrics.items()
        >= {
            "test/accuracy": 0.5,
            "test/greedy_accuracy": 0.75,
            "test/margin_nats": 2.0,
            "control/drift_text": 0.02,
            "control/perplexity_target": 2.25,
            "probe/failed": 1.0,
            "base_max_abs_diff": 0.0,
        }.items()
    )
    base = store.runs["base"].data.metrics
    assert base["test/margin_nats"] == -1.0
    assert not any("drift" in name for name in base)
    headline, other = (store.runs[f"rank-8-seed-{seed}"].data for seed in (0, 1))
    assert headline.metrics["gate/accuracy_gain_pp"] == 48.5
    assert headline.tags["gate.accuracy_gain_pp"] == "pass: must be >= 10"
    assert not any(name.startswith("gate") for name in (*other.metrics, *other.tags))


def test_cost_is_exported_where_it_was_measured(study: Path, tmp_path: Path) -> None:
    file = "logs/train/28-lora-ablate-rank/rank-2.benchmark.tsv"
    write_text(study / file, "s\th:m:s\tmax_rss\n12.5\t0:00:12\t-\n")
    export_studies([study], tmp_path / "store")
    metrics = Store(tmp_path / "store").runs["rank-2-seed-0"].data.metrics
    assert metrics["cost/seconds_all_seeds"] == 12.5
    assert "cost/peak_mb" not in metrics


def test_times_and_commit_are_those_of_the_training(store: Store) -> None:
    known, unknown = (store.runs[f"rank-{rank}-seed-0"] for rank in (2, 8))
    begin = 1_795_636_800_000  # date -u -d 2026-11-25T20:00:00Z +%s
    assert (known.info.start_time, known.info.end_time) == (begin, begin + 1500)
    assert known.data.tags["git"] == "abc123"
    assert (unknown.info.start_time, unknown.info.end_time) == (0, 0)
    assert known.info.status == "FINISHED"


def test_artifacts_are_small_files_and_adapters_if_asked(
    exported: Path, store: Store, tmp_path: Path
) -> None:
    assert store.artifacts("rank-2-seed-0") == {
        "metrics.json",
        "training.json",
        "train_log.csv",
        "train.manifest.json",
        "evaluate.manifest.json",
    }
    headline = {"gates.json", "loss_curve.png", "headline.manifest.json"}
    assert store.artifacts("rank-8-seed-0") >= headline
    assert store.artifacts("sweep") >= {"summary.json", "ablations"}
    sweep = store.runs["sweep"].info.run_id
    arm = store.client.download_artifacts(sweep, "ablations/scaling.png")
    assert Path(arm).read_text() == "the arm's figure"
    run = store.runs["rank-8-seed-1"].info
    log = Path(store.client.download_artifacts(run.run_id, "train_log.csv"))
    assert log.read_bytes() == (exported / f"{SWEEP}/rank-8/seed-1/train_log.csv").read_bytes()

    export_studies([exported], tmp_path / "with", with_adapters=True)
    adapters = Store(tmp_path / "with")
    path = adapters.client.download_artifacts(
        adapters.runs["rank-8-seed-1"].info.run_id, "adapter_final.safetensors"
    )
    assert Path(path).read_text() == "adapter of rank 8, seed 1"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_exporting_twice_gives_the_same_store(study: Path, tmp_path: Path) -> None:
    export_studies([study], tmp_path / "store")
    first = contents(tmp_path / "store")
    Store(tmp_path / "store")  # MLflow adds folders to a store that it opens
    assert (tmp_path / "store/.trash").is_dir()
    export_studies([study], tmp_path / "store")
    assert contents(tmp_path / "store") == first


def test_two_studies_of_one_task_are_two_experiments(study: Path, tmp_path: Path) -> None:
    other = write_study(tmp_path / "other", always(False))
    export_studies([study, other], tmp_path / "store")
    store = Store(tmp_path / "store")
    names = {experiment.name for experiment in store.experiments}
    assert names == {"irregular verbs (mine)", "irregular verbs (other)"}
    assert store.names.count("base") == 2
    assert len({run.info.run_id for run in store.runs.values()}) == len(store.runs)


def test_a_changed_or_foreign_folder_is_kept(study: Path, tmp_path: Path) -> None:
    export_studies([study], tmp_path / "store")
    (meta,) = (tmp_path / "store").glob("*/meta.yaml")
    meta.write_text(meta.read_text().replace("irregular verbs", "renamed"))
    before = contents(tmp_path / "store")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/notes.txt").write_text("mine")
    for folder, named in (("store", "meta.yaml"), ("foreign", "notes.txt")):
        with pytest.raises(UserError, match="cannot be replaced by an export") as refused:
            export_studies([study], tmp_path / folder)
        assert named in str(refused.value)
    assert contents(tmp_path / "store") == before


@pytest.mark.parametrize("text", ["{}", "[]", '{"kind": "peft", "files": {}}', "not JSON"])
def test_another_record_is_no_earlier_export(study: Path, tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "store" / RECORD, text)
    with pytest.raises(UserError, match="cannot be replaced by an export"):
        export_studies([study], tmp_path / "store")


def test_an_edited_adapter_is_not_exported(study: Path, tmp_path: Path) -> None:
    adapter = study / f"{SWEEP}/rank-8/seed-1/adapter_final.safetensors"
    for damage in (lambda: adapter.write_text("other"), adapter.unlink):
        damage()
        with pytest.raises(UserError, match="cannot be exported") as refused:
            export_studies([study], tmp_path / "store", with_adapters=True)
        assert f"minituner run {study}" in str(refused.value)
        assert not (tmp_path / "store").exists()
    export_studies([study], tmp_path / "store")


def test_an_edited_run_of_an_arm_is_refused(study: Path, tmp_path: Path) -> None:
    write_json(study / f"{LARGER}/metrics.json", {})
    with pytest.raises(UserError, match="its results are not current") as refused:
        export_studies([study], tmp_path / "store")
    assert f"{LARGER}/metrics.json was edited" in str(refused.value)


def test_the_command_prints_how_to_open_the_store(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    assert main(["export", "--to", "mlflow", "../my store"]) == 0
    command = "MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri '../my store'\n"
    assert capsys.readouterr().out == command
    assert Store(Path("../my store")).names.count("base") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(["export", "--to", "mlflow", "../my store"]) == 0
    assert "pip install 'minituner[mlflow]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "mlflow", "--merge"], "--merge: cannot be used with --to mlflow"),
        (["--to", "peft", "--with-adapters"], "--with-adapters: cannot be used with --to peft"),
        (["--to", "mlflow", "--study", "."], ".: is not a study"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "store", *arguments]) == 1
    assert message.removeprefix(".") in capsys.readouterr().err
    assert not Path("store").exists()
