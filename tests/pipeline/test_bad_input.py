"""Bad input through the command line: refused with a message, and no result is lost."""

from __future__ import annotations

import itertools
import json
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from study import Run, Study

from minituner.compute import gpu_count

CORPUS = "data/processed/verb-corpus"
IRREGULAR = f"{CORPUS}/irregular.jsonl"
CORRECTIONS = f"{CORPUS}/corrections.jsonl"
BASE_CORPUS = "data/processed/base-corpus/fill_in.jsonl"
PRETRAINED = "experiments/17-minigpt-train"
SWEEP = "experiments/28-lora-ablate-rank"
Change = Callable[[Study], None]


@pytest.fixture(scope="module")
def shared(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One copy for all refused inputs; a refusal must not change it."""
    return finished.copy(tmp_path_factory.mktemp("bad") / "study")


@pytest.fixture
def study(shared: Study, finished: Study) -> Iterator[Study]:
    """The shared copy; its sources are restored afterwards."""
    yield shared
    for part in ("data/raw", "data/processed"):
        shutil.rmtree(shared.root / part, ignore_errors=True)
        shutil.copytree(finished.root / part, shared.root / part, copy_function=shutil.copy)
    shared.write_config(finished.config)


def assert_refused(run: Run, *words: str) -> None:
    assert run.code != 0, run.output
    assert "minituner: error" in run.output
    message = run.output.partition("minituner: error")[2]
    for word in (*words, "found:", "expected:", "fix:"):
        assert word in message, f"{word!r} is not in:\n{run.output}"
    assert "Traceback" not in run.output


def results(study: Study) -> dict[str, str]:
    return {
        name: digest
        for name, digest in study.hashes().items()
        if name.startswith("experiments/") or name == "REPORT.md"
    }


# --- the corpus ---------------------------------------------------------------------------------


def with_line(file: str, number: int, edit: Callable[[dict[str, Any]], object]) -> Change:
    """Replace one line by ``edit`` of its row; a string is written unchanged."""

    def change(study: Study) -> None:
        path = study.root / file
        lines = path.read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[number - 1])
        made = edit(row)
        lines[number - 1] = made if isinstance(made, str) else json.dumps(made)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return change


def without(field: str) -> Callable[[dict[str, Any]], object]:
    return lambda row: {key: value for key, value in row.items() if key != field}


def invalid_utf8(study: Study) -> None:
    path = study.root / IRREGULAR
    path.write_bytes(path.read_bytes().replace(b"They", b"Th\xffey", 1))


def empty_file(study: Study) -> None:
    (study.root / IRREGULAR).write_text("")


def no_file(study: Study) -> None:
    shutil.rmtree(study.root / CORPUS)


def empty_folder(study: Study) -> None:
    for path in (study.root / CORPUS).iterdir():
        path.unlink()


def few_irregular_rows(study: Study) -> None:
    path = study.root / IRREGULAR
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:2]))
    (path.parent / "corrections.jsonl").unlink()


def few_regular_rows(study: Study) -> None:
    path = study.root / CORPUS / "regular.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:90]))


def prompt_in_two_splits(study: Study) -> None:
    """Give a regular verb the prompt of an irregular one."""
    lines = (study.root / IRREGULAR).read_text(encoding="utf-8").splitlines()
    prompt = next(p for p in (json.loads(x)["prompt"] for x in lines) if p.endswith("ago."))
    path = study.root / CORPUS / "regular.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["verb_lemma"] == "walk" and row["tense"] == "past_simple":
            row |= {"prompt": prompt, "text": prompt.replace("__", "walked")}
            break
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def prompt_in_the_base_corpus(study: Study) -> None:
    first = (study.root / IRREGULAR).read_text(encoding="utf-8").splitlines()[0]
    path = study.root / BASE_CORPUS
    row = json.dumps(json.loads(first) | {"id": "planted"})
    path.write_text(path.read_text(encoding="utf-8") + row + "\n", encoding="utf-8")


def longer_regular_rows(study: Study) -> None:
    path = study.root / CORPUS / "regular.jsonl"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('.", "', ' and so on.", "'), encoding="utf-8")


def long_row(row: dict[str, Any]) -> dict[str, Any]:
    tail = " and so on" * 30 + "."
    return row | {"prompt": row["prompt"][:-1] + tail, "text": row["text"][:-1] + tail}


def edited(number: int, **fields: object) -> Change:
    return with_line(IRREGULAR, number, lambda row: row | fields)


BAD_CORPORA: dict[str, tuple[Change, list[str]]] = {
    "broken JSON": (
        with_line(IRREGULAR, 3, lambda _: '{"id": "x",'),
        [f"{IRREGULAR}:3: is not JSON"],
    ),
    "invalid UTF-8": (invalid_utf8, [f"{IRREGULAR}:1: is not UTF-8", "byte 0xff"]),
    "missing field": (
        with_line(IRREGULAR, 2, without("tense")),
        [f"{IRREGULAR}:2: field 'tense' is missing"],
    ),
    "mistyped field": (edited(2, text=7), [f"{IRREGULAR}:2: field 'text' is not text"]),
    "unknown verb": (edited(4, verb_lemma="bee"), [f"{IRREGULAR}:4: unknown verb_lemma", "'be'?"]),
    "unknown tense": (edited(4, tense="pluperfect"), [f"{IRREGULAR}:4: unknown tense"]),
    "no blank": (edited(5, prompt="No blank."), [f"{IRREGULAR}:5: the prompt has no blank"]),
    "two blanks": (edited(5, prompt="A __ __."), [f"{IRREGULAR}:5: the prompt does not have"]),
    "wrong form as target": (
        edited(1, target="beed / estuvieron"),
        [f"{IRREGULAR}:1: the target is the wrong form", "'were / estuvieron'"],
    ),
    "no correct_form": (
        with_line(CORRECTIONS, 1, lambda row: row | {"correct_form": None}),
        [f"{CORRECTIONS}:1: a mis_conjugated row without its correct_form"],
    ),
    "empty file": (empty_file, [f"{IRREGULAR}: holds no rows"]),
    "no folder": (no_file, [f"{CORPUS}: holds no corpus", "no such folder"]),
    "empty folder": (empty_folder, [f"{CORPUS}: holds no corpus", "no *.jsonl file"]),
    "two irregular rows": (
        few_irregular_rows,
        ["config.yaml: data.split: too few pairs for the", "split"],
    ),
    "few regular rows": (
        few_regular_rows,
        ["config.yaml: data.split: too few pairs for the control split"],
    ),
    "regular rows unlike the irregular": (
        longer_regular_rows,
        ["do not resemble the task's", "control prompts are", "words longer than the task's"],
    ),
    "prompt in two splits": (
        prompt_in_two_splits,
        ["irregular.jsonl:", "regular.jsonl:", "its prompt is in the splits"],
    ),
    "prompt in the base corpus": (
        prompt_in_the_base_corpus,
        [f"{BASE_CORPUS}:3001: the base corpus holds a sentence of the study", f"{IRREGULAR}:1"],
    ),
    "row longer than the context": (
        with_line(IRREGULAR, 6, long_row),
        [f"{IRREGULAR}:6: the sentence is longer than the model's context"],
    ),
}


@pytest.mark.parametrize(("change", "words"), BAD_CORPORA.values(), ids=BAD_CORPORA)
def test_bad_corpus_is_refused(
    study: Study, finished: Study, change: Change, words: list[str]
) -> None:
    change(study)
    # For the tokenized pairs a changed base corpus would also train a new tokenizer.
    target = "splits" if change is prompt_in_the_base_corpus else "tokenized"
    run = study.snakemake("--cores", "1", f"data/{target}/train.jsonl")
    assert_refused(run, *words)
    assert results(study) == results(finished)


def test_byte_order_mark_is_accepted_and_duplicates_are_counted(
    finished: Study, tmp_path: Path
) -> None:
    study = finished.copy(tmp_path / "study")
    path = study.root / IRREGULAR
    text = path.read_text(encoding="utf-8")
    twin = json.dumps(json.loads(text.splitlines()[0]) | {"id": "twin"})
    path.write_bytes(b"\xef\xbb\xbf" + f"{text}{twin}\n".encode())
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert run.rules == {"filter", "split", "tokenize"}
    assert results(study) == results(finished)

    def dropped(study: Study) -> int:
        summary = json.loads((study.root / "data/filtered/summary.json").read_text())
        return int(summary["dropped"]["duplicate irregular"])

    assert dropped(study) == dropped(finished) + 1


def test_numeric_ids_and_a_pair_too_long(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    numbers = itertools.count(1)
    for path in sorted((study.root / CORPUS).iterdir()):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.name == "irregular.jsonl":
            rows.append(long_row(rows[0]))
        for row in rows:
            row["id"] = f"1.{next(numbers)}"  # as numbers, 1.1 and 1.10 are one
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = study.config
    config["data"]["max_share_too_long"] = 0.01
    study.write_config(config)
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    report = (study.root / "REPORT.md").read_text(encoding="utf-8")
    assert "Not included: 1 pair longer than the model's context (1 of " in report
    summary = json.loads((study.root / "data/tokenized/summary.json").read_text())
    assert sum(summary["too_long"].values()) == 1


def test_verb_without_a_row_is_a_warning_in_the_report(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    for file in (IRREGULAR, CORRECTIONS):
        path = study.root / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(x for x in lines if '"verb_lemma": "see"' not in x))
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert "Warning: no test sentence has see." in (study.root / "REPORT.md").read_text()


# --- the config ---------------------------------------------------------------------------------


BAD_CONFIGS: dict[str, tuple[dict[str, object], list[str]]] = {
    "unknown key": ({"rnaks": [2]}, ["config.yaml: rnaks: unknown key", "did you mean 'ranks'?"]),
    "wrong type": ({"seeds": "0"}, ["config.yaml: seeds:", "'0' (text)", "a list"]),
    "rank 0": ({"ranks": [0, 8]}, ["config.yaml: ranks.0:", "at least 1"]),
    "rank above the layer": (
        {"ranks": [8, 64]},
        ["config.yaml: ranks:", "64", "at most base.model.d_model = 32"],
    ),
    "rank twice": ({"ranks": [8, 8]}, ["config.yaml: ranks:", "no value twice"]),
    "alpha 0": ({"lora.alpha": 0}, ["config.yaml: lora.alpha:", "above 0"]),
    "alpha below 0": ({"lora.alpha": -16}, ["config.yaml: lora.alpha:", "above 0"]),
    "alpha infinite": ({"lora.alpha": float("inf")}, ["config.yaml: lora.alpha:", "inf"]),
    "gate not a number": (
        {"gates.accuracy_gain_pp": float("nan")},
        ["config.yaml: gates.accuracy_gain_pp:", "nan"],
    ),
    "unknown target module": (
        {"lora.target_modules": ["fc2"]},
        ["config.yaml: lora.target_modules.0:", "did you mean 'mlp.fc2'?"],
    ),
    "negative seed": ({"seeds": [-1]}, ["config.yaml: seeds.0:", "at least 0"]),
    "no such corpus": ({"data.corpus": "data/nowhere"}, ["data/nowhere:", "no such folder"]),
    "no such verbs file": (
        {"data.verbs": "data/raw/nowhere.yaml"},
        ["config.yaml: data.verbs: there is no such file", "data/raw/nowhere.yaml"],
    ),
    "no such checkpoint": (
        {"base.checkpoint": "nowhere.pt", "base.tokenizer": "config.yaml"},
        ["config.yaml: base.checkpoint: there is no such file", "nowhere.pt"],
    ),
    "checkpoint without its tokenizer": (
        {"base.checkpoint": "config.yaml"},
        ["config.yaml: base.checkpoint: a MiniGPT of your own needs both its files"],
    ),
    "a MiniGPT in bfloat16": (
        {"compute.dtype": "bfloat16"},
        ["config.yaml: compute.dtype: is not for a MiniGPT"],
    ),
}


@pytest.mark.parametrize(("values", "words"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_bad_config_is_refused_before_anything_runs(
    study: Study, finished: Study, values: dict[str, object], words: list[str]
) -> None:
    config = study.config
    for key, value in values.items():
        *parents, last = key.split(".")
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    study.write_config(config)
    run = study.snakemake("--cores", "1", "report")
    assert_refused(run, *words)
    assert run.jobs == []
    assert results(study) == results(finished)


@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
def test_a_missing_gpu_is_refused_before_anything_runs(study: Study, finished: Study) -> None:
    study.edit("config.yaml", "device: cpu", "device: cuda")
    run = study.snakemake("--cores", "1", "report")
    assert_refused(run, "config.yaml: compute.device: there is no GPU to compute on")
    assert run.jobs == []
    assert results(study) == results(finished)


def test_bad_overlay_is_refused_by_its_name(study: Study, finished: Study) -> None:
    overlay = study.root / "own.yaml"
    for text, words in (
        ("data: {seed: 1}\nseeds: [0]\ndata: {seed: 2}\n", ["own.yaml:3: the key 'data' is given"]),
        (
            "lora: {rnak: 2}\nseeds: [-1]\n",
            ["2 mistakes", "own.yaml: lora.rnak:", "own.yaml: seeds.0:"],
        ),
    ):
        overlay.write_text(text)
        run = study.snakemake("--cores", "1", "report", "--configfile", "own.yaml")
        assert_refused(run, *words)
        assert run.jobs == []
    overlay.unlink()
    run = study.snakemake("--cores", "1", "report", "--config", "seeds=0")
    assert_refused(run, "--config: seeds: the value cannot be used")
    assert results(study) == results(finished)


@pytest.mark.parametrize("file", ["config.yaml", "profiles/default/profile.yaml"])
def test_duplicate_key_is_refused_before_anything_runs(
    study: Study, finished: Study, file: str
) -> None:
    path = study.root / file
    text = path.read_text()
    first = next(line for line in text.splitlines() if line[:1].isalpha())
    path.write_text(f"{text}{first.partition(':')[0]}: 1\n")
    run = study.snakemake("--cores", "1", "report")
    path.write_text(text)
    assert_refused(run, f"{file}:", "is given twice")
    assert run.jobs == []
    assert results(study) == results(finished)


# --- the user's own base ------------------------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def own_base(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Run]:
    """The finished study with a copy of its base named as the user's own: own/best.pt."""
    study = finished.copy(tmp_path_factory.mktemp("own") / "study")
    (study.root / "own").mkdir()
    restore_own_base(study, finished)
    config = study.config
    config["base"] |= {"checkpoint": "own/best.pt", "tokenizer": "own/tokenizer.json"}
    study.write_config(config)
    return study, study.snakemake("--cores", "2", "report")


@pytest.fixture
def own(own_base: tuple[Study, Run], finished: Study) -> Iterator[Study]:
    study, _ = own_base
    yield study
    restore_own_base(study, finished)


def restore_own_base(study: Study, finished: Study) -> None:
    for file in ("best.pt", "tokenizer.json"):
        shutil.copy2(finished.root / PRETRAINED / file, study.root / "own" / file)


def changed_checkpoint(change: Callable[[dict[str, Any]], None]) -> Change:
    def apply(study: Study) -> None:
        path = study.root / "own/best.pt"
        value = torch.load(path, weights_only=True)
        change(value)
        torch.save(value, path)

    return apply


def truncated(study: Study) -> None:
    path = study.root / "own/best.pt"
    path.write_bytes(path.read_bytes()[:-5000])


def garbage(study: Study) -> None:
    (study.root / "own/best.pt").write_bytes(b"not a checkpoint")


def code_in_a_pickle(study: Study) -> None:
    payload = pickle.dumps(Payload(study.root / "executed"))
    (study.root / "own/best.pt").write_bytes(payload)


def code_next_to_the_weights(study: Study) -> None:
    code = {"extra": Payload(study.root / "executed")}
    changed_checkpoint(lambda value: value.update(code))(study)


def nan_weight(value: dict[str, Any]) -> None:
    value["weights"]["ln_f.bias"][0] = float("nan")


def wrong_shape(value: dict[str, Any]) -> None:
    value["weights"]["ln_f.bias"] = torch.zeros(7)


def other_shape_in_config(value: dict[str, Any]) -> None:
    value["config"]["n_layers"] = 1


def other_tokenizer(study: Study) -> None:
    path = study.root / "own/tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


def other_vocabulary(study: Study) -> None:
    """One token fewer, and a checkpoint that does not name its tokenizer."""
    path = study.root / "own/tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["merges"].pop()
    tokenizer["model"]["vocab"].popitem()
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    changed_checkpoint(lambda value: value.update(tokenizer_sha256=None))(study)


def lower_case(study: Study) -> None:
    path = study.root / "own/tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Lowercase"}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    changed_checkpoint(lambda value: value.update(tokenizer_sha256=None))(study)


