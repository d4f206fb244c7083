"""Byte-level BPE through the ``tokenizers`` library: no text is unknown to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from minituner.errors import UserError
from minituner.files import write_text

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread a job, as everywhere here

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BOS, EOS, PAD, UNK = SPECIAL_TOKENS = ("<bos>", "<eos>", "<pad>", "<unk>")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train byte-level BPE on ``texts``; the vocabulary starts with the specials and 256 bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _plain_text(tokenizer)


def _plain_text(tokenizer: Tokenizer) -> Tokenizer:
    """Make it read "<eos>" in a sentence as six characters, not as the special token."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write ``tokenizer.json``, whole or not at all."""
    write_text(path, tokenizer.to_str(pretty=True) + "\n")


def load_tokenizer(path: str | Path, vocab_size: int | None = None) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Args:
        vocab_size: The base's; a tokenizer of another size is refused.

    Raises:
        UserError: There is no such file, it is no tokenizer, lacks a special token, or has another
            vocabulary than the base.
    """
    expected = f"a tokenizer.json with the special tokens {' '.join(SPECIAL_TOKENS)}"
    mend = "name the tokenizer.json that belongs to the base in config.yaml: base.tokenizer"
    path = Path(path)
    if not path.is_file():
        raise UserError(
            path, "there is no such file", found="nothing", expected=expected, mend=mend
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise UserError(
            path, "is no tokenizer", found=str(error), expected=expected, mend=mend
        ) from error
    missing = [token for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if missing:
        raise UserError(
            path, "lacks a special token", found=f"no {missing[0]}", expected=expected, mend=mend
        )
    if vocab_size not in (None, tokenizer.get_vocab_size()):
        raise UserError(
            path,
            "is the tokenizer of another base",
            found=f"a vocabulary of {tokenizer.get_vocab_size()}",
            expected=f"a vocabulary of {vocab_size}, as the base has",
            mend=mend,
        )
    return _plain_text(tokenizer)


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of one of SPECIAL_TOKENS."""
    token_id = tokenizer.token_to_id(token)
    assert token_id is not None, token  # load_tokenizer has checked
    return int(token_id)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of ``text`` alone, without specials."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
