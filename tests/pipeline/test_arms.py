"""The arms of a tiny study: which runs they share, what they write, and what reruns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from study import Study

STUDY = "experiments/28-lora-ablate-rank"
ARM = "experiments/28-lora-ablate-"
REPORT = "experiments/28-lora-ablations/REPORT.md"
ARMS: dict[str, Any] = {
    "scaling": {
        "enabled": True,
        "ranks": "sweep",
        "runs": {"fixed": {}, "proportional": {"lora": {"alpha_over_rank": 2}}},
    },
    "full": {
        "enabled": True,
        "ranks": "headline",
        "runs": {"lora": {}, "lr-1e-3": {"full": True}},
    },
    "variants": {
        "enabled": False,
        "ranks": "headline",
        "runs": {"dora": {"lora": {"use_dora": True}}},
    },
    "verbs": {
        "enabled": False,
        "ranks": "headline",
        "runs": {"none": {}, "go": {"held_out_verb": "go", "train": {"loraplus_lr_ratio": 4}}},
    },
}


@pytest.fixture(scope="module")
def ablated(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study with two arms run to their end. Copy it before changing anything."""
    study = finished.copy(tmp_path_factory.mktemp("ablations") / "study")
    study.write_config(study.config | {"ablations": ARMS})
    run = study.snakemake("--cores", "2", "ablations")
    assert run.code == 0, run.output
    # At ranks 2 and 8 with alpha 16, "proportional" is the study's at 8; "lora" always is.
    assert run.jobs.count("train") == run.jobs.count("evaluate") == 1
    assert run.jobs.count("train_full") == run.jobs.count("evaluate_full") == 1
    assert "pretrain_base" not in run.rules
    return study


def test_ablations_writes_a_folder_per_arm_that_verifies(ablated: Study) -> None:
    for arm in ("scaling", "full"):
        folder = ablated.root / f"{ARM}{arm}"
        for manifest, stage, output in (
            ("manifest.json", "compare", "summary.json"),
            ("plot_arm.manifest.json", "plot_arm", f"{arm}.png"),
        ):
            written = json.loads((folder / manifest).read_text())
            assert (written["stage"], list(written["outputs"])) == (stage, [f"{ARM}{arm}/{output}"])
    assert (ablated.root / "experiments/28-lora-ablations/learned_vs_forgotten.png").exists()
    assert not (ablated.root / f"{ARM}variants").exists()
    verified = ablated.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output
    for target in ("ablations", "report", "ablate_full"):
        assert ablated.snakemake("--cores", "1", target).rules == set()


def test_report_numbers_follow_from_the_items(ablated: Study) -> None:
    summary = json.loads((ablated.root / f"{ARM}scaling/summary.json").read_text())
    text = (ablated.root / REPORT).read_text()
    for row in summary["rows"]:
        lines = (ablated.root / row["folder"] / "items.csv").read_text().splitlines()
        header, *rows = (line.split(",") for line in lines)
        split, margin = header.index("split"), header.index("margin_nats")
        margins = [float(cells[margin]) for cells in rows if cells[split] == "test"]
        accuracy = sum(value > 0 for value in margins) / len(margins)
        assert row["accuracy"]["mean"] == pytest.approx(accuracy)
        start = rf"\| {row['run']} \| {row['rank']} \|"
        assert re.search(rf"{start}.*\| {100 * accuracy:.1f} % \[", text)


def test_only_full_fine_tuning_changes_the_base(ablated: Study) -> None:
    rows = json.loads((ablated.root / f"{ARM}full/summary.json").read_text())["rows"]
    lora, full = rows
    assert lora["base_max_abs_diff"] == 0.0 < full["base_max_abs_diff"]
    assert lora["size_ratio"] < full["size_ratio"] == pytest.approx(1, abs=0.05)
    base = torch.load(ablated.root / "experiments/17-minigpt-train/best.pt", weights_only=True)
    tuned = torch.load(ablated.root / f"{ARM}full/lr-1e-3/seed-0/model_final.pt", weights_only=True)
    assert tuned["config"] == base["config"] and tuned["weights"].keys() == base["weights"].keys()