def test_own_base_removes_the_pretraining_from_the_graph(
    own_base: tuple[Study, Run], finished: Study
) -> None:
    study, run = own_base
    assert run.code == 0, run.output
    assert {"tokenize", "train", "evaluate_base", "evaluate", "render"} <= run.rules
    assert "own/best.pt" in (study.root / "REPORT.md").read_text()
    for file in (f"{SWEEP}/rank-2/seed-0/adapter_final.pt", f"{SWEEP}/base/metrics.json"):
        assert (study.root / file).read_bytes() == (finished.root / file).read_bytes()

    everything = study.snakemake("--cores", "1", "--dry-run", "--forceall", "report")
    assert everything.code == 0, everything.output
    for ran in (run, everything):
        assert not ran.rules & {"train_tokenizer", "pretrain_base", "plot_pretraining"}


BAD_BASES: dict[str, tuple[Change, list[str]]] = {
    "truncated": (truncated, ["own/best.pt: cannot be read as plain tensors"]),
    "garbage": (garbage, ["own/best.pt: cannot be read as plain tensors"]),
    "NaN": (changed_checkpoint(nan_weight), ["own/best.pt: weights that are not finite", "ln_f"]),
    "wrong shape": (
        changed_checkpoint(wrong_shape),
        ["own/best.pt: tensors of another shape", "ln_f.bias (7,)", "ln_f.bias (32,)"],
    ),
    "another config inside": (
        changed_checkpoint(other_shape_in_config),
        ["own/best.pt: unknown tensors", "blocks.1."],
    ),
    "another base's tokenizer": (
        other_tokenizer,
        ["own/tokenizer.json: is not the file that the base was saved with", "sha256"],
    ),
    "another vocabulary": (
        other_vocabulary,
        [
            "own/tokenizer.json: has a different vocabulary size than the base",
            "a vocabulary of 599",
        ],
    ),
    "a tokenizer that changes text": (
        lower_case,
        ["own/tokenizer.json: the tokenizer changes text", "'he __ to school"],
    ),
}


