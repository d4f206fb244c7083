"""What `plan` predicts against what training does, in a small study without and with its files."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT
from tiny_models import tiny_folder

from minituner import commands
from minituner.cli.main import main
from minituner.data.pairs import SPLITS, TokenizedPair, pair_rows
from minituner.model import MiniGPT
from minituner.pipeline import paths
from minituner.pipeline.config import default_files, read_config
from minituner.pipeline.project import link_project
from minituner.planning import plan as planning
from minituner.planning.inputs import read_inputs
from minituner.planning.plan import Plan, plan_sweep
from minituner.storage.checkpoint import save_base
from minituner.storage.files import read_json, write_jsonl
from minituner.tokenizer import TextTokenizer, save_tokenizer
from minituner.train_seeds import train_setting

START = 1.5, 200_000_000  # seconds and bytes


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A small study in an empty folder, over the project's corpora."""
    config = read_config([ROOT / "config.yaml", ROOT / "tests/pipeline/tiny.yaml"])
    config["seeds"] = [0, 300]
    config["data"]["verbs"] = str(ROOT / "data/raw/verbs.yaml")
    config["data"]["corpus"] = str(ROOT / "data/processed/verb-corpus")
    config["base"]["corpus"] = str(ROOT / "data/processed/base-corpus")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "start_of_a_process", lambda *_: START)
    yield config
    commands.use_config_files([])


@pytest.fixture
def made(
    study: dict[str, Any], base: MiniGPT, tokenizer: TextTokenizer, pairs: list[TokenizedPair]
) -> dict[str, Any]:
    """The same once the base is pretrained and the pairs are tokenized."""
    for file in (paths.BASE, paths.tokenized("train")):
        Path(file).parent.mkdir(parents=True)
    save_tokenizer(tokenizer, paths.TOKENIZER)
    save_base(paths.BASE, base, paths.TOKENIZER)
    for name in SPLITS:
        write_jsonl(paths.tokenized(name), pair_rows(pairs * 7 if name == "train" else pairs))
    study["train"] |= {"batch_size": 4, "epochs": 2}
    Path("config.yaml").write_text(yaml.safe_dump(study))
    return study


def test_plan_knows_what_training_will_make(made: dict[str, Any], tmp_path: Path) -> None:
    base = Path(paths.BASE).read_bytes()
    plan = plan_sweep(made, cores=2)
    assert Path(paths.BASE).read_bytes() == base
    assert (plan.estimates, plan.train_pairs, plan.seeds) == ([], 42, 2)
    inputs = {name: paths.tokenized(name) for name in ("train", "val", "control")}
    inputs |= {"base": paths.BASE, "tokenizer": paths.TOKENIZER}
    lora = {key: value for key, value in made["lora"].items() if key != "rank"}
    for rank, row in zip((2, 8), plan.ranks, strict=True):
        out = tmp_path / f"out-{rank}"
        train_setting(inputs, {**made, "lora": lora}, rank, out / "training.json")
        summary = read_json(out / "training.json")
        assert row.rank == rank
        assert row.trained_weights == summary["trainable_parameters"]
        assert row.steps == summary["steps"] == 2 * 11
        files = [out / f"seed-{seed}/adapter_final.pt" for seed in (0, 300)]
        assert row.adapter_bytes == max(file.stat().st_size for file in files)
        assert row.size_ratio == row.adapter_bytes / len(base)
        assert row.gate_holds == (row.size_ratio < made["gates"]["adapter_size_ratio"])
        assert row.train_seconds > START[0] + 2 * row.steps * row.step_seconds > START[0]
    assert plan.total_seconds >= max(r.train_seconds + r.evaluate_seconds for r in plan.ranks)


