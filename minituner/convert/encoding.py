"""The text of a user's file, in UTF-8, in the encoding of a byte-order mark, or in a named one."""

from __future__ import annotations

from pathlib import Path

from minituner.errors import UserError, number_of
from minituner.storage.text import decode, likely_encoding, not_utf8, unreadable


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def decode_text(raw: bytes, path: Path, encoding: str | None) -> str:
    """A file's bytes as text.

    Args:
        encoding: Any name that Python knows; None for UTF-8 or that of a byte-order mark.

    Raises:
        UserError: They are in another encoding, or have a NUL in them.
    """
    if encoding is not None:
        return _decoded_as(path, raw, encoding)
    try:
        text = decode(raw, path)
    except UserError as error:
        raise _in_another_encoding(error, raw) from error
    if "\0" in text:
        line = text.count("\n", 0, text.find("\0")) + 1
        place = f"{path}:{line}"
        if likely_encoding(raw):  # plain English in UTF-16 is UTF-8 too, with NULs in between
            raise _in_another_encoding(not_utf8(place, raw, raw.find(b"\0")), raw)
        raise UserError(
            place,
            "has a NUL in it, which is not a character of text",
            found=number_of(text.count("\0"), "NUL"),
            expected="text",
            fix="remove it",
        )
    return text


def _in_another_encoding(error: UserError, raw: bytes) -> UserError:
    likely = likely_encoding(raw)
    return UserError(
        error.where,
        error.what,
        found=f"bytes that look like {likely}" if likely else "bytes of another encoding",
        expected="text in UTF-8, or with a byte-order mark",
        fix="save it as UTF-8 (in Excel: CSV UTF-8), or name its encoding: "
        f"--encoding {likely or 'NAME'}",
    )


def _decoded_as(path: Path, raw: bytes, encoding: str) -> str:
    """The text, decoded as the user says."""
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
        found = "NUL characters" if "\0" in text else ""
    except LookupError:
        found = "an encoding that Python does not know"
    except (UnicodeError, ValueError) as error:
        found = str(error)
    if not found and _is_utf8(raw) and text != raw.decode("utf-8-sig"):
        found = "text in UTF-8, which that encoding would garble"
    if found:
        likely = likely_encoding(raw)
        raise UserError(
            path,
            f"cannot be read as {encoding!r}",
            found=found,
            expected="the encoding that the file was saved in, such as utf-8, cp1252 or utf-16",
            fix=f"try --encoding {likely}" if likely else "leave --encoding out, or name another",
        )
    return text


def _is_utf8(raw: bytes) -> bool:
    """Whether the bytes are certainly UTF-8: they have letters outside ASCII, and are valid."""
    try:
        return not raw.decode("utf-8").isascii()
    except UnicodeDecodeError:
        return False