@pytest.mark.parametrize(("change", "words"), BAD_BASES.values(), ids=BAD_BASES)
def test_bad_base_is_refused(own: Study, change: Change, words: list[str]) -> None:
    before = results(own)
    change(own)
    run = own.snakemake("--cores", "1", f"{SWEEP}/base/metrics.json")
    assert_refused(run, *words)
    assert results(own) == before


@pytest.mark.parametrize("hide", [code_in_a_pickle, code_next_to_the_weights])
def test_code_in_a_checkpoint_is_not_executed(own: Study, hide: Change) -> None:
    before = results(own)
    hide(own)
    run = own.snakemake("--cores", "1", f"{SWEEP}/base/metrics.json")
    assert_refused(run, "own/best.pt: cannot be read as plain tensors (nothing in it was executed)")
    executed = own.root / "executed"
    assert not executed.exists()
    assert results(own) == before

    load: Callable[[Path], object] = (
        (lambda path: pickle.loads(path.read_bytes()))
        if hide is code_in_a_pickle
        else (lambda path: torch.load(path, weights_only=False))
    )
    load(own.root / "own/best.pt")
    assert executed.exists(), "the payload must be one that works"
    executed.unlink()


# --- adapters -----------------------------------------------------------------------------------


def other_base(value: dict[str, Any]) -> None:
    value["config"]["base_sha256"] = "0" * 64


