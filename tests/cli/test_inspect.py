"""inspect: its explanation of every kind of file, of the study's and of other programs'."""

from __future__ import annotations

import copy
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from project import ROOT
from safetensors.torch import save_file

from minituner.__main__ import main
from minituner.cli.inspect import explain
from minituner.cli.inspect_text import CONFIG_KEYS
from minituner.errors import UserError
from minituner.lora import wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.files import read_json
from minituner.storage.strict_yaml import read_yaml
from minituner.storage.tensors import weights_sha256
from minituner.storage.training_checkpoint import STATE_FORMAT
from minituner.tokenizer import TextTokenizer, save_tokenizer

MANIFEST = "experiments/17-minigpt-train/manifest.json"
FIGURE = (ROOT / "experiments/28-lora-ablate-rank/accuracy_vs_rank.png").read_bytes()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("experiments/17-minigpt-train/tokenizer.json", "A tokenizer: byte-level"),
        (MANIFEST, "stage: pretrain_base"),
        ("experiments/28-lora-ablate-rank/summary.json", "A JSON object"),
        ("experiments/28-lora-ablate-rank/base/items.csv", "rows: 205"),
        ("experiments/17-minigpt-train/loss_curve.png", "size: 960 x 663 pixels"),
        ("experiments/28-lora-ablate-rank", "with the manifests of the stages"),
        ("data/processed/base-corpus/plain.jsonl", "rows: 3,000, 0 of them fill-in"),
        ("data/processed/base-corpus", "holds: fill_in.jsonl, plain.jsonl"),
        ("data/raw/verbs.yaml", "irregular: 8: be, have, do, go, come, see, eat, write"),
        ("data/raw/frames.yaml", "frames: time_last, time_first"),
        ("config.yaml", "keys: generate, task, data, base"),
        ("REPORT.md", "title: What does a LoRA adapter of rank r buy"),
    ],
)
def test_explain_committed_files(file: str, words: str) -> None:
    assert words in explain(ROOT / file)


@pytest.fixture
def weights(base: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path) -> Path:
    """A folder with a base, an adapter of it, and the exports of both."""
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    save_base(tmp_path / "best.pt", base, tmp_path / "tokenizer.json")
    tuned = wrap_minigpt_with_lora(copy.deepcopy(base), 4, 12.0, ("q_proj",), dropout=0.1, seed=5)
    for name in ("a.pt", "a.safetensors"):
        save_adapter(
            tmp_path / name, tuned, weights_sha256(base.state_dict()), 5, {"data": "x\x1b[2Jy"}
        )
    files = ["--base", str(tmp_path / "best.pt"), "--tokenizer", str(tmp_path / "tokenizer.json")]
    assert main(["export", "--to", "transformers", str(tmp_path / "opt"), *files]) == 0
    files += ["--adapter", str(tmp_path / "a.safetensors")]
    assert main(["export", "--to", "peft", str(tmp_path / "peft"), *files]) == 0
    return tmp_path


def test_explain_weights_and_their_exports(base: MiniGPT, weights: Path) -> None:
    count = f"weights: {sum(p.numel() for p in base.parameters()):,}\n"
    digest = weights_sha256(base.state_dict())
    assert count in explain(weights / "best.pt") and digest in explain(weights / "best.pt")
    (weights / "B.SAFETENSORS").write_bytes((weights / "a.safetensors").read_bytes())
    for name in ("a.pt", "a.safetensors", "B.SAFETENSORS", "peft/adapter_model.safetensors"):
        text = explain(weights / name)
        assert "kind: LoRA, rank 4, alpha 12, scaling 3\n  layers: blocks.0.attn.q_proj" in text
        # d = 32, r = 4, two halves, two layers
        assert "weights: 512\n  trained with: seed 5, dropout 0.1\n" in text and digest in text
        assert ("data: x\\x1b[2Jy" in text) == (name != "a.pt")
    opt = explain(weights / "opt/model.safetensors")
    assert "the weights of an OPT model" in opt
    assert "shape: 2 layers, d = 32\n  vocabulary: 350\n  context: 32 tokens" in opt
    assert "model_type: opt" in explain(weights / "opt/config.json")
    assert "lora_alpha: 12.0" in explain(weights / "peft/adapter_config.json")
    assert explain(weights / "opt").startswith("A base in transformers' format.")
    assert explain(weights / "peft").startswith("An adapter in PEFT's format.")


