"""Text from outside: encodings, and lines."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from minituner.errors import UserError
from minituner.storage.text import (
    decode,
    decode_line,
    iter_lines,
    lines_of,
    no_such_file,
    read_text,
    unreadable,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_read_text_obeys_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "text"
    file.write_bytes("El niño comió 😀\n".encode(encoding))
    assert read_text(file) == "El niño comió 😀\n"


@pytest.mark.parametrize(
    ("encoding", "name"), [("cp1252", "Windows-1252"), ("utf-16-le", "UTF-16LE")]
)
def test_decode_names_the_line_and_the_encoding(encoding: str, name: str) -> None:
    raw = "He went home.\nEl niño comió pan, señor.\n".encode(encoding)
    with pytest.raises(UserError, match=f"it looks like {name}") as refusal:
        decode(raw, "own.csv")
    assert refusal.value.where == "own.csv:2"
    assert f"iconv -f {name} -t UTF-8" in str(refusal.value)


def test_decode_refuses_bytes_that_are_not_text() -> None:
    with pytest.raises(UserError, match="byte 0x81\n") as refusal:
        decode(bytes([0x81, 0x8D, 0x00, 0xFF]) * 9, "photo.csv")
    assert "iconv" not in str(refusal.value)


def test_lines_of() -> None:
    assert lines_of("a\r\nb\u2028c\x0cd\x85e\rf\n\ng") == ["a", "b\u2028c\x0cd\x85e\rf", "", "g"]
    assert lines_of("") == []


def test_decode_line_names_the_encoding() -> None:
    with pytest.raises(UserError, match="it looks like Windows-1252"):
        decode_line("café,x".encode("cp1252"), "own.csv:7")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["a\r\nb\u2028c\x0cd\x85e\rf\n\n😀", "é\n", "\n", ""])
def test_iter_lines_agrees_with_lines_of(encoding: str, text: str) -> None:
    stream = io.BytesIO(text.encode(encoding))
    lines = [decode_line(line, "stream") for line in iter_lines(stream, "stream")]
    assert lines == lines_of(text)


def test_iter_lines_does_not_wait_for_the_next_line() -> None:
    end, beginning = os.pipe()
    with os.fdopen(end, "rb") as stream, os.fdopen(beginning, "wb", buffering=0) as writer:
        lines = iter_lines(stream, "pipe")
        for line in (b"one", b"caf\xe9", b"two"):
            writer.write(line + b"\n")
            assert next(lines) == line


def test_unreadable() -> None:
    message = str(unreadable("a.txt", PermissionError(13, "Permission denied")))
    assert message.startswith("a.txt: cannot be read\n  found:    Permission denied\n")


def test_no_such_file(tmp_path: Path) -> None:
    for path, found in ((tmp_path / "none", "nothing"), (tmp_path, "a folder")):
        message = str(no_such_file(path, expected="a file", fix="fix the path"))
        assert message.startswith(f"{path}: there is no such file\n  found:    {found}\n")