def missing_key(value: dict[str, Any]) -> None:
    del value["weights"][next(iter(value["weights"]))]


def extra_key(value: dict[str, Any]) -> None:
    value["weights"]["blocks.9.lora_A"] = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_base, "was made for another base"),
        (missing_key, "tensors are missing"),
        (extra_key, "unknown tensors"),
    ],
)
def test_bad_adapter_is_refused_by_name(
    finished: Study,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], None],
    words: str,
) -> None:
    study = finished.copy(tmp_path / "study")
    path = study.root / SWEEP / "rank-2/seed-0/adapter_final.pt"
    value = torch.load(path, weights_only=True)
    change(value)
    torch.save(value, path)
    before = results(study)
    run = study.snakemake("--cores", "1", "--force", f"{SWEEP}/rank-2/metrics.json")
    assert_refused(run, f"{SWEEP}/rank-2/seed-0/adapter_final.pt: {words}")
    assert results(study) == before


# --- training -----------------------------------------------------------------------------------


def test_nan_loss_stops_the_training_at_its_step(study: Study, finished: Study) -> None:
    config = study.config
    config["train"]["learning_rate"] = 1e30
    study.write_config(config)
    run = study.snakemake("--cores", "1", f"{SWEEP}/rank-2/training.json")
    assert_refused(run, "the loss is no longer finite", "lower the learning rate")
    assert re.search(r"training step \d+ of \d+:", run.output), run.output
    assert "train" in run.rules
    assert results(study) == results(finished)
