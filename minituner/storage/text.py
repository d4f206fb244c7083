"""Text from outside: how its bytes are decoded and cut into lines."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from minituner.errors import UserError

# Byte-order marks; UTF-32's little-endian one begins with UTF-16's, so it stands before that.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What English and Spanish text that is not UTF-8 is written in, as Python and as iconv call it.
_LIKELY = {
    "utf_16_le": "UTF-16LE",
    "utf_16_be": "UTF-16BE",
    "cp1252": "Windows-1252",
}


def read_text(path: str | Path) -> str:
    """A file's text: UTF-8, or what its byte-order mark says.

    Raises:
        UserError: The file cannot be read, or is in another encoding; it names the likely one.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return decode(raw, path)


def decode(raw: bytes, source: str | Path) -> str:
    """Bytes as text: UTF-8, or what their byte-order mark says; the mark is no part of the text.

    Args:
        source: Where the bytes come from, for messages.

    Raises:
        UserError: They are in another encoding; it names the line and the likely encoding.
    """
    try:
        return raw.decode(_encoding_of(raw))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise not_utf8(f"{source}:{line}", raw, error.start) from error


def decode_line(raw: bytes, place: str) -> str:
    """One line of UTF-8 as text.

    Raises:
        UserError: It is not UTF-8; it names ``place`` and the likely encoding.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(place, raw, error.start) from error


def _encoding_of(raw: bytes) -> str:
    """What the byte-order mark says; without one, UTF-8."""
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
    """The name of the encoding that ``raw`` seems to be in, or None if nothing fits."""
    from charset_normalizer import from_bytes  # 0.1 s, and something is wrong already

    # Not its whole list: a short text fits a dozen code pages of it. And in UTF-16, these languages
    # have a NUL in nearly every character.
    fitting = [name for name in _LIKELY if b"\0" in raw or not name.startswith("utf_16")]
    best = from_bytes(raw, cp_isolation=fitting).best()
    return None if best is None else _LIKELY.get(best.encoding)


def unreadable(path: str | Path, error: OSError) -> UserError:
    """The refusal of a file that the system does not let us read."""
    return UserError(
        path,
        "cannot be read",
        found=error.strerror or str(error),
        expected="a readable file",
        fix="fix the path or the permissions",
    )


def lines_of(text: str) -> list[str]:
    """The lines of ``text``, which end at line feeds alone (a carriage return before one belongs to
    it): a sentence may hold any other character."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def iter_lines(stream: BinaryIO, source: str | Path) -> Iterator[bytes]:
    """The lines of a stream as each comes in, cut as by :func:`lines_of`, still as bytes: UTF-8
    without a byte-order mark, for :func:`decode_line`, so that one bad line spoils no other.

    Raises:
        UserError: A text with the byte-order mark of another encoding does not keep to that one.
    """
    first = stream.readline()
    lines: Iterable[bytes] = chain([first.removeprefix(codecs.BOM_UTF8)], stream)
    if _encoding_of(first) in ("utf-16", "utf-32"):  # their line ends are not single bytes
        lines = io.BytesIO(decode(first + stream.read(), source).encode())
    for line in filter(None, lines):
        yield line.removesuffix(b"\n").removesuffix(b"\r")