def test_explain_tensors_of_other_programs(tmp_path: Path) -> None:
    tensors = {"w": torch.ones(3, 2, dtype=torch.bfloat16)}
    save_file(tensors, tmp_path / "w.safetensors", {"made by": "hand"})
    text = explain(tmp_path / "w.safetensors")
    assert "another program" in text and "metadata made by: hand" in text
    assert "tensors: w [3, 2]\n  weights: 6\n  types: BF16 1" in text
    layer = "base_model.model.layers.0.q"
    halves = {
        f"{layer}.lora_A.weight": torch.ones(2, 8),
        f"{layer}.lora_B.weight": torch.ones(8, 2),
    }
    save_file(halves, tmp_path / "p.safetensors")
    text = explain(tmp_path / "p.safetensors")
    assert "written by PEFT" in text and "rank: 2" in text and layer in text
    for new in (True, False):
        torch.save(tensors | {"step": 3}, tmp_path / "w.pt", _use_new_zipfile_serialization=new)
        text = explain(tmp_path / "w.pt")
        assert "another program" in text and "w [3, 2]\n  weights: 6\n  other keys: step" in text
    torch.save([1], tmp_path / "l.pt")
    assert "holds: list" in explain(tmp_path / "l.pt")


def test_explain_an_unfinished_pretraining(tmp_path: Path) -> None:
    state = {"format": STATE_FORMAT, "log": [[0], [1], [2]], "best": {"val_loss": 1.25}}
    torch.save(state, tmp_path / "state.pt")
    text = explain(tmp_path / "state.pt")
    assert "unfinished pretraining" in text
    assert "steps: 2\n  best validation loss: 1.2500 nats per token" in text


