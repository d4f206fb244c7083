"""The captions of Snakemake's report, filled in as it does."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import yaml
from example_results import CAPITALS
from project import ROOT

CAPTIONS = sorted((ROOT / "rules/captions").glob("*.rst"))


def caption(name: str, arm: str = "scaling", **changes: Any) -> str:
    """A caption on one line; Snakemake gives it the job's wildcards and the whole config."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")) | changes
    job = SimpleNamespace(config=config, wildcards=SimpleNamespace(arm=arm))
    text = (ROOT / f"rules/captions/{name}.rst").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    return " ".join(environment.from_string(text).render(snakemake=job).split())


@pytest.mark.parametrize("name", [path.stem for path in CAPTIONS])
def test_caption_is_one_paragraph(name: str) -> None:
    text = caption(name)
    assert text.endswith(".") and "{" not in text


@pytest.mark.parametrize("name", ["accuracy_vs_rank", "drift_vs_rank", "ablation"])
@pytest.mark.parametrize(("confidence", "words"), [(0.9, "90 %"), (0.975, "97.5 %")])
def test_caption_names_the_confidence(name: str, confidence: float, words: str) -> None:
    assert f"with {words} intervals" in caption(name, statistics={"confidence": confidence})


@pytest.mark.parametrize("name", [path.stem for path in CAPTIONS])
def test_caption_of_another_study_speaks_of_its_task(name: str) -> None:
    text = caption(name, task=CAPITALS)
    assert not re.search(r"regular|verb|went|English|past", text)
    assert "capital" in text or "rivers" in text or name in ("loss_curve_base", "scale_vs_rank")


def test_caption_of_an_arm_says_what_its_figure_shows() -> None:
    over_ranks, gain = "the size of the update, against the rank", "against the drift"
    assert over_ranks in caption("ablation", "scaling")
    assert over_ranks in caption("ablation", "bases"), "an arm of base.seeds"
    assert gain in caption("ablation", "targets")
    assert gain in caption("ablation", "scaling", ranks=[8])
