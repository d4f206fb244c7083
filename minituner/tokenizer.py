"""Byte-level BPE, through the ``tokenizers`` library: every text can be encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minituner.commands import in_config
from minituner.errors import Mistakes, UserError
from minituner.storage.files import write_text
from minituner.storage.text import no_such_file

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread per job, as everywhere here

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BOS, EOS, PAD, UNK = SPECIAL_TOKENS = ("<bos>", "<eos>", "<pad>", "<unk>")
# Texts that are decoded differently by a tokenizer that normalizes text, adds or drops spaces, or
# lacks a token for some character.
PROBES = (
    "He __ to school yesterday. => went / fue",
    " MAR\u00cdA's two  spaces,\ta tab\nand a line ",
    "cafe\u0301, \ufb01ne, \u00bd, \uff21 \u2019 \u6f22\u5b57 \U0001f642",
    "".join(map(chr, range(ord(" "), 0x180))),  # Latin letters with all their accents
)

EXPECTED = f"a tokenizer.json with the special tokens {' '.join(SPECIAL_TOKENS)}"


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer, and the ids of the special tokens that the pipeline puts around texts."""

    backend: Tokenizer
    bos_id: int  # begins every text
    eos_id: int  # ends every text
    pad_id: int
    # Whether it puts a space before every text, as many of transformers do: the tokens of " went"
    # in a sentence are those that it gives "went".
    prepends_space: bool = False
    exact: bool = True  # whether decoding the ids of a text gives that text, for every text

    @property
    def vocab_size(self) -> int:
        """The number of token ids, V."""
        return int(self.backend.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """The token ids of ``text``, without special tokens around it."""
        if self.prepends_space:
            text = text.removeprefix(" ")
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; special tokens have none."""
        text = str(self.backend.decode(ids))
        return text.removeprefix(" ") if self.prepends_space else text

    def token(self, token_id: int) -> str:
        """How the vocabulary writes a token, for messages."""
        return str(self.backend.id_to_token(token_id))


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> TextTokenizer:
    """Train byte-level BPE on ``texts``.

    The vocabulary begins with SPECIAL_TOKENS, in their order, and the 256 bytes.
    """
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
    return _with_special_tokens(tokenizer)


def _with_special_tokens(tokenizer: Tokenizer) -> TextTokenizer:
    """A tokenizer that has SPECIAL_TOKENS, with their ids."""
    tokenizer.encode_special_tokens = True  # "<eos>" in a sentence is five characters
    bos, eos, pad = (_special_id(tokenizer, token) for token in (BOS, EOS, PAD))
    return TextTokenizer(tokenizer, bos, eos, pad)


def _special_id(tokenizer: Tokenizer, token: str) -> int:
    token_id = tokenizer.token_to_id(token)
    if token_id is None:
        raise ValueError(f"the tokenizer has no {token}")
    return int(token_id)


def save_tokenizer(tokenizer: TextTokenizer, path: str | Path) -> None:
    """Write ``tokenizer.json``, completely or not at all."""
    write_text(path, tokenizer.backend.to_str(pretty=True) + "\n")


def load_tokenizer(path: str | Path, vocab_size: int | None = None) -> TextTokenizer:
    """Read the ``tokenizer.json`` of a MiniGPT.

    Args:
        vocab_size: That of the base; a tokenizer of another size is refused.

    Raises:
        UserError: There is no such file, it is not a tokenizer, its vocabulary is not the base's,
            its ids have gaps, or it changes text.
    """
    path = Path(path)
    backend = read_backend(path)
    with _failures_as_user_errors(path):
        _check_specials_present(backend, path)
        tokenizer = _with_special_tokens(backend)
        _check(tokenizer, path, vocab_size)
    return tokenizer


def read_backend(path: Path) -> Tokenizer:
    """Read any ``tokenizer.json``. Truncation, padding and dropout, which transformers may have
    saved with it, are turned off, since they belong to another use.

    Raises:
        UserError: There is no such file, or it is not a tokenizer.
    """
    if not path.is_file():
        raise no_such_file(path, expected=EXPECTED, fix=_fix())
    with _failures_as_user_errors(path):
        backend = Tokenizer.from_file(str(path))
        backend.no_truncation()
        backend.no_padding()
        if hasattr(backend.model, "dropout"):  # it would split a text differently each time
            backend.model.dropout = None
    return backend


def _check_specials_present(backend: Tokenizer, path: Path) -> None:
    missing = [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
    if missing:
        raise _refusal(
            path,
            "lacks a special token" if len(missing) == 1 else "lacks special tokens",
            found=f"no {', '.join(missing)}",
            expected=EXPECTED,
        )


def _check(tokenizer: TextTokenizer, path: Path, vocab_size: int | None) -> None:
    """Check its ids and vocabulary size, and that it does not change text."""
    mistakes = Mistakes()
    for check in (_check_ids, _check_specials, _check_probes):
        with mistakes.noted():
            check(tokenizer, path)
    if vocab_size not in (None, tokenizer.vocab_size):
        mistakes.add(
            _refusal(
                path,
                "has a different vocabulary size than the base",
                found=f"a vocabulary of {tokenizer.vocab_size}",
                expected=f"a vocabulary of {vocab_size}, like the base's",
            )
        )
    mistakes.raise_if_any()


@contextmanager
def _failures_as_user_errors(path: Path) -> Iterator[None]:
    """Turn failures of the library into a refusal of the file. It raises bare Exceptions, or a
    panic, which is not an Exception and also prints a trace."""
    try:
        with _silenced():
            yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        found = f"a file that the library fails on: {error}"
        raise _refusal(path, "is not a tokenizer", found=found, expected=EXPECTED) from error


@contextmanager
def _silenced() -> Iterator[None]:
    """Discard what the library writes to standard error."""
    try:
        kept = os.dup(2)
    except OSError:  # closed already
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _check_ids(tokenizer: TextTokenizer, path: Path) -> None:
    """Check that the ids are 0, 1, 2, ..., each used once: they index the base's embedding."""
    tokens: dict[int, str] = {}
    for token, token_id in tokenizer.backend.get_vocab().items():
        if tokens.setdefault(token_id, token) != token:
            found = f"{tokens[token_id]!r} and {token!r} share the id {token_id}"
            break
    else:
        if max(tokens) < len(tokens):
            return
        absent = next(i for i in range(len(tokens)) if i not in tokens)
        found = f"an id {max(tokens)} among {len(tokens)} tokens, and none with the id {absent}"
    expected = "the ids 0, 1, 2, ..., one per token"
    raise _refusal(path, "numbers its tokens with gaps or twice", found=found, expected=expected)


def _check_specials(tokenizer: TextTokenizer, path: Path) -> None:
    """Check that special tokens decode to no text, and that no text encodes to one of them."""
    ids = [_special_id(tokenizer.backend, token) for token in SPECIAL_TOKENS]
    text = "".join(SPECIAL_TOKENS)
    as_text, as_tokens = tokenizer.decode(ids), tokenizer.encode(text)
    if as_text or set(ids) & set(as_tokens):
        raise _refusal(
            path,
            "confuses its special tokens with text",
            found=f"they decode to {as_text!r}; the text {text!r} has the ids {as_tokens}",
            expected='"special": true for each of them under "added_tokens"',
        )


def _check_probes(tokenizer: TextTokenizer, path: Path) -> None:
    """Check that texts are unchanged by encoding and decoding."""
    for text in PROBES:
        check_kept(tokenizer, text, tokenizer.encode(text), path, str(path))


def check_kept(
    tokenizer: TextTokenizer, text: str, ids: list[int], where: str | Path, name: str
) -> None:
    """Check that decoding the tokens of a text gives the text. Otherwise the model would read
    another text, and so would a reader of its answers.

    Args:
        ids: The tokens of ``text``.
        where: The location of the text, for messages.
        name: The tokenizer's name in messages.

    Raises:
        UserError: It does not.
    """
    decoded = tokenizer.decode(ids)
    if decoded != text:
        raise UserError(
            where,
            "the tokenizer changes text",
            found=f"{decoded!r}, decoded from the tokens of {text!r}",
            expected="the same text: no normalizer, and tokens for every character",
            fix=f"use a byte-level tokenizer that adds and drops nothing, instead of {name}",
        )


def _refusal(path: Path, what: str, *, found: str, expected: str) -> UserError:
    return UserError(path, what, found=found, expected=expected, fix=_fix())


def _fix() -> str:
    return f"name the tokenizer.json that belongs to the base: {in_config('base.tokenizer')}"
