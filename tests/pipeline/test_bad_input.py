"""Bad input, given through the real command line: refused in words, and nothing is lost."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from study import Run, Study

IRREGULAR = "data/processed/verb-corpus/irregular.jsonl"
BASE_CORPUS = "data/processed/base-corpus/fill_in.jsonl"
PRETRAINED = "experiments/17-minigpt-train"
SWEEP = "experiments/28-lora-ablate-rank"
Change = Callable[[Study], None]


@pytest.fixture(scope="module")
def shared(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One copy for all inputs that are refused: refusing must leave it as it was."""
    return finished.copy(tmp_path_factory.mktemp("bad") / "study")


@pytest.fixture
def study(shared: Study, finished: Study) -> Iterator[Study]:
    """The shared copy, its sources put back afterwards."""
    yield shared
    for part in ("data/raw", "data/processed"):
        shutil.rmtree(shared.root / part, ignore_errors=True)
        shutil.copytree(finished.root / part, shared.root / part, copy_function=shutil.copy)
    shared.write_config(finished.config)


def assert_refused(run: Run, *words: str) -> None:
    assert run.code != 0, run.output
    assert "minituner cannot go on." in run.output
    for word in (*words, "found:", "expected:", "to mend:"):
        assert word in run.output, f"{word!r} is not in:\n{run.output}"
    assert "Traceback" not in run.output


def results(study: Study) -> dict[str, str]:
    return {
        name: digest
        for name, digest in study.hashes().items()
        if name.startswith("experiments/") or name == "REPORT.md"
    }


# --- the corpus ---------------------------------------------------------------------------------


def with_line(file: str, number: int, edit: Callable[[dict[str, Any]], object]) -> Change:
    """Replace one line by what ``edit`` makes of its row; a string is written as it is."""

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
    shutil.rmtree(study.root / "data/processed/verb-corpus")


def few_irregular_rows(study: Study) -> None:
    path = study.root / IRREGULAR
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:2]))
    (path.parent / "corrections.jsonl").unlink()


def few_regular_rows(study: Study) -> None:
    path = study.root / "data/processed/verb-corpus/regular.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:90]))


def prompt_in_two_splits(study: Study) -> None:
    """A regular verb is given the prompt of an irregular one."""
    lines = (study.root / IRREGULAR).read_text(encoding="utf-8").splitlines()
    prompt = next(p for p in (json.loads(x)["prompt"] for x in lines) if p.endswith("ago."))
    path = study.root / "data/processed/verb-corpus/regular.jsonl"
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


def long_row(row: dict[str, Any]) -> dict[str, Any]:
    tail = " and so on" * 30 + "."
    return row | {"prompt": row["prompt"][:-1] + tail, "text": row["text"][:-1] + tail}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_line(IRREGULAR, 3, lambda _: '{"id": "x",'), [f"{IRREGULAR}:3"]),
        (invalid_utf8, [f"{IRREGULAR}:1"]),
        (with_line(IRREGULAR, 2, without("tense")), [f"{IRREGULAR}:2", "tense"]),
        (with_line(IRREGULAR, 2, lambda row: row | {"text": 7}), [f"{IRREGULAR}:2", "text"]),
        (with_line(IRREGULAR, 4, lambda row: row | {"verb_lemma": "bee"}), ["bee", "'be'"]),
        (with_line(IRREGULAR, 4, lambda row: row | {"tense": "pluperfect"}), ["pluperfect"]),
        (with_line(IRREGULAR, 5, lambda row: row | {"prompt": "No blank."}), [f"{IRREGULAR}:5"]),
        (with_line(IRREGULAR, 5, lambda row: row | {"prompt": "A __ __."}), [f"{IRREGULAR}:5"]),
        (with_line(IRREGULAR, 1, lambda row: row | {"target": "beed / fue"}), ["beed"]),
        (
            with_line(
                "data/processed/verb-corpus/corrections.jsonl",
                1,
                lambda row: row | {"correct_form": None},
            ),
            ["corrections.jsonl:1", "correct_form"],
        ),
        (empty_file, [IRREGULAR]),
        (no_file, ["data/processed/verb-corpus"]),
        (few_irregular_rows, ["too few irregular rows"]),
        (few_regular_rows, ["too few regular rows for the control split"]),
        (prompt_in_two_splits, ["irregular.jsonl:", "regular.jsonl:", "stands in the splits"]),
        (prompt_in_the_base_corpus, [f"{BASE_CORPUS}:3001", f"{IRREGULAR}:1"]),
        (with_line(IRREGULAR, 6, long_row), [f"{IRREGULAR}:6", "longer than the model's context"]),
    ],
)
def test_a_bad_corpus_is_refused(
    study: Study, finished: Study, change: Change, words: list[str]
) -> None:
    change(study)
    run = study.snakemake("--cores", "1", "data/tokenized/train.jsonl")
    assert_refused(run, *words)
    assert results(study) == results(finished)


