"""A second study by --configfile does not replace the first one's results without being told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from study import Study

OVERLAY = "own/config.yaml"
OWN = ("--configfile", OVERLAY, "--")
FORCED = ("--config", "overwrite_results=true", *OWN)


@pytest.fixture
def study(finished: Study, tmp_path: Path) -> Study:
    """A finished study, and an overlay with another rank beside it."""
    study = finished.copy(tmp_path / "study")
    (study.root / "own").mkdir()
    (study.root / OVERLAY).write_text("ranks: [2, 4, 8]\n")
    return study


def test_it_is_refused_before_anything_runs(study: Study, finished: Study) -> None:
    run = study.snakemake("--cores", "2", *OWN, "report")
    assert run.code != 0
    assert run.jobs == []
    assert "belongs to another study, whose results would be replaced" in run.output
    assert "found:    made with config.yaml\n" in run.output
    assert "Traceback" not in run.output
    hashes = study.hashes()
    assert hashes.pop(OVERLAY)
    assert hashes == finished.hashes()
    assert study.snakemake("--cores", "2", "report").jobs == []


def test_a_job_that_turns_out_to_be_needed_is_refused_too(study: Study) -> None:
    """What a checkpoint decides is not known at the start: each job looks again."""
    manifest = study.root / "experiments/28-lora-ablate-rank/manifest.json"
    theirs = json.loads(manifest.read_text()) | {"config_files": ["config.yaml", "other.yaml"]}
    manifest.write_text(json.dumps(theirs))
    study.edit("minituner/plots.py", '"""', '"""\n')
    run = study.shell(
        "python - <<'END'\n"
        "import re\n"
        "path = 'rules/common.smk'\n"
        "text = open(path).read()\n"
        "open(path, 'w').write(re.sub(r'onstart:\\n(    .*\\n)+', '', text))\n"
        "END\n"
        "snakemake --cores 1 report"
    )
    assert run.code != 0
    assert "found:    made with config.yaml and other.yaml\n" in run.output
    assert json.loads(manifest.read_text()) == theirs


def test_forced_it_replaces_them_and_every_command_is_its_own(study: Study) -> None:
    forced = study.snakemake("--cores", "2", *FORCED, "report")
    assert forced.code == 0, forced.output
    report = (study.root / "REPORT.md").read_text(encoding="utf-8")
    assert "| 4 |" in report
    assert f"`make report CONFIG={OVERLAY}`" in report
    assert f"`snakemake --cores 4 --configfile {OVERLAY} -- report`" in report
    assert study.snakemake("--cores", "2", *OWN, "report").jobs == []
    assert study.run("-m", "minituner", "verify").code == 0

    figure = "experiments/28-lora-ablate-rank/accuracy_vs_rank.png"
    (study.root / figure).unlink()
    verified = study.run("-m", "minituner", "verify")
    command = verified.output.partition("To mend it:\n")[2].strip()
    assert command == (
        f"snakemake --cores 4 --force --configfile {OVERLAY} -- {figure} && "
        f"snakemake --cores 4 --configfile {OVERLAY} -- report"
    )
    mended = study.shell(command)
    assert mended.code == 0, mended.output
    assert "| 4 |" in (study.root / "REPORT.md").read_text(encoding="utf-8")
    for explicit in ([OVERLAY], ["config.yaml", OVERLAY]):
        assert study.run("-m", "minituner", "verify", "--config", *explicit).code == 0

    back = study.snakemake("--cores", "2", "report")
    assert back.code != 0
    assert f"found:    made with config.yaml and {OVERLAY}\n" in back.output
    checked = study.snakemake("--cores", "2", *OWN, "gates")
    assert "PASS  base_max_abs_diff" in checked.output