class Code:
    """Its pickle executes code when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return exec, ("raise SystemExit",)


def test_explain_refuses_damaged_and_unsafe_tensors(
    weights: Path, recwarn: pytest.WarningsRecorder
) -> None:
    whole = {name: (weights / name).read_bytes() for name in ("a.safetensors", "a.pt")}
    bad = weights / "bad"
    bad.mkdir()
    for name, content in whole.items():
        for size in (4, 100, len(content) - 1):
            (bad / f"{size}-{name}").write_bytes(content[:size])
    (bad / "text.pt").write_text("not tensors")
    (bad / "pickle.pt").write_bytes(pickle.dumps(Code()))
    with zipfile.ZipFile(bad / "zip.pt", "w") as archive:
        archive.writestr("a", "b")
    for form in ("minigpt-1", "minituner-lora-1", "minituner-pretraining-2"):
        torch.save({"format": form, "config": 3, "log": 3, "weights": {}}, bad / f"{form}.pt")
    save_file({"w": torch.ones(1)}, bad / "m.safetensors", {"minituner_format": "x"})
    for path in bad.iterdir():
        with pytest.raises(UserError, match=r"cannot be read|cannot be used|but is not") as refusal:
            explain(path)
        assert refusal.value.where == str(path)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("n.json", "3", "A JSON value.\n  holds: 3"),
        ("l.json", "[1, 2]", "holds: 2 values"),
        ("n.JSON", "null", "holds: null"),
        ("o.json", '{"schema_version": 7}', "holds: schema_version"),
        ("e.json", "{}", "holds: nothing"),
        ("bom.json", '\ufeff{"a": 1}', "holds: a"),
        ("k.json", json.dumps(dict.fromkeys(map(str, range(99)))), "18, 19 and 79 more"),
        ("b.jsonl", '\ufeff{"verb_lemma": "go"}\n\n{"verb_lemma": [1]}', "rows: 2, 0"),
        ("r.jsonl", '{}\n{"a": 1}', "rows: 2"),
        ("e.jsonl", "", "rows: 0"),
        (
            "p.jsonl",
            '{"group": "go", "form": "past", "prompt": "__"}',
            "group: go 1\n  form: past 1",
        ),
        ("c.csv", 'a,"b\nc"\n1,"2\n3"\n\n', "rows: 1\n  columns: a, b\\nc"),
        ("t.tsv", "He went.\tFue.\nI ate.\tComí.\n", "rows: 2\n  columns: 2"),
        ("o.yaml", "train: {epochs: 3}", "keys: train"),
        ("s.yml", "just words", "YAML without keys"),
        ("other.yaml", "channels: [a]\ndata: {}", "YAML.\n  keys: channels, data"),
        ("a.txt", "one\ntwo", "lines: 2 lines"),
    ],
)
def test_explain_texts(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert words in explain(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"a": NaN}', "is not JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"[" * 100_000, "nested too deeply"),
        ("a.yaml", b"a: [", "is not YAML"),
        ("a.jsonl", b"{}\n[1]", "a.jsonl:2: is not a JSON object"),
        (
            "a.csv",
            b"a,b\ncaf\xe9,x\n",
            "a.csv:2: is not UTF-8\n  found:    byte 0xe9; it looks like Win",
        ),
        ("a.csv", b"a\n" + b"x" * 200_000, "a.csv:2: is not a table"),
        ("a.png", b"\xff\xd8\xff\xe0 a JPEG, renamed", "is not a PNG"),
        ("a.png", b"\x89PNG\r\n", "is not a PNG"),
        ("a.png", FIGURE[: len(FIGURE) // 2], "is a PNG without its end"),
        ("a.md", b"\0" * 99, "a.md:1: is not text"),
        ("a.csv", b"a,b\n1,\0\n", "a.csv:2: is not text"),
        ("a.md", b"caf\xe9", "a.md:1: is not UTF-8"),
        ("a.json", b"", "an empty file"),
        ("a.pt", b"", "an empty file"),
        ("a.exe", b"x", "a file that ends in '.exe'"),
        ("a", b"x", "a name without an ending"),
        ("a.json", b'{"model": {"vocab": 3}}', "is not a tokenizer"),
        ("a.json", b'{"schema_version": 1, "stage": "train"}', "a.json: experiment: is not what"),
    ],
)
def test_inspect_refuses_unusable_files(
    tmp_path: Path, name: str, content: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["inspect", str(tmp_path / name)]) == 1
    printed = capsys.readouterr()
    assert words in printed.err and "fix:" in printed.err and not printed.out


def test_explain_refuses_a_manifest_by_key(tmp_path: Path) -> None:
    manifest = read_json(ROOT / MANIFEST)
    for key, value in manifest.items():
        if isinstance(value, dict) and key not in ("wildcards", "parameters"):
            (tmp_path / "m.json").write_text(json.dumps(manifest | {key: [3]}))
            with pytest.raises(UserError, match=rf"m\.json: {key}: .*\n  found:    \[3\]"):
                explain(tmp_path / "m.json")
    (tmp_path / "m.json").write_text(json.dumps(manifest | {"schema_version": 7}))
    with pytest.raises(UserError, match=r"schema_version: .*\n  found:    7\n  expected: 1\n"):
        explain(tmp_path / "m.json")


def test_explain_refuses_special_and_unreadable_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "dangling.json").symlink_to("nothing")
    (tmp_path / "a.json").write_text("{}")
    for path, words in (
        (tmp_path / "none.json", "there is no such file"),
        (tmp_path / "dangling.json", "there is no such file"),
        (tmp_path / "a.json/b.json", "cannot be read\n  found:    Not a directory"),
        (tmp_path / f"{'a' * 300}.json", "cannot be read\n  found:    File name too long"),
        (tmp_path / "fifo.json", "a pipe, a socket or a device"),
        (Path("/dev/null"), "a pipe, a socket or a device"),
    ):
        with pytest.raises(UserError, match=words):
            explain(path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"a\.json: cannot be read\n  found:    Permission denied"):
        explain(tmp_path / "a.json")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="cannot be read\n  found:    Permission denied"):
        explain(tmp_path)


def test_inspect_refuses_an_empty_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", ""]) == 1
    assert "was given an empty name" in capsys.readouterr().err


def test_config_keys_are_those_of_the_schema() -> None:
    schema = read_yaml(ROOT / "rules/config.schema.yaml")
    assert set(schema["required"]) == CONFIG_KEYS
