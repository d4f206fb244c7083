"""The pipeline over the folder of a tiny Llama, made on the spot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from study import Study
from tiny_models import save_folder, tiny_folder, tiny_network

from minituner.data.corpus import corpus_files, read_rows
from minituner.data.rows import base_text
from minituner.data.verbs import load_verbs
from minituner.storage.files import sha256, sha256_of_all
from minituner.tokenizer import TextTokenizer, train_tokenizer

AFTER_TOKENIZE = {"train", "evaluate_base", "evaluate", "headline", "summarize", "plot", "render"}
WHOLE = {"filter", "split", "tokenize", "cost"} | AFTER_TOKENIZE


@pytest.fixture(scope="module")
def words() -> TextTokenizer:
    """A tokenizer that knows the corpus."""
    root = Path(__file__).parent.parent.parent
    rows = read_rows(
        corpus_files(root / "data/processed/verb-corpus"), load_verbs(root / "data/raw/verbs.yaml")
    )
    return train_tokenizer((base_text(row) for _, row in zip(range(2000), rows, strict=False)), 600)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, words: TextTokenizer) -> Study:
    """A study over a Llama in two shards, run to its end."""
    study = Study.create(tmp_path_factory.mktemp("hf") / "study")
    save_folder(
        study.root / "own/llama", tiny_network("llama", words), words, max_shard_size="80KB"
    )
    config = study.config
    config["base"] |= {"checkpoint": "own/llama", "tokenizer": None, "corpus": None}
    config |= {"ranks": [2], "seeds": [0]}
    config["lora"] |= {"rank": 2, "target_modules": ["mlp.down_proj"]}
    study.write_config(config)
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert run.rules == WHOLE
    return study


def manifest_of(study: Study, file: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((study.root / file).read_text())
    return content


def test_nothing_reruns_and_everything_is_verified(study: Study) -> None:
    assert study.snakemake("--cores", "2", "report").rules == set()
    verified = study.run("-m", "minituner", "verify")
    assert verified.code == 0, verified.output


def test_manifests_name_every_file_of_the_folder(study: Study) -> None:
    folder = study.root / "own/llama"
    files = sorted(path for path in folder.iterdir() if path.name != "generation_config.json")
    assert len([path for path in files if path.suffix == ".safetensors"]) >= 2
    hashes = {path.relative_to(study.root).as_posix(): sha256(path) for path in files}
    manifest = manifest_of(study, "experiments/28-lora-ablate-rank/rank-2/train.manifest.json")
    inputs = manifest["inputs"]
    assert isinstance(inputs, dict) and hashes.items() <= inputs.items()
    assert manifest["base_checkpoint_sha256"] == sha256_of_all(hashes)
    versions = manifest["versions"]
    assert isinstance(versions, dict) and "transformers" in versions
    tokenized = manifest_of(study, "data/tokenized/manifest.json")["inputs"]
    assert isinstance(tokenized, dict)
    read = {Path(file).name for file in tokenized if file.startswith("own/")}
    assert read == {"config.json", "tokenizer.json", "tokenizer_config.json"}


def test_results_are_over_the_folders_base(study: Study) -> None:
    metrics = manifest_of(study, "experiments/28-lora-ablate-rank/rank-2/metrics.json")
    runs = metrics["runs"]
    assert isinstance(runs, list)
    assert runs[0]["base_max_abs_diff"] == 0
    assert runs[0]["base_sha256"]["before"] == runs[0]["base_sha256"]["after"]
    stored = sum(path.stat().st_size for path in (study.root / "own/llama").glob("*.safetensors"))
    adapter = study.root / "experiments/28-lora-ablate-rank/rank-2/seed-0/adapter_final.pt"
    assert metrics["size_ratio"] == adapter.stat().st_size / stored
    assert "own/llama" in (study.root / "REPORT.md").read_text()


def test_only_what_changed_reruns(study: Study, words: TextTokenizer, tmp_path: Path) -> None:
    study = study.copy(tmp_path / "study")
    shutil.rmtree(study.root / ".snakemake/minituner-hashes", ignore_errors=True)
    (study.root / "own/llama/config.json").touch()  # the same bytes
    assert study.snakemake("--cores", "2", "report").rules <= {"tokenize"}
    other = tiny_folder(tmp_path / "other", words, seed=1)
    for path in (study.root / "own/llama").glob("model*"):
        path.unlink()
    shutil.copy(other / "model.safetensors", study.root / "own/llama")
    verified = study.run("-m", "minituner", "verify")
    assert verified.code != 0
    assert "own/llama/model.safetensors.index.json is gone" in verified.output
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert run.rules == AFTER_TOKENIZE | {"cost"}
    config = study.config
    config["base"]["start_token"] = "<unk>"
    study.write_config(config)
    run = study.snakemake("--cores", "2", "report", "-n")
    assert "tokenize" in run.rules and "filter" not in run.rules


def test_all_weights_can_be_trained(study: Study, tmp_path: Path) -> None:
    study = study.copy(tmp_path / "study")
    target = "experiments/28-lora-ablate-full/lr-3e-6/metrics.json"
    run = study.snakemake("--cores", "2", target)
    assert run.code == 0, run.output
    assert run.rules == {"train_full", "evaluate_full"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", "is not complete"),
        ("no tokenizer", "own/llama/tokenizer.json: there is no such file"),
        ("start token", "base.start_token: is not a token of the base"),
        ("targets", "lora.target_modules.0: the base has no such layer"),
        ("long", "choose a base that reads longer texts"),
    ],
)
def test_folder_that_cannot_be_used_is_refused(
    study: Study, tmp_path: Path, damage: str, message: str
) -> None:
    study = study.copy(tmp_path / "study")
    folder, config = study.root / "own/llama", study.config
    if damage == "truncate":
        shard = next(folder.glob("*.safetensors"))
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    elif damage == "start token":
        config["base"]["start_token"] = "<|start|>"
        study.write_config(config)
    elif damage == "targets":
        config["lora"]["target_modules"] = ["mlp.fc2"]
        study.write_config(config)
    else:
        settings = json.loads((folder / "config.json").read_text())
        settings["max_position_embeddings"] = 12
        (folder / "config.json").write_text(json.dumps(settings))
    run = study.snakemake("--cores", "2", "report")
    assert run.code != 0
    assert message in run.output
    assert "Traceback" not in run.output
