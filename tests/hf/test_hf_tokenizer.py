"""Tokenizers as transformers' models have them, against transformers' own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_models  # noqa: F401 (sets the environment before transformers is imported)
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from minituner.base_files import load_base_tokenizer
from minituner.data.pairs import Pair
from minituner.data.prompts import prompt_text
from minituner.data.tokenize import tokenize_pair
from minituner.errors import UserError
from minituner.hf.tokenizer import load_folder_tokenizer

SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")
TEXTS = [
    "He __ to school yesterday. => went / fue",
    "She has __ home. => gone / ido goed goed went gone went gone",
    "They have __ to the party. => come / venido comed come came",
]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def trained(tokenizer: Tokenizer, alphabet: list[str], specials: tuple[str, ...]) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(specials),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    return tokenizer


def byte_level(add_prefix_space: bool = False) -> Tokenizer:
    """As GPT-2, Qwen2 and Llama 3 have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return trained(tokenizer, pre_tokenizers.ByteLevel.alphabet(), SPECIAL)


def metaspace() -> Tokenizer:
    """SentencePiece's with a space before the first word, as Llama 2 and Mistral have it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer = trained(tokenizer, [], (*SPECIAL, *BYTES))
    return with_bytes_not_special(tokenizer, decoders.Strip(" ", 1, 0))


def prepending() -> Tokenizer:
    """The same in the older form: a normalizer puts the space there, whatever follows."""
    tokenizer = metaspace()
    tokenizer.pre_tokenizer = None  # type: ignore[assignment]
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return tokenizer


def without_space() -> Tokenizer:
    """As Gemma has it: spaces are written ▁, none is added."""
    tokenizer = metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(" "), "merged_with_previous")
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return with_bytes_not_special(tokenizer)


def with_bytes_not_special(tokenizer: Tokenizer, *more: Any) -> Tokenizer:
    """The tokens <0x00> to <0xFF> as the bytes that they stand for."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in SPECIAL]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *more]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte level": byte_level,
    "byte level with a space": lambda: byte_level(add_prefix_space=True),
    "metaspace": metaspace,
    "prepending": prepending,
    "without a space": without_space,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def save(path: Path, tokenizer: Tokenizer, **special: Any) -> Path:
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **special}
    kept = {name: token for name, token in special.items() if token is not None}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **kept).save_pretrained(path)
    return path / "tokenizer.json"


@every_kind
def test_tokens_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    own = load_folder_tokenizer(save(tmp_path, KINDS[kind]()), {})
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert own.prepends_space == (kind in ("byte level with a space", "metaspace", "prepending"))
    for text in (*TEXTS, "Zoë's two  spaces, \U0001f642 漢字 and , a comma"):
        ids = own.encode(text)
        assert ids == theirs(text, add_special_tokens=False).input_ids
        assert own.decode([own.bos_id, *ids, own.eos_id, own.pad_id]) == text
    ids = [theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id]
    assert [own.bos_id, own.eos_id, own.pad_id] == ids
    assert not set(own.encode("</s><pad>")) & set(ids)  # in a sentence these are characters


@every_kind
@pytest.mark.parametrize("after", [" / fue", ""])
def test_pair_has_the_tokens_of_the_running_text(kind: str, after: str, tmp_path: Path) -> None:
    tokenizer = load_folder_tokenizer(save(tmp_path, KINDS[kind]()), {})
    prompt = "He __ to school yesterday."
    wrong: Any = "goed" if Pair.__annotations__["wrong"] == "str" else ("goed",)
    pair = Pair("a", "go", "past_simple", "f", "", prompt, "went", after, wrong, "t.jsonl:1")
    tokenized = tokenize_pair(pair, tokenizer)
    text = f"{prompt_text(prompt)} went{after}"
    whole = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
    assert tokenized.prompt_ids + tokenized.target_ids == whole
    assert tokenized.target_ids[: len(tokenized.correct_ids)] == tokenized.correct_ids
    assert tokenizer.decode(tokenized.target_ids).strip() == f"went{after}"


@pytest.mark.parametrize(
    ("special", "config", "expected"),
    [
        ({}, {}, ("<s>", "</s>", "<pad>")),
        ({"pad_token": None}, {}, ("<s>", "</s>", "</s>")),
        ({"bos_token": None, "pad_token": None}, {}, ("</s>", "</s>", "</s>")),
        ({"bos_token": None, "eos_token": None}, {"eos_token_id": 2}, ("</s>", "</s>", "<pad>")),
        ({"eos_token": None}, {"eos_token_id": [2, 5]}, ("<s>", "</s>", "<pad>")),
    ],
)
def test_special_tokens(
    special: dict[str, Any], config: dict[str, Any], expected: tuple[str, ...], tmp_path: Path
) -> None:
    own = load_folder_tokenizer(save(tmp_path, byte_level(), **special), config)
    assert tuple(own.token(i) for i in (own.bos_id, own.eos_id, own.pad_id)) == expected
    assert own.decode([own.bos_id, own.eos_id, own.pad_id]) == ""


def test_special_tokens_in_the_older_form(tmp_path: Path) -> None:
    path = save(tmp_path, byte_level())
    path.with_name("tokenizer_config.json").write_text("{}")
    tokens = {"bos_token": {"content": "<s>", "lstrip": False}, "eos_token": "</s>"}
    path.with_name("special_tokens_map.json").write_text(json.dumps(tokens))
    own = load_folder_tokenizer(path, {})
    assert [own.token(i) for i in (own.bos_id, own.eos_id)] == ["<s>", "</s>"]


def test_start_token(tmp_path: Path) -> None:
    path = save(tmp_path, byte_level())
    assert load_folder_tokenizer(path, {}, start_token="<unk>").bos_id == 0
    with pytest.raises(UserError, match=r"base\.start_token: is not a token of the base"):
        load_folder_tokenizer(path, {}, start_token="<|start|>")


def test_tokenizer_is_refused(tmp_path: Path, folder: Path) -> None:
    path = save(tmp_path / "t", byte_level())
    size = Tokenizer.from_file(str(path)).get_vocab_size()
    load_folder_tokenizer(path, {}, size)
    for use in (
        lambda: load_folder_tokenizer(path, {}, size - 1),
        lambda: load_folder_tokenizer(path, {"vocab_size": size - 1}),
    ):
        with pytest.raises(UserError, match="is the tokenizer of another vocabulary") as refusal:
            use()
        assert f"ids below {size - 1:,}" in str(refusal.value)
    with pytest.raises(UserError, match="another vocabulary"):
        load_base_tokenizer(folder, path, 300)
    path.with_name("tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer_config\.json: names no token that ends"):
        load_folder_tokenizer(path, {})
    path.write_text("{}")
    with pytest.raises(UserError, match="is not a tokenizer"):
        load_folder_tokenizer(path, {})
    path.unlink()
    with pytest.raises(UserError, match="there is no such file"):
        load_folder_tokenizer(path, {})
