"""What a tokenizer.json of the user's may hold, and what is made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minituner.data.encode import tokenize_pair
from minituner.data.pairs import Pair
from minituner.errors import UserError
from minituner.model import MiniGPT
from minituner.storage.checkpoint import load_base, save_base
from minituner.tokenizer import TextTokenizer, load_tokenizer

SENTENCE = "He __ to school yesterday, and the others went home much later. => went / fue"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def changed(tokenizer: TextTokenizer, tmp_path: Path) -> Callable[[Change], Path]:
    """Writes the tiny tokenizer's file with a change in its JSON."""

    def write(change: Change) -> Path:
        content = json.loads(tokenizer.backend.to_str())
        change(content)
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def truncating(content: dict[str, Any]) -> None:
    content["truncation"] = {
        "direction": "Right",
        "max_length": 12,
        "strategy": "LongestFirst",
        "stride": 0,
    }


def padding(content: dict[str, Any]) -> None:
    content["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 2,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }


def adding_specials(content: dict[str, Any]) -> None:
    special = {
        token: {"id": token, "ids": [i], "tokens": [token]}
        for i, token in enumerate(("<bos>", "<eos>"))
    }
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<bos>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": special,
    }


@pytest.mark.parametrize(
    "change",
    [truncating, padding, adding_specials, lambda content: content["model"].update(dropout=0.5)],
)
def test_load_tokenizer_turns_off_truncation_padding_and_dropout(
    tokenizer: TextTokenizer, changed: Callable[[Change], Path], change: Change
) -> None:
    loaded = load_tokenizer(changed(change))
    wanted = tokenizer.encode(SENTENCE)
    assert len(wanted) > 12
    assert all(loaded.encode(SENTENCE) == wanted for _ in range(5))


def without_bytes(content: dict[str, Any]) -> None:
    """Every token of more than ASCII goes: what it stood for becomes <unk>."""
    model = content["model"]
    model["merges"] = []
    kept = [token for token in model["vocab"] if token.isascii() or token == "\u0120"]
    model["vocab"] = {token: i for i, token in enumerate(kept)}


def share_an_id(content: dict[str, Any]) -> None:
    content["model"]["vocab"]["<eos>"] = 0
    content["added_tokens"][1]["id"] = 0


def leave_a_gap(content: dict[str, Any]) -> None:
    last = list(content["model"]["vocab"])[-1]
    content["model"]["vocab"][last] += 5


def own_token(content: dict[str, Any], text: str, **flags: bool) -> None:
    token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    vocab = content["model"]["vocab"]
    vocab[text] = len(vocab)
    content["added_tokens"].append(
        {"id": vocab[text], "content": text, "special": False, **token, **flags}
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(normalizer={"type": "Lowercase"}), "'he __ to school"),
        (lambda c: c.update(normalizer={"type": "NFKC"}), "fine, 1\u20442"),
        (lambda c: c.update(normalizer={"type": "NFC"}), "caf\u00e9, "),
        (
            lambda c: c.update(
                normalizer={"type": "Strip", "strip_left": True, "strip_right": True}
            ),
            '"MAR\u00cdA\'s two  spaces,\\ta tab\\nand a line"',
        ),
        (lambda c: c.update(normalizer={"type": "Prepend", "prepend": " "}), "' He __ to school"),
        (lambda c: c["pre_tokenizer"].update(add_prefix_space=True), "' He __ to school"),
        (lambda c: c.update(decoder=None), "changes text"),
        (lambda c: c.update(pre_tokenizer={"type": "Whitespace"}), "changes text"),
        (without_bytes, "changes text"),
        (share_an_id, "'<bos>' and '<eos>' share the id 0"),
        (leave_a_gap, "and none with the id "),
        (
            lambda c: c["added_tokens"][1].update(special=False),
            "confuses its special tokens with text",
        ),
    ],
)
def test_load_tokenizer_refuses_one_that_changes_text(
    changed: Callable[[Change], Path], change: Change, words: str
) -> None:
    path = changed(change)
    with pytest.raises(UserError) as refusal:
        load_tokenizer(path)
    message = str(refusal.value)
    assert str(path) in message
    assert words in message.replace("'<eos>' and '<bos>'", "'<bos>' and '<eos>'")


