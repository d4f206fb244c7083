"""The ``tokenizer.json`` of a transformers model as a :class:`TextTokenizer`.

It is read by the ``tokenizers`` library, as transformers does: no stage needs transformers to
tokenize.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from minituner.commands import in_config
from minituner.errors import UserError
from minituner.hf.folder import TOKENIZER_SETTINGS, read_settings
from minituner.tokenizer import TextTokenizer, read_backend

SPACES = ("▁", "Ġ")  # how SentencePiece and byte-level vocabularies write a space


def load_folder_tokenizer(
    path: str | Path,
    config: Mapping[str, Any],
    vocab_size: int | None = None,
    start_token: str | None = None,
) -> TextTokenizer:
    """Read a ``tokenizer.json`` with the special tokens that the files next to it name.

    A text begins with ``start_token``, else with the tokenizer's first token (``bos_token``), else
    with its last (``eos_token``). Without a token for padding, the last one is used.

    Args:
        config: The model's ``config.json``, for ids that the tokenizer's files do not name.
        vocab_size: The rows of the base's embedding; ``None`` reads it from ``config``.

    Raises:
        UserError: The file is not a tokenizer, has ids without a row, or has no last token; or
            there is no such ``start_token``.
    """
    path = Path(path)
    backend = read_backend(path)
    _check_rows(backend, path, vocab_size or int(config.get("vocab_size", 2**31)))
    eos = _special_id(backend, path, config, "eos_token")
    if eos is None:
        raise UserError(
            path.with_name(TOKENIZER_SETTINGS[0]),
            "names no token that ends a text",
            found="no eos_token that the tokenizer has",
            expected="eos_token: one of the tokenizer's tokens",
            fix="add it, as the model's documentation says",
        )
    bos = _special_id(backend, path, config, "bos_token")
    pad = _special_id(backend, path, config, "pad_token")
    if start_token is not None:
        bos = _start_id(backend, path, start_token)
    bos, pad = (eos if token_id is None else token_id for token_id in (bos, pad))
    # Where tokenizer.json does not mark them as special, they would be decoded to text.
    backend.add_special_tokens([str(backend.id_to_token(token_id)) for token_id in (bos, eos, pad)])
    backend.encode_special_tokens = True  # "</s>" in a sentence is four characters
    return TextTokenizer(backend, bos, eos, pad, _prepends_space(backend), exact=False)


def _check_rows(backend: Tokenizer, path: Path, rows: int) -> None:
    """Check that every id has a row of the base's embedding."""
    token, largest = max(backend.get_vocab().items(), key=lambda item: item[1])
    if largest >= rows:
        raise UserError(
            path,
            "is the tokenizer of another vocabulary",
            found=f"the id {largest:,} ({token!r})",
            expected=f"ids below {rows:,}, the rows of the base's embedding",
            fix=f"name the tokenizer that belongs to the base: {in_config('base.tokenizer')}",
        )


def _special_id(backend: Tokenizer, path: Path, config: Mapping[str, Any], key: str) -> int | None:
    """The id of a special token, by its name in the tokenizer's files, or by its id in the model's
    config, which may be the first of several."""
    for file in TOKENIZER_SETTINGS:
        token = read_settings(path.with_name(file)).get(key)
        token = token.get("content") if isinstance(token, dict) else token
        token_id = backend.token_to_id(token) if isinstance(token, str) else None
        if token_id is not None:
            return int(token_id)
    token_id = config.get(f"{key}_id")
    token_id = token_id[0] if isinstance(token_id, list) and token_id else token_id
    known = isinstance(token_id, int) and token_id in backend.get_vocab().values()
    return token_id if known else None


def _start_id(backend: Tokenizer, path: Path, token: str) -> int:
    token_id = backend.token_to_id(token)
    if token_id is None:
        raise UserError(
            in_config("base.start_token"),
            "is not a token of the base",
            found=repr(token),
            expected=f"a token of {path}, such as its bos_token",
            fix="name another, or null for the tokenizer's own",
        )
    return int(token_id)


def _prepends_space(backend: Tokenizer) -> bool:
    ids = backend.encode("a", add_special_tokens=False).ids
    return bool(ids) and str(backend.id_to_token(ids[0])).startswith(SPACES)
