from __future__ import annotations

import pytest
from study import Study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A tiny study that has run to its end. Copy it before changing anything."""
    study = Study.create(tmp_path_factory.mktemp("pipeline") / "finished")
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    return study
