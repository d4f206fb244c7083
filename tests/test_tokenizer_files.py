"""The tokenizer: any text survives it, and the same texts train the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import EOS_ID

from minituner.errors import UserError
from minituner.tokenizer import (
    SPECIAL_TOKENS,
    TextTokenizer,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "He went home.",
        "Él comió ñoquis",
        "🎉 family: 👨‍👩‍👧",
        "\t two  spaces \n",
        "日本語",
        "\x00ÿ",
    ],
)
def test_encode_and_decode_keep_any_text(tokenizer: TextTokenizer, text: str) -> None:
    token_ids = tokenizer.encode(text)
    assert tokenizer.decode(token_ids) == text
    assert not set(token_ids) & set(range(4))


def test_encode_keeps_a_spelled_out_special_token_as_text(tokenizer: TextTokenizer) -> None:
    token_ids = tokenizer.encode("He went <eos> home")
    assert EOS_ID not in token_ids
    assert tokenizer.decode(token_ids) == "He went <eos> home"


def test_special_tokens_come_first(tokenizer: TextTokenizer) -> None:
    assert [tokenizer.backend.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert SPECIAL_TOKENS == ("<bos>", "<eos>", "<pad>", "<unk>")


def test_train_tokenizer_gives_the_same_bytes_for_the_same_texts(tmp_path: Path) -> None:
    texts = ["He went to school.", "She goed home and he walked.", "walked walked went"] * 3
    for name in ("one", "two"):
        save_tokenizer(train_tokenizer(iter(texts), 290), tmp_path / name)
    save_tokenizer(train_tokenizer(texts[:1], 290), tmp_path / "other")
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_saved_tokenizer_is_read_back(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.backend.get_vocab() == tokenizer.backend.get_vocab()
    assert loaded.encode("He went to school. =>") == tokenizer.encode("He went to school. =>")


@pytest.mark.parametrize("damage", ["gone", "garbage", "no <eos>"])
def test_load_tokenizer_refuses_what_is_not_a_tokenizer(
    tokenizer: TextTokenizer, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "tokenizer.json"
    if damage == "garbage":
        path.write_text("{}")
    elif damage == "no <eos>":
        path.write_text(tokenizer.backend.to_str().replace("<eos>", "<end>"))
    expected = {"gone": "no such file", "garbage": "is not a tokenizer", "no <eos>": "no <eos>"}
    with pytest.raises(UserError, match=expected[damage]) as refusal:
        load_tokenizer(path)
    assert str(refusal.value).startswith(f"{path}: ")