def change_the_arm(study: Study) -> None:
    config = study.config
    config["ablations"]["scaling"]["runs"]["proportional"]["lora"]["alpha_over_rank"] = 3
    study.write_config(config)


def switch_an_arm_off(study: Study) -> None:
    config = study.config
    config["ablations"]["full"]["enabled"] = False
    study.write_config(config)


REPORTING = {"plot_ablations", "render_ablations"}


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        (
            change_the_arm,
            {"train": 2, "evaluate": 2, "compare": 1, "plot_arm": 1},
        ),  # at rank 8 no longer the study's run
        (switch_an_arm_off, {}),
    ],
)
def test_only_the_changed_runs_of_an_arm_run(
    ablated: Study, tmp_path: Path, change: Any, jobs: dict[str, int]
) -> None:
    study = ablated.copy(tmp_path / "study")
    change(study)
    verified = study.run("-m", "minituner", "verify")
    assert verified.code == 1
    command = verified.output.partition("To fix it:\n")[2].strip()
    assert command == "snakemake --cores 4 ablations"
    run = study.shell(command)
    assert run.code == 0, run.output
    assert {rule: run.jobs.count(rule) for rule in run.rules - REPORTING} == jobs
    assert run.rules >= REPORTING
    assert study.run("-m", "minituner", "verify").code == 0
    assert study.snakemake("--cores", "1", "report").rules == set()


def test_an_edit_of_plots_only_redraws_the_arms(ablated: Study, tmp_path: Path) -> None:
    study = ablated.copy(tmp_path / "study")
    with (study.root / "minituner/reporting/ablation_plots.py").open("a") as stream:
        stream.write("\n# a comment\n")
    run = study.snakemake("--cores", "2", "ablations")
    assert run.code == 0, run.output
    assert run.rules == {"plot_arm", *REPORTING}


def test_verify_calls_a_run_without_an_arm_left_over(ablated: Study, tmp_path: Path) -> None:
    study = ablated.copy(tmp_path / "study")
    config = study.config
    del config["ablations"]["scaling"]
    config["ranks"] = [8]
    study.write_config(config)
    run = study.snakemake("--cores", "2", "report", "ablations")
    assert run.code == 0, run.output
    assert not run.rules & {"train", "evaluate", "train_full", "evaluate_full"}
    verified = study.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output
    # Two manifests each: the arm's own run, the arm, and rank 2 of the study.
    assert "left over from a rank, an arm or a run" in verified.output
    assert "6 stages, such as experiments/28-lora-ablate-rank/rank-2/" in verified.output


def test_arms_on_request_run_when_requested(ablated: Study, tmp_path: Path) -> None:
    study = ablated.copy(tmp_path / "study")
    config = study.config
    config["ranks"] = [8]
    config["base"]["seeds"] = [5]
    config["ablations"]["verbs"]["enabled"] = True
    for arm in ("scaling", "full"):
        config["ablations"][arm]["enabled"] = False
    study.write_config(config)
    run = study.snakemake("--cores", "2", "ablations", "ablate_variants")
    assert run.code == 0, run.output
    assert run.jobs.count("train") == 3  # dora, without go, over another base
    assert run.jobs.count("pretrain_another_base") == run.jobs.count("evaluate_another_base") == 1
    assert "pretrain_base" not in run.rules
    bases = [
        (study.root / f"experiments/17-minigpt-train/{folder}best.pt").read_bytes()
        for folder in ("", "seed-5/")
    ]
    assert bases[0] != bases[1]
    text = (study.root / REPORT).read_text()
    for arm in ("verbs", "bases"):
        assert f"`snakemake ablate_{arm}`" in text
    assert (study.root / f"{ARM}variants/variants.png").exists()
    verbs = json.loads((study.root / f"{ARM}verbs/summary.json").read_text())
    assert verbs["held_out"]["sentences"] > 0
    adapter = torch.load(
        study.root / f"{ARM}variants/dora/rank-8/seed-0/adapter_final.pt", weights_only=True
    )
    assert adapter["config"]["use_dora"]
    assert {name.rpartition(".")[2] for name in adapter["weights"]} == {
        "lora_A",
        "lora_B",
        "magnitude",
    }