def test_a_byte_order_mark_is_accepted_and_duplicates_are_dropped_and_counted(
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
    summary = json.loads((study.root / "data/filtered/summary.json").read_text())
    assert summary["dropped"]["duplicate irregular"] == 25


def test_a_verb_without_a_row_is_a_warning_in_the_report(finished: Study, tmp_path: Path) -> None:
    study = finished.copy(tmp_path / "study")
    for file in (IRREGULAR, "data/processed/verb-corpus/corrections.jsonl"):
        path = study.root / file
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(x for x in lines if '"verb_lemma": "see"' not in x))
    run = study.snakemake("--cores", "2", "report")
    assert run.code == 0, run.output
    assert "Warning: no test sentence has see." in (study.root / "REPORT.md").read_text()


# --- the config ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("rnaks", [2], ["did you mean 'ranks'?"]),
        ("seeds", "0", ["config.yaml: seeds", "of type array"]),
        ("ranks", [0, 8], ["config.yaml: ranks.0", "at least 1"]),
        ("ranks", [8, 64], ["config.yaml: ranks", "at most base.model.d_model = 32"]),
        ("ranks", [8, 8], ["config.yaml: ranks", "no value twice"]),
        ("seeds", [-1], ["config.yaml: seeds.0"]),
        ("lora.alpha", 0, ["config.yaml: lora.alpha", "above 0"]),
        ("lora.target_modules", ["fc2"], ["config.yaml: lora.target_modules.0", "mlp.fc2"]),
        ("data.corpus", "data/nowhere", ["data/nowhere", "no such folder"]),
        ("data.verbs", "data/raw/nowhere.yaml", ["data/raw/nowhere.yaml"]),
        ("base.checkpoint", "nowhere.pt", ["config.yaml: base"]),
    ],
)
def test_a_bad_config_is_refused_before_anything_runs(
    study: Study, finished: Study, key: str, value: object, words: list[str]
) -> None:
    config = study.config
    *parents, last = key.split(".")
    place = config
    for parent in parents:
        place = place[parent]
    place[last] = value
    study.write_config(config)
    assert_refused(study.snakemake("--cores", "1", "report"), *words)
    assert results(study) == results(finished)


# --- a base of one's own ------------------------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def own(study: Study, finished: Study) -> Iterator[Study]:
    """The shared copy with a base of its own under own/."""
    folder = study.root / "own"
    folder.mkdir()
    for file in ("best.pt", "tokenizer.json"):
        shutil.copy2(finished.root / PRETRAINED / file, folder / file)
    config = study.config
    config["base"] |= {"checkpoint": "own/best.pt", "tokenizer": "own/tokenizer.json"}
    study.write_config(config)
    yield study
    shutil.rmtree(folder)


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


def with_code(study: Study) -> None:
    path = study.root / "own/best.pt"
    path.write_bytes(pickle.dumps(Payload(study.root / "executed")))


def nan_weight(value: dict[str, Any]) -> None:
    value["weights"]["ln_f.bias"][0] = float("nan")


def wrong_shape(value: dict[str, Any]) -> None:
    value["weights"]["ln_f.bias"] = torch.zeros(7)


def other_shape_in_config(value: dict[str, Any]) -> None:
    value["config"]["n_layers"] = 1


def other_tokenizer(study: Study) -> None:
    path = study.root / "own/tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (truncated, ["own/best.pt", "cannot be read as plain tensors"]),
        (garbage, ["own/best.pt", "cannot be read as plain tensors"]),
        (with_code, ["own/best.pt", "nothing in it was executed"]),
        (changed_checkpoint(nan_weight), ["own/best.pt", "not finite", "ln_f.bias"]),
        (changed_checkpoint(wrong_shape), ["own/best.pt", "another shape", "ln_f.bias"]),
        (changed_checkpoint(other_shape_in_config), ["own/best.pt", "unknown tensors"]),
        (other_tokenizer, ["own/tokenizer.json", "is the tokenizer of another base"]),
    ],
)
def test_a_bad_base_is_refused(own: Study, change: Change, words: list[str]) -> None:
    change(own)
    run = own.snakemake("--cores", "1", f"{SWEEP}/base/metrics.json")
    assert_refused(run, *words)
    assert not (own.root / "executed").exists()


def test_a_base_of_ones_own_takes_the_pretraining_out_of_the_graph(own: Study) -> None:
    run = own.snakemake("--cores", "1", "--dry-run", "--forceall", "report")
    assert run.code == 0, run.output
    assert "train" in run.rules
    assert not run.rules & {"train_tokenizer", "pretrain_base", "plot_pretraining"}


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
def test_a_bad_adapter_is_refused_by_name(
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
    run = study.snakemake("--cores", "1", f"{SWEEP}/rank-2/metrics.json")
    assert_refused(run, "rank-2/seed-0/adapter_final.pt", words)
