"""``predict`` over the folder of a model, and in a study of its own task over it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from torch import nn

from minituner import commands
from minituner.adapter_tensors import named_lora_parameters
from minituner.base_files import load_base_tokenizer
from minituner.bases import load_base_model
from minituner.cli.main import main
from minituner.data.encode import tokenize_pair
from minituner.data.task_file import read_task
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.pipeline.paths import ADAPTER
from minituner.scoring import ScoringBatches, score_pairs
from minituner.storage.adapter import save_adapter
from minituner.storage.tensors import weights_sha256


def write_adapter(folder: Path, path: Path) -> None:
    model = load_base_model(folder)
    sha256 = weights_sha256(model.state_dict())
    wrap(model, LoRAConfig(2, target_modules=("down_proj",)), 0)
    for parameter in named_lora_parameters(model).values():
        nn.init.normal_(parameter)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_adapter(path, model, sha256, 0)


@pytest.fixture
def arguments(folder: Path) -> list[str]:
    write_adapter(folder, folder / "a.safetensors")
    options = {"base": folder, "adapter": folder / "a.safetensors"}
    options["verbs"] = ROOT / "data/raw/verbs.yaml"
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_predict_over_a_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = ["predict", "He __ to school yesterday.", "--json", "--top", "2", *arguments]
    answers = []
    for more in ([], ["--start-token", "<unk>"]):
        assert main([*line, *more]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for prediction in answers:
        assert len(prediction["base"]) == len(prediction["tuned"]) == 2
        assert prediction["base"] != prediction["tuned"]
    assert answers[0]["base"] != answers[1]["base"]
    assert main([*line, "--start-token", "<|start|>"]) == 1
    assert "is not a token of the base" in capsys.readouterr().err


# --- in a study -----------------------------------------------------------------------------------

PAIRS = [
    {"prompt": "One mouse, two __ here.", "target": "mice", "wrong": ["mouses", "mouse"]},
    {"prompt": "The capital of France is", "target": "Paris", "wrong": "Lyon", "after": "."},
]


def study_over(folder: Path, scoring: str) -> Path:
    """A study of those pairs over a base outside it, with an adapter but no other results."""
    study = folder.parent / "study"
    study.mkdir(exist_ok=True)
    lines = (json.dumps(pair) + "\n" for pair in PAIRS)
    (study / "pairs.jsonl").write_text("".join(lines))
    config = {
        "task": {"pairs": "pairs.jsonl", "scoring": scoring},
        "base": {"checkpoint": f"../{folder.name}"},
    }
    (study / "config.yaml").write_text(json.dumps(config))
    write_adapter(folder, study / ADAPTER)
    return study


@pytest.fixture(autouse=True)
def no_study_afterwards() -> Iterator[None]:
    yield
    commands.use_study(commands.Study())


def answers_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["predict", "--json", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_predict_continues_prompts_without_a_blank(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_over(folder, "fill_in")
    prompts = [pair["prompt"] for pair in PAIRS]
    rows = answers_of(capsys, "--study", str(study), "--top", "2", *map(str, prompts))
    assert [row["prompt"] for row in rows] == prompts
    for row in rows:
        assert len(row["base"]) == len(row["tuned"]) == 2 and row["base"] != row["tuned"]
        assert all(
            answer.keys() == {"form", "after", "probability", "mark"} for answer in row["base"]
        )
    assert main(["predict", "--study", str(study), "One __ and __."]) == 1
    assert "the prompt has several blanks" in capsys.readouterr().err


def test_predict_compares_the_sentences_with_each_form_as_the_evaluation_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_over(folder, "sentence")
    (row,) = answers_of(capsys, "--study", str(study), str(PAIRS[0]["prompt"]))
    assert {a["form"]: a["mark"] for a in row["tuned"]} == {
        "mice": "right",
        "mouses": "wrong",
        "mouse": "wrong",
    }
    base = load_base_model(folder)
    tokenizer = load_base_tokenizer(folder, folder / "tokenizer.json")
    pairs = [p for p in read_task([study / "pairs.jsonl"]).pairs if p.correct == "mice"]
    tokenized = [tokenize_pair(pair, tokenizer, scoring="sentence") for pair in pairs]
    (score,) = score_pairs(base, ScoringBatches.of(tokenized, tokenizer.pad_id))
    shares = {answer["form"]: answer["probability"] for answer in row["base"]}
    assert sum(shares.values()) == pytest.approx(1)
    wrong = max(share for form, share in shares.items() if form != "mice")
    assert math.log(shares["mice"] / wrong) == pytest.approx(score.margin, abs=1e-4)
    # In another prompt all forms of the task compete.
    (row,) = answers_of(capsys, "--study", str(study), "--top", "9", "There are __.")
    assert {a["form"] for a in row["base"]} == {"mice", "mouses", "mouse", "Paris", "Lyon"}
    assert main(["predict", "--study", str(study), "There are __."]) == 0
    assert capsys.readouterr().out.startswith("There are __.\n  base  ")


def test_a_given_scoring_or_base_replaces_the_studys(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_over(folder, "sentence")
    words = ["--study", str(study), "There are __."]
    ranked, filled = answers_of(capsys, *words), answers_of(capsys, *words, "--scoring", "fill_in")
    assert ranked != filled
    assert answers_of(capsys, *words, "--base", str(folder)) == ranked
    verbs = str(ROOT / "data/raw/verbs.yaml")
    assert main(["predict", *words[:2], "--verbs", verbs, "The capital of France is"]) == 1
    assert "the prompt has no blank" in capsys.readouterr().err


def test_export_and_import_use_the_studys_base(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(study_over(folder, "fill_in"))
    peft, merged = str(folder.parent / "peft"), str(folder.parent / "merged")
    assert main(["export", "--to", "peft", peft, "--study", study]) == 0
    assert main(["export", "--to", "transformers", "--merge", merged, "--study", study]) == 0
    back = str(folder.parent / "back.safetensors")
    assert main(["import", "--from", "peft", peft, back, "--study", study]) == 0
    assert capsys.readouterr().err == ""
    config = json.loads(Path(peft, "adapter_config.json").read_text())
    assert Path(config["base_model_name_or_path"]).samefile(folder)
    words = ["--study", study, str(PAIRS[0]["prompt"])]
    assert answers_of(capsys, *words, "--adapter", back) == answers_of(capsys, *words)
