"""After a crash the documented command finishes with the bytes of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

from kill_at_random import finish, interrupt, kill_all, kill_one_job, start
from study import Study


def assert_finishes_the_same(study: Study, finished: Study) -> None:
    run = finish(study)
    assert run.code == 0, run.output
    assert study.hashes() == finished.hashes()


def test_killed_pretraining_resumes_to_the_same_bytes(finished: Study, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    process = start(study)
    study.wait_for("experiments/17-minigpt-train/pretraining_state.pt")
    kill_all(process)
    run = finish(study)
    assert run.code == 0, run.output
    assert "pretraining resumes from step" in run.output
    assert study.hashes() == finished.hashes()


def test_interrupted_study_finishes_the_same(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    for path in (study.root / "experiments/28-lora-ablate-rank").rglob("adapter_final.pt"):
        path.unlink()
    process = start(study)
    study.wait_for("experiments/28-lora-ablate-rank/rank-2/seed-0/adapter_final.pt")
    interrupt(process)
    assert_finishes_the_same(study, finished)


def test_killed_job_is_left_to_the_next_command(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    (study.root / "experiments/28-lora-ablate-rank/rank-2/seed-0/adapter_final.pt").unlink()
    process = start(study)
    assert kill_one_job(process)
    assert process.returncode != 0
    assert_finishes_the_same(study, finished)
