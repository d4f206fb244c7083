"""A corpus: which files it consists of, and their rows, with every mistake named by file:line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from minituner.data.consistency import check_row
from minituner.data.rows import Row, parse_row
from minituner.data.verbs import Verb
from minituner.errors import Mistakes, UserError
from minituner.storage.text import not_utf8, unreadable


def corpus_files(folder: str | Path) -> list[str]:
    """The folder's ``*.jsonl`` files, sorted by name, except those whose name begins with a dot:
    editors, file managers and interrupted writes leave such files next to the real ones.

    Raises:
        UserError: There is no such folder, or it has no such file.
    """
    found = [
        path
        for path in Path(folder).glob("*")
        if path.suffix.lower() == ".jsonl" and path.is_file()
    ]
    files = sorted(str(path) for path in found if not path.name.startswith("."))
    if not files:
        nothing = "only files whose name begins with a dot" if found else "no *.jsonl file"
        raise UserError(
            folder,
            "holds no corpus",
            found=nothing if Path(folder).is_dir() else "no such folder",
            expected="a folder with at least one .jsonl file, one JSON object per line",
            fix="name the corpus's folder, or put its files there",
        )
    return files


def read_rows(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> list[Row]:
    """Read and check the rows of all files, in the order given.

    Raises:
        UserError: As ``iter_rows``.
    """
    return list(iter_rows(paths, verbs))


def iter_rows(paths: Iterable[str | Path], verbs: Mapping[str, Verb]) -> Iterator[Row]:
    """Read and check rows one at a time. After the first mistake no more rows are yielded, but all
    files are read to the end, so that every mistake is found.

    Args:
        paths: JSON-lines files in UTF-8, with or without a byte-order mark; blank lines are
            skipped.
        verbs: The known verbs, by lemma.

    Raises:
        UserError: At the end: a file cannot be read or holds no row, a row is not valid or does
            not agree with ``verbs``, or an id is used twice. It names ``path:line`` of the first
            mistake in each row.
    """
    mistakes = Mistakes()
    places: dict[str, str] = {}
    for path in paths:
        for row in _valid_rows(path, verbs, places, mistakes):
            if not mistakes.count:
                yield row
    mistakes.raise_if_any()


def _valid_rows(
    path: str | Path, verbs: Mapping[str, Verb], places: dict[str, str], mistakes: Mistakes
) -> Iterator[Row]:
    """The valid rows of one file; the mistakes in the others are noted.

    Args:
        places: By id, ``path:line`` of each row read so far, in all files.
    """
    name = str(path)
    try:
        for line, text in numbered_lines(path):
            try:
                row = parse_row(text, name, line)
                _check_id(row, places)
                check_row(row, verbs)
            except UserError as error:
                mistakes.add(error)
            else:
                yield row
    except UserError as error:  # about the file as a whole
        mistakes.add(error)


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a file that are not blank, each with its number, starting at 1.

    Raises:
        UserError: The file cannot be read, is not UTF-8, or has no such line.
    """
    empty = True
    try:
        with Path(path).open("rb") as stream:
            for line, raw in enumerate(stream, start=1):
                if line == 1:
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if raw.strip():
                    empty = False
                    yield line, raw.decode("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_utf8(f"{path}:{line}", raw, error.start) from error
    if empty:
        raise UserError(
            path,
            "holds no rows",
            found="an empty file",
            expected="one JSON object per line",
            fix="put the rows back, or delete the file",
        )


def _check_id(row: Row, places: dict[str, str]) -> None:
    """Check that an id is not used yet, and remember it."""
    if row.id in places:
        raise UserError(
            row.place,
            "duplicate id",
            found=f"{row.id!r}, which {places[row.id]} has already",
            expected="a different id for every row of the corpus",
            fix="give one of the two rows another id",
        )
    places[row.id] = row.place
