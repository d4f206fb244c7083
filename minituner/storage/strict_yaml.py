"""A strict reader of YAML: nothing in a file is silently left out or misread.

In YAML a later key replaces an earlier one, 010 is 8 and 1:30 is 90, and keys need not be text.
Each of these is refused with its line, and so is what none of the project's files needs: aliases,
merge keys and tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.storage.text import read_text

MAX_DEPTH = 50  # nested mappings and lists; libyaml crashes at about ten thousand
_TAG = "tag:yaml.org,2002:"
_WHOLE_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99}(_[0-9]{1,99}){0,9})")
_NUMBER = re.compile(
    r"[-+]?([0-9]+(_[0-9]+)*\.([0-9]+(_[0-9]+)*)?|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|nan)", re.I
)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# The types that YAML gives some unquoted texts, although the texts do not look like it.
_MISREAD = {
    "int": "YAML reads it as a number in a base other than ten",
    "float": "YAML reads it as a number in base sixty",
    "timestamp": "YAML reads it as a date",
    "merge": "YAML reads it as a merge key",
    "value": "YAML reads it as a default value",
}


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file: mappings with text as keys, lists, text, numbers, booleans, null.

    Raises:
        UserError: The file cannot be opened or decoded, is not YAML, or does not mean what it looks
            like: a duplicate key, 010, a date. The message names the lines.
    """
    import yaml  # here, because the stages that only read rows do not need it

    text = read_text(path)
    try:
        # The C loader, if PyYAML has it, is ten times as fast. Making nodes runs no code.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        _check_depth(path, yaml.parse(text, Loader=loader))
        root = yaml.compose(text, Loader=loader)
        values = _Values(path)
        value = None if root is None else values.of(root, ())
    except yaml.YAMLError as error:
        raise _not_yaml(path, text, error) from error
    values.mistakes.raise_if_any()
    return value


def _check_depth(path: str | Path, events: Iterable[Any]) -> None:
    """Refuse deep nesting before any function recurses into it."""
    from yaml import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError(
                f"{path}:{event.start_mark.line + 1}",
                "is nested too deeply",
                found=f"more than {MAX_DEPTH} nested mappings or lists",
                expected=f"at most {MAX_DEPTH}",
                fix="remove some of the brackets or of the indentation",
            )


def _not_yaml(path: str | Path, text: str, error: Exception) -> UserError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else None
    if line is None:  # a character that YAML does not allow: the error has no line
        line = next((n for n, row in enumerate(text.split("\n"), 1) if not _allowed(row)), None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return UserError(
        path if line is None else f"{path}:{line}",
        "is not YAML",
        found=str(problem).removeprefix("found "),
        expected="one YAML document: 'key: value', indented by spaces",
        fix="fix the indentation, quotes or colons on that line",
    )


def _both_places(first: Any, second: Any) -> str:
    """The lines of two marks; their columns as well if they are on one line."""
    if first.line != second.line:
        return f"on line {first.line + 1} and on line {second.line + 1}"
    columns = f"at column {first.column + 1} and at column {second.column + 1}"
    return f"on line {first.line + 1}, {columns}"


def _allowed(text: str) -> bool:
    from yaml.reader import Reader

    return Reader.NON_PRINTABLE.search(text) is None


class _Values:
    """Converts YAML nodes to values, and collects mistakes."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.mistakes = Mistakes()
        self._seen: set[int] = set()  # an alias is a node that was seen before

    def of(self, node: Any, keys: tuple[str, ...]) -> Any:
        """The value of the node at ``keys``; None if it is refused."""
        if self._is_alias(node, keys):
            return None
        kind = node.tag.removeprefix(_TAG)
        if node.id == "mapping" and kind == "map":
            return self._mapping(node, keys)
        if node.id == "sequence" and kind == "seq":
            return [self.of(item, (*keys, str(i))) for i, item in enumerate(node.value)]
        if node.id == "scalar":
            return self._scalar(node, kind, keys)
        return self._refuse_tag(node, keys)

    def _is_alias(self, node: Any, keys: tuple[str, ...]) -> bool:
        if id(node) not in self._seen:
            self._seen.add(id(node))
            return False
        self._refuse(
            node,
            f"{'.'.join(keys)} is an alias of this value",
            found="an anchor (&) and an alias (*)",
            expected="every value written out where it is used",
            fix="write the value there again",
        )
        return True

    def _mapping(self, node: Any, keys: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        marks: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                self._refuse_merge(key_node, keys)
                continue
            key = self._key(key_node, keys)
            written = key_node.value if key_node.id == "scalar" else f"a {key_node.id}"
            value = self.of(value_node, (*keys, str(written)))
            if key is None:
                continue
            mark = key_node.start_mark
            if key in marks:
                self._refuse(
                    key_node,
                    f"the key {'.'.join((*keys, key))!r} is given twice",
                    found=_both_places(marks[key], mark),
                    expected="each key once: YAML would use only the last",
                    fix="move everything under one of them, and remove the other",
                )
            else:
                marks[key], values[key] = mark, value
        return values

    def _refuse_merge(self, node: Any, keys: tuple[str, ...]) -> None:
        under = f" under {'.'.join(keys)!r}" if keys else ""
        self._refuse(
            node,
            f"a merge key{under}",
            found="<<",
            expected="every key and value written out where it is used; merge keys are not read",
            fix="write the keys and values there instead of <<",
        )

    def _key(self, node: Any, keys: tuple[str, ...]) -> str | None:
        if self._is_alias(node, (*keys, "a key")):
            return None
        if node.id == "scalar" and node.tag == f"{_TAG}str":
            return str(node.value)
        found = node.value if node.id == "scalar" else f"a {node.id}"
        under = f" under {'.'.join(keys)!r}" if keys else ""
        self._refuse(
            node,
            f"a key{under} that YAML does not read as text",
            found=found or "nothing",
            expected="text: yes, no, on, off, null, numbers and dates are text only in quotes",
            fix=f'write "{found}" in quotes' if node.id == "scalar" else "write a word as the key",
        )
        return None

    def _scalar(self, node: Any, kind: str, keys: tuple[str, ...]) -> Any:
        text = str(node.value)
        plain = text.replace("_", "").lower()
        if kind == "str":
            return text
        if kind == "null" and plain in ("", "~", "null"):
            return None
        if kind == "bool" and plain in _TRUTH:
            return _TRUTH[plain]
        if kind == "int" and _WHOLE_NUMBER.fullmatch(text):
            return int(plain)
        if kind == "float" and _NUMBER.fullmatch(text):
            return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        if kind not in _MISREAD:
            return self._refuse_tag(node, keys)
        return self._refuse(
            node,
            f"{'.'.join(keys)} would not be read as it is written",
            found=f"{text}: {_MISREAD[kind]}",
            expected="a number in base ten (12, 0.5, 1.0e-4), or text in quotes",
            fix=f'write such a number, or "{text}" in quotes',
        )

    def _refuse_tag(self, node: Any, keys: tuple[str, ...]) -> None:
        self._refuse(
            node,
            f"{'.'.join(keys) or 'the file'} has a tag",
            found=node.tag.replace(_TAG, "!!"),
            expected="plain values, without a !tag",
            fix="remove the tag",
        )

    def _refuse(self, node: Any, what: str, *, found: str, expected: str, fix: str) -> None:
        place = f"{self.path}:{node.start_mark.line + 1}"
        self.mistakes.add(UserError(place, what, found=found, expected=expected, fix=fix))
