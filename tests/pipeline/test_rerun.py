"""The rerun contract: which rules run after a change, through the command line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from study import Study

DATA = {"filter", "split", "tokenize"}
AFTER_TRAINING = {"evaluate", "headline", "summarize", "plot", "render", "cost"}
BASE = {"train_tokenizer", "pretrain_base", "plot_pretraining", "evaluate_base"}
IRREGULAR = "data/processed/verb-corpus/irregular.jsonl"


def touch_everything(study: Study) -> None:
    for folder in ("data/raw", "data/processed", "minituner", "workflow_scripts", "rules"):
        for path in (study.root / folder).rglob("*"):
            if path.is_file():
                path.touch()
    (study.root / "config.yaml").touch()
    (study.root / "Snakefile").touch()


def add_present_row(study: Study) -> None:
    path = study.root / "data/processed/verb-corpus/other_tenses.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[0]) | {"id": "one-more-row"}
    path.write_text("\n".join([*lines, json.dumps(row)]) + "\n", encoding="utf-8")


def add_comment_field(study: Study) -> None:
    study.edit(IRREGULAR, '{"id"', '{"comment": "checked by hand", "id"')


def reverse_rows(study: Study) -> None:
    path = study.root / IRREGULAR
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")


def edit_training_sentence(study: Study) -> None:
    splits = (study.root / "data/splits/train.jsonl").read_text(encoding="utf-8").splitlines()
    pair = next(p for p in map(json.loads, splits) if "irregular.jsonl" in p["source"])
    prompt = pair["prompt"]
    path = study.root / IRREGULAR
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["prompt"] == prompt:
            for field in ("prompt", "text"):
                row[field] = row[field].removesuffix(".") + " indeed."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def edit_base_corpus(study: Study) -> None:
    path = study.root / "data/processed/base-corpus/plain.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")


def add_rank(study: Study) -> None:
    study.write_config(study.config | {"ranks": [2, 8, 16]})


def change_learning_rate(study: Study) -> None:
    config = study.config
    config["train"]["learning_rate"] = 0.002
    study.write_config(config)


def add_comment(file: str) -> Callable[[Study], None]:
    def edit(study: Study) -> None:
        with (study.root / file).open("a") as stream:
            stream.write("\n# a comment\n")

    return edit


def edit_color(study: Study) -> None:
    text = (study.root / "minituner/reporting/figures.py").read_text(encoding="utf-8")
    color = re.search(r"#[0-9A-Fa-f]{6}\b", text)
    assert color, "the figures' colors are in figures.py"
    study.edit("minituner/reporting/figures.py", color[0], "#123456")


def allow_pairs_too_long(study: Study) -> None:
    config = study.config
    config["data"]["max_share_too_long"] = 0.01
    study.write_config(config)


def allow_another_control(study: Study) -> None:
    config = study.config
    config["data"]["split"]["max_length_difference_words"] += 0.25
    study.write_config(config)


def rename_task(study: Study) -> None:
    config = study.config
    config["task"]["name"] = "past forms"
    study.write_config(config)


CONTRACT: list[tuple[str, Callable[[Study], None], set[str]]] = [
    ("touched", touch_everything, set()),
    ("present row added", add_present_row, DATA),
    ("comment field added", add_comment_field, DATA),
    ("rows reordered", reverse_rows, DATA),
    (
        "training sentence edited",
        edit_training_sentence,
        DATA | {"train", "evaluate_base"} | AFTER_TRAINING,
    ),
    (
        "base corpus edited",
        edit_base_corpus,
        (DATA - {"filter"}) | BASE | {"train"} | AFTER_TRAINING,
    ),
    ("more pairs may be too long", allow_pairs_too_long, {"tokenize"}),
    ("control may be less like the rest", allow_another_control, {"tokenize"}),
    ("rank added", add_rank, {"train", "evaluate", "summarize", "plot", "render", "cost"}),
    ("learning rate changed", change_learning_rate, {"train"} | AFTER_TRAINING),
    (
        "plots.py edited",
        add_comment("minituner/reporting/plots.py"),
        {"plot", "plot_pretraining", "render"},
    ),
    (
        "color edited",
        edit_color,
        {"plot", "plot_pretraining", "render"},
    ),
    (
        "bootstrap edited",
        add_comment("minituner/statistics/intervals.py"),
        {"summarize", "plot", "render"},
    ),
    ("task renamed", rename_task, {"plot", "render"}),
    ("template edited", add_comment("minituner/reporting/templates/REPORT.md.j2"), {"render"}),
    (
        "lora.py edited",
        add_comment("minituner/lora.py"),
        {"train", "evaluate_base"} | AFTER_TRAINING,
    ),
    (
        "fast path edited",
        add_comment("minituner/fast/packed.py"),
        (BASE - {"train_tokenizer"}) | {"train"} | AFTER_TRAINING,
    ),
]


@pytest.mark.parametrize(
    ("change", "rules"), [c[1:] for c in CONTRACT], ids=[c[0] for c in CONTRACT]
)
def test_only_what_changed_runs(
    finished: Study, tmp_path: Path, change: Callable[[Study], None], rules: set[str]
) -> None:
    study = finished.copy(tmp_path / "study")
    change(study)
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert run.rules == rules
    if rules and "evaluate" not in rules and "render" not in rules:
        assert (study.root / "REPORT.md").read_bytes() == (finished.root / "REPORT.md").read_bytes()
    assert study.snakemake("--cores", "1", "report").rules == set()
    verified = study.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output


def test_deleted_snakemake_folder_changes_nothing(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    shutil.rmtree(study.root / ".snakemake")
    again = study.snakemake("--cores", "2", "report")
    assert again.code == 0, again.output
    assert study.hashes() == finished.hashes()

    add_rank(study)
    more = study.snakemake("--cores", "2", "report")
    assert more.code == 0, more.output
    assert {"train", "evaluate", "summarize", "plot", "render"} <= more.rules
    assert "| 16 |" in (study.root / "REPORT.md").read_text()
    assert study.run("-m", "minituner", "verify").code == 0


SWEEP = "experiments/28-lora-ablate-rank"


@pytest.mark.parametrize(
    "file",
    [
        "data/splits/train.jsonl",
        "data/tokenized/test.jsonl",
        "experiments/17-minigpt-train/best.pt",
        f"{SWEEP}/rank-2/metrics.json",
        f"{SWEEP}/summary.json",
        f"{SWEEP}/accuracy_vs_rank.png",
        "REPORT.md",
    ],
)
@pytest.mark.parametrize("damage", ["deleted", "edited"])
def test_verify_names_a_damaged_file_and_the_command_that_repairs_it(
    finished: Study, tmp_path: Path, file: str, damage: str
) -> None:
    study = finished.copy(tmp_path / "study")
    if damage == "deleted":
        (study.root / file).unlink()
    else:
        with (study.root / file).open("ab") as stream:
            stream.write(b"\n")
    verified = study.run("-m", "minituner", "verify")
    assert verified.code == 1
    assert {"deleted": f"missing: {file}", "edited": f"edited by hand: {file}"}[damage] in (
        verified.output
    )
    command = verified.output.partition("To fix it:\n")[2].strip()
    fixed = study.shell(command)
    assert fixed.code == 0, fixed.output
    assert study.run("-m", "minituner", "verify").code == 0
    assert study.hashes() == finished.hashes()


def test_bytes_do_not_depend_on_the_folder_or_the_cores(finished: Study, tmp_path: Path) -> None:
    other = Study.create(tmp_path / "elsewhere")
    run = other.snakemake("--cores", "1", "report")
    assert run.code == 0, run.output
    assert other.hashes() == finished.hashes()


def test_another_number_of_cores_reruns_nothing(finished: Study) -> None:
    assert finished.snakemake("--cores", "4", "report").rules == set()


def test_a_failed_job_loses_nothing(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    config = study.config
    config["train"]["learning_rate"] = 1e30
    study.write_config(config)
    failed = study.snakemake("--cores", "2", "report")
    assert failed.code != 0
    assert "the loss is no longer finite" in failed.output
    assert "Traceback" not in failed.output
    assert study.hashes() == finished.hashes()

    study.write_config(finished.config)
    fixed = study.snakemake("--cores", "2", "report")
    assert fixed.code == 0, fixed.output
    assert study.hashes() == finished.hashes()