def test_plan_before_anything_is_made_says_what_it_estimates(
    study: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--cores", "2"]) == 0
    output = capsys.readouterr().out
    assert "ESTIMATE: the base is not pretrained yet" in output
    assert "ESTIMATE: the pairs are not tokenized yet" in output
    assert "2 ranks x 2 seeds" in output
    assert "below 100 %" in output
    assert "The last run took" not in output
    made = [path.as_posix() for path in sorted(Path().rglob("*")) if path.is_file()]
    assert made == ["config.yaml", paths.PREDICTIONS]
    # The pairs that the default study has: 419 to train on, 53 and 52 to evaluate on.
    plan = plan_sweep(study, cores=2)
    assert plan.train_pairs == pytest.approx(419, rel=0.05)
    assert plan.ranks[0].steps == -(-plan.train_pairs // 16)


@pytest.fixture
def own(
    tmp_path: Path, tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """The config of a study of one's own in the folder "my study": plurals over a tiny Llama."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planning, "start_of_a_process", lambda *_: START)
    assert main(["init", "my study"]) == 0
    tiny_folder(tmp_path / "my study/llama", tokenizer)
    config = yaml.safe_load(Path("my study/config.yaml").read_text())
    config |= {"ranks": [2, 8], "lora": {"target_modules": ["all-linear"], "layers": "last 1"}}
    config["base"] = {"checkpoint": "llama", "corpus": None, "start_token": "<eos>"}
    write_config(config)
    yield config
    commands.use_config_files([])


def write_config(config: dict[str, Any]) -> None:
    Path("my study/config.yaml").write_text(yaml.safe_dump(config))


def test_plan_of_a_task_of_ones_own_over_a_transformers_model(
    own: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own["task"]["controls"]["texts"] = {"file": "data/texts.jsonl"}
    write_config(own)
    write_jsonl(
        Path("my study/data/texts.jsonl"), ({"text": f"It is {n} today."} for n in range(40))
    )
    assert main(["plan", "my study", "--cores", "2"]) == 0
    assert Path.cwd() == tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my study"]
    output = capsys.readouterr().out
    assert "2 ranks x 3 seeds" in output and "not pretrained" not in output
    assert "ESTIMATE: the pairs are not tokenized yet" in output
    assert list(read_json(Path("my study", paths.PREDICTIONS))) == ["rank 2", "rank 8"]
    d, key_value, hidden = 32, 16, 48  # of the model's last layer: seven linear layers
    in_and_out = 2 * (d + d) + 2 * (d + key_value) + 3 * (d + hidden)
    for rank in (2, 8):
        assert f"  {rank * in_and_out:,}  " in output
    pairs = len(Path("my study/data/pairs.jsonl").read_text().splitlines())
    (train,) = re.findall(r"on (\d+) training pairs", output)
    assert int(train) == pytest.approx(0.8 * pairs, abs=5)


def test_inputs_of_a_plan_are_those_of_the_pipeline(
    own: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("my study")
    link_project()
    config = read_config([*default_files(), "config.yaml"])
    inputs = read_inputs(config)
    assert inputs.base_bytes == Path("llama/model.safetensors").stat().st_size
    assert set(inputs.evaluated) == {"val", "test", "control", "probe"}
    assert inputs.splits["probe"] == [], "a task of one's own has none"
    eos = inputs.tokenizer.eos_id
    assert {pair.prompt_ids[0] for pair in inputs.splits["train"]} == {eos}, "base.start_token"
    prompts = {name: {p.prompt for p in pairs} for name, pairs in inputs.splits.items()}
    assert not prompts["train"] & (prompts["val"] | prompts["test"])
    assert own["base"]["checkpoint"] == "llama"


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("base", {"checkpoint": "lama"}, "lama: there is no such folder"),
        ("task", {"pairs": "data/none.jsonl"}, "data/none.jsonl: is not a task file"),
        ("compute", {"cache_bytes": -1}, "config.yaml: compute.cache_bytes"),
    ],
)
def test_plan_names_what_is_wrong_in_a_studys_folder(
    own: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    section: str,
    values: dict[str, Any],
    message: str,
) -> None:
    write_config({**own, section: {**own.get(section, {}), **values}})
    assert main(["plan", "my study"]) == 1
    assert message in capsys.readouterr().err


def test_plan_shows_the_last_run_next_to_the_prediction(
    made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(paths.training_benchmark(8))
    file.parent.mkdir(parents=True)
    file.write_text("s\tmax_rss\n83.6\tNA\n")
    assert main(["plan", "--cores", "2"]) == 0
    *_, heading, row = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0].strip() == "training"
    predicted = read_json(paths.PREDICTIONS)["rank 8"]
    assert row.split() == [
        *("rank", "8", f"{predicted['seconds']:.0f}", "84"),
        *(f"{predicted['memory_mb']:.0f}", "-"),
    ]
    assert made["ranks"] == [2, 8]


def test_plan_refuses_a_sweep_that_the_memory_cannot_hold(
    made: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def plan_with(available: int, cores: int = 2) -> Plan:
        monkeypatch.setattr(planning, "available_bytes", lambda _: available)
        return plan_sweep(made, cores)

    one_job = plan_with(10**12, cores=1)
    assert one_job.jobs_at_a_time == 1
    assert one_job.peak_bytes > START[1]
    plan_with(one_job.peak_bytes, cores=1).require_memory()
    assert main(["plan", "--cores", "2"]) == 1, "two jobs at a time"
    output, errors = capsys.readouterr()
    assert "trained weights" in output
    assert "too little memory for 2 jobs at a time" in errors and "--cores" in errors


def test_plan_refuses_a_bad_config_and_a_gpu_that_is_not_there(
    made: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for key, value, message in (
        ("device", "cuda", "config.yaml: compute.device: there is no GPU"),
        ("device", "gpu", "config.yaml: compute.device"),
        ("dtype", "bfloat16", "config.yaml: compute.dtype: is not for a MiniGPT"),
        ("max_tokens_per_batch", 0, "a whole number of at least 1, or null for no limit"),
    ):
        changed = {**made, "compute": {**made["compute"], key: value}}
        Path("config.yaml").write_text(yaml.safe_dump(changed))
        assert main(["plan"]) == 1
        assert message in capsys.readouterr().err


def test_help_of_plan_imports_nothing_heavy() -> None:
    code = (
        "import sys; from minituner.cli.main import main\n"
        "try: main(['plan', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'numpy', 'yaml', 'snakemake'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
    assert "--cores" in done.stdout
