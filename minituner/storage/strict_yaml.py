"""YAML read so that nothing in a file is silently left out or taken for something else.

YAML itself lets a later key replace an earlier one, reads 010 as 8 and 1:30 as 90, and takes keys
that are not text. Here each of these is refused by its line, and so is what no file of ours needs:
aliases, merge keys, and tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.storage.text import read_text

DEEPEST = 50  # mappings and lists inside one another; libyaml crashes at some ten thousand
_TAG = "tag:yaml.org,2002:"
_WHOLE_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99}(_[0-9]{1,99}){0,9})")
_NUMBER = re.compile(
    r"[-+]?([0-9]+(_[0-9]+)*\.([0-9]+(_[0-9]+)*)?|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?\.(inf|nan)", re.I
)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# What YAML takes a text without quotes for, of which nothing is said in the text itself.
_MISREAD = {
    "int": "YAML takes it for a number to another base than ten",
    "float": "YAML takes it for a number to the base of sixty",
    "timestamp": "YAML takes it for a date",
    "merge": "YAML takes it for a merge key",
    "value": "YAML takes it for a default value",
}


def read_yaml(path: str | Path) -> Any:
    """What a YAML file holds: mappings with text as keys, lists, text, numbers, truth values, null.

    Raises:
        UserError: It cannot be opened or decoded, is not YAML, or means something else than it
            looks like: a key that stands twice, 010, a date. It names the lines.
    """
    import yaml  # here: the stages that only read rows need none

    text = read_text(path)
    try:
        # In C where PyYAML was built so, ten times as fast. It only makes nodes, which run nothing.
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
    """Refuse what is nested too deeply, before anything follows it down."""
    from yaml import CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in events:
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(
                f"{path}:{event.start_mark.line + 1}",
                "is nested too deeply",
                found=f"more than {DEEPEST} mappings or lists inside one another",
                expected=f"at most {DEEPEST}",
                fix="remove some of the brackets or of the indentation",
            )


def _not_yaml(path: str | Path, text: str, error: Exception) -> UserError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else None
    if line is None:  # a character that YAML does not allow, of which it gives no line
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
    """Two marks of a file, told apart by their columns where they are on one line."""
    if first.line != second.line:
        return f"on line {first.line + 1} and on line {second.line + 1}"
    columns = f"at column {first.column + 1} and at column {second.column + 1}"
    return f"on line {first.line + 1}, {columns}"


def _allowed(text: str) -> bool:
    from yaml.reader import Reader

    return Reader.NON_PRINTABLE.search(text) is None


class _Values:
    """Turns YAML's nodes into values, and notes what is wrong with them."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.mistakes = Mistakes()
        self._met: set[int] = set()  # an alias is the node it stands for, met again

    def of(self, node: Any, keys: tuple[str, ...]) -> Any:
        """The value of a node that stands at ``keys``; None where it is refused."""
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
        if id(node) not in self._met:
            self._met.add(id(node))
            return False
        self._refuse(
            node,
            f"{'.'.join(keys)} is an alias of what stands here",
            found="an anchor (&) and an alias (*)",
            expected="every value written out where it belongs",
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
                    f"the key {'.'.join((*keys, key))!r} stands twice",
                    found=_both_places(marks[key], mark),
                    expected="each key once: of two, YAML would use the last alone",
                    fix="put what belongs there under one of them, and remove the other",
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
            expected="every key and value written out where it belongs: merge keys are not read",
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
            f"a key{under} that YAML does not take for text",
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
            expected="a number to the base of ten (12, 0.5, 1.0e-4), or text in quotes",
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
