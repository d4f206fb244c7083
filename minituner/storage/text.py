"""Text from outside: its bytes are decoded and split into lines, or refused."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from minituner.errors import UserError

# Byte-order marks; that of UTF-32-LE begins with that of UTF-16-LE, so it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The likely encodings of English and Spanish text that is not UTF-8: names in Python and in iconv.
_LIKELY = {
    "utf_16_le": "UTF-16LE",
    "utf_16_be": "UTF-16BE",
    "cp1252": "Windows-1252",
}


def read_text(path: str | Path) -> str:
    """A file's text, in UTF-8 or the encoding of its byte-order mark.

    Raises:
        UserError: The file cannot be read, or is in another encoding; the message names the likely
            one.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return decode(raw, path)


def decode(raw: bytes, source: str | Path) -> str:
    """Bytes as text, in UTF-8 or the encoding of their byte-order mark, which is dropped.

    Args:
        source: The origin of the bytes, for messages.

    Raises:
        UserError: They are in another encoding; the message names the line and the likely one.
    """
    try:
        return raw.decode(_encoding_of(raw))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise not_utf8(f"{source}:{line}", raw, error.start) from error


def decode_line(raw: bytes, place: str) -> str:
    """One line of UTF-8 as text.

    Raises:
        UserError: It is not UTF-8; the message names ``place`` and the likely encoding.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(place, raw, error.start) from error


def _encoding_of(raw: bytes) -> str:
    """The encoding of the byte-order mark; without one, UTF-8."""
    return next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")


def not_utf8(where: str, raw: bytes, position: int) -> UserError:
    """The refusal of bytes that are not UTF-8 at ``position``."""
    looks_like = likely_encoding(raw)
    return UserError(
        where,
        "is not UTF-8",
        found=f"byte 0x{raw[position]:02x}"
        + (f"; it looks like {looks_like}" if looks_like else ""),
        expected="text in UTF-8",
        fix="save it as UTF-8"
        + (f", or convert it: iconv -f {looks_like} -t UTF-8" if looks_like else ""),
    )


def likely_encoding(raw: bytes) -> str | None:
    """The name of the encoding that ``raw`` seems to be in; None if no likely one fits."""
    from charset_normalizer import from_bytes  # here: it takes 0.1 s, and only errors need it

    # Not its whole list: a short text fits a dozen code pages. And in UTF-16, nearly every
    # character of these languages has a NUL.
    fitting = [name for name in _LIKELY if b"\0" in raw or not name.startswith("utf_16")]
    best = from_bytes(raw, cp_isolation=fitting).best()
    return None if best is None else _LIKELY.get(best.encoding)


def unreadable(path: str | Path, error: OSError) -> UserError:
    """The refusal of a file that the operating system cannot open or read, or that is not there."""
    return UserError(
        path,
        "cannot be read",
        found=error.strerror or str(error),
        expected="a readable file",
        fix="fix the path or the permissions",
    )


def no_such_file(path: str | Path, *, expected: str, fix: str) -> UserError:
    """The refusal of a path that is not a file."""
    return UserError(
        path,
        "there is no such file",
        found="a folder" if Path(path).is_dir() else "nothing",
        expected=expected,
        fix=fix,
    )


def lines_of(text: str) -> list[str]:
    """The lines of ``text``. Only a line feed ends one, with or without a carriage return before
    it: a sentence may contain any other character."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def iter_lines(stream: BinaryIO, source: str | Path) -> Iterator[bytes]:
    """The lines of a stream as they arrive, split as by :func:`lines_of`.

    They are bytes in UTF-8, without a byte-order mark, for :func:`decode_line`: one bad line does
    not affect the others.

    Raises:
        UserError: The stream has the byte-order mark of UTF-16 or UTF-32, and is not in it.
    """
    first = stream.readline()
    lines: Iterable[bytes] = chain([first.removeprefix(codecs.BOM_UTF8)], stream)
    if _encoding_of(first) in ("utf-16", "utf-32"):  # their line ends are not single bytes
        lines = io.BytesIO(decode(first + stream.read(), source).encode())
    for line in filter(None, lines):
        yield line.removesuffix(b"\n").removesuffix(b"\r")