def test_load_tokenizer_reports_all_mistakes(
    changed: Callable[[Change], Path],
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["normalizer"] = {"type": "Lowercase"}
        leave_a_gap(content)

    with pytest.raises(UserError, match="3 mistakes") as refusal:
        load_tokenizer(changed(change), vocab_size=7)
    for words in ("numbers its tokens", "changes text", "a vocabulary of 7"):
        assert words in str(refusal.value)


def without_unknown(kind: str) -> Change:
    """A model of another kind, which has no token for what it does not know."""

    def change(content: dict[str, Any]) -> None:
        model = {"type": kind, "unk_token": "none such", "vocab": content["model"]["vocab"]}
        more = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
        content["model"] = model | (more if kind == "WordPiece" else {})

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["model"].update(continuing_subword_prefix="##"),
        without_unknown("WordPiece"),
        without_unknown("WordLevel"),
    ],
)
def test_load_tokenizer_refuses_what_the_library_fails_on(
    changed: Callable[[Change], Path], change: Change, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first makes it panic, which is not an Exception, and print a page of its own."""
    path = changed(change)
    with pytest.raises(UserError, match="is not a tokenizer"):
        load_tokenizer(path)
    os.write(2, b"still open")
    assert capfd.readouterr().err == "still open"


def test_load_tokenizer_can_be_interrupted(
    changed: Callable[[Change], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    path = changed(dict.copy)
    monkeypatch.setattr("minituner.tokenizer._check_probes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_tokenizer(path)


def test_load_base_with_a_tokenizer_that_was_saved_again(
    base: MiniGPT, changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    path = changed(dict.copy)
    save_base(tmp_path / "base.pt", base, path)
    load_base(tmp_path / "base.pt", path)
    changed(padding)
    with pytest.raises(UserError, match="is not the file that the base was saved with") as refusal:
        load_base(tmp_path / "base.pt", path)
    assert "the same one written again" in str(refusal.value)
    save_base(tmp_path / "base.pt", base, path)  # as it says
    load_base(tmp_path / "base.pt", path)


EXTENDS_OVER = "a token extends over the end of the prompt or of the form"


@pytest.mark.parametrize(
    ("own", "place", "words"),
    [
        ({"text": " => went"}, "t.jsonl:1", [EXTENDS_OVER, "' => went'"]),
        ({"text": " went /"}, "t.jsonl:1", [EXTENDS_OVER, "' went /'"]),
        ({"text": "ed /"}, "t.jsonl:1", [EXTENDS_OVER, "'ed /'"]),  # goed, the wrong form
        ({"text": "soup", "lstrip": True}, "t.jsonl:4", ["changes text", "We __ thesoup last"]),
    ],
)
def test_tokenize_pair_refuses_tokens_that_spoil_a_sentence(
    changed: Callable[[Change], Path],
    raw_pairs: list[Pair],
    own: dict[str, Any],
    place: str,
    words: list[str],
) -> None:
    path = changed(lambda content: own_token(content, **own))
    loaded = load_tokenizer(path)
    with pytest.raises(UserError) as refusal:
        for pair in raw_pairs:
            tokenize_pair(pair, loaded, str(path))
    message = str(refusal.value)
    assert message.startswith(f"{place}: ")
    for word in (*words, str(path)):
        assert word in message


def test_tokenize_pair_refuses_a_character_without_a_token(
    changed: Callable[[Change], Path], raw_pairs: list[Pair]
) -> None:
    """A byte of Cyrillic, which no probe has."""

    def without_a_byte(content: dict[str, Any]) -> None:
        byte, last = "\u00d0", list(content["model"]["vocab"])[-1]  # 0xd0
        vocab, merges = content["model"]["vocab"], content["model"]["merges"]
        assert not any(byte in part for merge in merges for part in merge)
        merges.pop()
        vocab[last], vocab[byte] = vocab[byte], vocab.pop(last)
        del vocab[byte]

    loaded = load_tokenizer(changed(without_a_byte))
    pair = replace(raw_pairs[0], prompt="He __ to \u041c\u043e\u0441\u043a\u0432\u0430.")
    tokenize_pair(raw_pairs[0], loaded)
    with pytest.raises(UserError, match=r"^t\.jsonl:1: the tokenizer changes text"):
        tokenize_pair(pair, loaded)


def test_ids_of_special_tokens(tokenizer: TextTokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 1, 2)
    assert [tokenizer.token(i) for i in range(3)] == ["<bos>", "<eos>", "<pad>"]


def test_load_base_without_its_tokenizer(base: MiniGPT, tmp_path: Path) -> None:
    save_base(tmp_path / "base.pt", base)
    with pytest.raises(UserError, match=r"none\.json: cannot be read"):
        load_base(tmp_path / "base.pt", tmp_path / "none.json")


@pytest.mark.parametrize("weights", [{1: torch.zeros(1)}, [torch.zeros(1)], None])
def test_weights_without_names_are_refused(base: MiniGPT, tmp_path: Path, weights: object) -> None:
    path = tmp_path / "base.pt"
    save_base(path, base)
    torch.save(torch.load(path, weights_only=True) | {"weights": weights}, path)
    with pytest.raises(UserError, match=r"base\.pt: "):
        load_base(path)
