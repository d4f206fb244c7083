"""A second study by --configfile replaces the first one's results only on explicit request."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from study import Run, Study

OVERLAY = "own/config.yaml"
OWN = ("--configfile", OVERLAY, "--")


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """A finished study, and an overlay with one more rank."""
    study = finished.copy(tmp_path / "study")
    (study.root / "own").mkdir()
    (study.root / OVERLAY).write_text("ranks: [2, 4, 8]\n")
    return study


def assert_refused(run: Run, made_with: str) -> None:
    assert run.code != 0
    assert run.jobs == []
    assert "minituner: error" in run.output
    assert f"found:    made with {made_with}\n" in run.output
    assert "Traceback" not in run.output


def test_second_study_is_refused_for_every_target(study: Study, finished: Study) -> None:
    shutil.rmtree(study.root / ".snakemake")  # otherwise Snakemake finds nothing to do
    for arguments in (["report"], ["--dry-run", "ablate_scaling"], ["--quiet", "all", "gates"]):
        *options, target = arguments
        assert_refused(study.snakemake("--cores", "2", *options, *OWN, target), "config.yaml")
    hashes = study.hashes()
    assert hashes.pop(OVERLAY)
    assert hashes == finished.hashes()
    assert study.snakemake("--cores", "2", "report").jobs == []


def test_overwrite_results_replaces_them(study: Study) -> None:
    refused = study.snakemake("--cores", "2", *OWN, "report")
    (command,) = re.findall(r"replace its results: (.*)", refused.output)
    forced = study.shell(command)
    assert forced.code == 0, forced.output
    report = (study.root / "REPORT.md").read_text(encoding="utf-8")
    assert "| 4 |" in report
    assert f"`make report CONFIG={OVERLAY}`" in report
    assert f"`snakemake --cores 4 --configfile {OVERLAY} -- report`" in report
    assert study.snakemake("--cores", "2", *OWN, "report").jobs == []
    assert study.run("-m", "minituner", "verify").code == 0

    # The first of these was not rerun, because both studies have the same base.
    shared = "experiments/17-minigpt-train/pretraining.json"
    figure = "experiments/28-lora-ablate-rank/accuracy_vs_rank.png"
    for file in (shared, figure):
        (study.root / file).unlink()
    verified = study.run("-m", "minituner", "verify")
    command = verified.output.partition("To fix it:\n")[2].strip()
    assert command == (
        f"snakemake --cores 4 --force --configfile {OVERLAY} -- {shared} {figure} && "
        f"snakemake --cores 4 --configfile {OVERLAY} -- report"
    )
    fixed = study.shell(command)
    assert fixed.code == 0, fixed.output
    assert "| 4 |" in (study.root / "REPORT.md").read_text(encoding="utf-8")
    for explicit in ([OVERLAY], ["config.yaml", OVERLAY]):
        assert study.run("-m", "minituner", "verify", "--config", *explicit).code == 0

    assert_refused(study.snakemake("--cores", "2", "report"), f"config.yaml and {OVERLAY}")
    checked = study.snakemake("--cores", "2", *OWN, "gates")
    assert "PASS  base_max_abs_diff" in checked.output


def test_interrupted_replacement_continues_only_as_the_same_study(study: Study) -> None:
    """The other study is then refused, not sent back and forth."""
    forced = ("--config", "overwrite_results=true", *OWN, "data/filtered/manifest.json")
    assert study.snakemake("--cores", "1", "--forcerun", "filter", *forced).code == 0
    assert_refused(study.snakemake("--cores", "2", "report"), f"config.yaml and {OVERLAY}")
    done = study.snakemake("--cores", "2", *OWN, "report")
    assert done.code == 0, done.output
    assert study.run("-m", "minituner", "verify").code == 0
