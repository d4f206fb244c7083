"""Checks what a YAML file holds against a JSON Schema; every mistake is reported by its key.

The schemas are YAML files. In them, ``description`` is what a message gives as expected, and
``x-fix`` how to fix the value; without these a message words the constraint itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minituner.errors import Mistakes, UserError
from minituner.storage.messages import closest
from minituner.storage.strict_yaml import read_yaml

Keys = tuple[str, ...]  # the keys that lead to a value, from the top


@dataclass(frozen=True)
class Problem:
    """A mistake at a key. Which file the key is in may not be known yet.

    Args:
        keys: The value that is wrong, or would be if it were not missing.
        missing: Whether the key is missing.
        meant: For a misspelled key, the missing one that it resembles.
        others: The values that this one was compared with.
    """

    keys: Keys
    what: str
    found: str
    expected: str
    fix: str
    missing: bool = False
    meant: Keys | None = None
    others: tuple[Keys, ...] = ()

    def error(self, source: str | Path) -> UserError:
        """The error, once its source is known: a file or the command line."""
        where = f"{source}: {'.'.join(self.keys)}" if self.keys else str(source)
        return UserError(where, self.what, found=self.found, expected=self.expected, fix=self.fix)


@cache
def load_schema(path: str | Path) -> Mapping[str, Any]:
    """A schema, read once per process: it is part of the program."""
    schema: Mapping[str, Any] = read_yaml(path)
    return schema


def schema_problems(
    value: Any, schema: Mapping[str, Any], example: str, *, overlays: bool = False
) -> list[Problem]:
    """Everything in ``value`` that does not fit the schema, in the order of its keys.

    A misspelled key is one problem, not also that of the missing key it resembles.

    Args:
        example: The file of the repository that shows how such a file is written.
        overlays: Whether the value was merged from files that need not hold every key.
    """
    errors = sorted(
        _validator_class()(schema, format_checker=_format_checker()).iter_errors(value),
        key=lambda error: _position(value, error.absolute_path),
    )
    translate = _Translator(example, overlays)
    # Two missing keys are two errors, each of which lists both.
    problems = dict.fromkeys(problem for error in errors for problem in translate(error))
    meant = {problem.meant for problem in problems}
    return [problem for problem in problems if not (problem.missing and problem.keys in meant)]


def are_sound(problems: Iterable[Problem], *values: Keys) -> bool:
    """Whether no problem is at, above or below any of the values, so that a rule can use them."""
    places = [keys for p in problems for keys in (p.keys, p.meant) if keys is not None]
    return not any(
        all(one == other for one, other in zip(keys, place, strict=False))
        for keys in values
        for place in places
    )


def refuse(path: str | Path, problems: Iterable[Problem]) -> None:
    """Raise the problems of one file, if there are any.

    Raises:
        UserError: The one problem, or several at once.
    """
    mistakes = Mistakes()
    for problem in problems:
        mistakes.add(problem.error(path))
    mistakes.raise_if_any()


def _position(value: Any, path: Iterable[str | int]) -> list[int]:
    """The place of an error in the file, for sorting."""
    position = []
    for key in path:
        position.append(key if isinstance(key, int) else list(value).index(key))
        value = value[key]
    return position


@cache
def _validator_class() -> Any:
    """For JSON Schema 3.0 is an integer, and NaN and infinity are numbers; for this class not."""
    import jsonschema  # 0.06 s, so only where a file is checked

    def is_integer(_checker: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(checker: object, value: object) -> bool:
        return is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))

    draft = jsonschema.Draft202012Validator
    types = draft.TYPE_CHECKER.redefine_many({"integer": is_integer, "number": is_number})
    return jsonschema.validators.extend(draft, type_checker=types)


@cache
def _format_checker() -> Any:
    """Knows one format of our own, ``plain-text``: visible characters on one line."""
    import jsonschema

    def is_plain_text(value: object) -> bool:
        return not isinstance(value, str) or (value.strip() == value and value.isprintable())

    checker = jsonschema.FormatChecker(formats=())
    checker.checks("plain-text")(is_plain_text)
    return checker


@dataclass(frozen=True)
class _Translator:
    """Turns an error of jsonschema into problems; one error may concern several keys."""

    example: str
    overlays: bool

    def __call__(self, error: Any) -> Iterator[Problem]:
        keys = tuple(map(str, error.absolute_path))
        match error.validator:
            case "additionalProperties":
                yield from self._unknown_keys(error, keys)
            case "required":
                yield from self._missing_keys(error, keys)
            case "type" | "minProperties" if error.schema.get("type") == "object":
                yield self._no_keys(error, keys)
            case _ if "propertyNames" in error.absolute_schema_path:
                yield self._bad_value(error, (*keys, str(error.instance)), "the name")
            case _:
                yield self._bad_value(error, keys, "the value")

    def _unknown_keys(self, error: Any, keys: Keys) -> Iterator[Problem]:
        known = list(error.schema["properties"])
        missing = [key for key in known if key not in error.instance]
        for key in error.instance:
            if key not in known:
                meant = closest(str(key), missing)
                similar = meant or closest(str(key), known)
                yield Problem(
                    (*keys, str(key)),
                    "unknown key",
                    found=repr(key),
                    expected=f"one of {', '.join(known)}",
                    fix=f"did you mean {similar!r}?" if similar else f"remove {key!r}",
                    meant=None if meant is None else (*keys, meant),
                )

    def _missing_keys(self, error: Any, keys: Keys) -> Iterator[Problem]:
        if not error.instance:
            yield self._no_keys(error, keys)
            return
        for key in error.validator_value:
            if key not in error.instance:
                yield Problem(
                    (*keys, key),
                    "the key is missing",
                    found=f"only {', '.join(map(str, error.instance))}",
                    expected=f"{key!r} as well",
                    fix=f"add it, as in {self.example} of the repository",
                    missing=True,
                )

    def _no_keys(self, error: Any, keys: Keys) -> Problem:
        names = list(error.schema.get("properties", error.schema.get("required", ())))
        fix = f"as in {self.example} of the repository"
        if keys:
            fix = f"under {keys[-1]}, indented, {fix}"
        if keys and self.overlays:
            fix += f"; an overlay that changes none of them leaves out {keys[-1]} as well"
        return Problem(
            keys,
            "has no keys",
            found=_with_type(error.instance),
            expected=error.schema.get("description") or f"its keys: {', '.join(names)}",
            fix=f"write them {fix}",
        )

    def _bad_value(self, error: Any, keys: Keys, what: str) -> Problem:
        expected = error.schema.get("description") or EXPECTED[error.validator](
            error.validator_value
        )
        return Problem(
            keys,
            f"{what} cannot be used",
            found=_with_type(error.instance),
            expected=expected,
            fix=_fix(error),
        )


# The types of JSON Schema in plain words.
TYPES = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def _with_type(value: object) -> str:
    """A value and its type: ``'16' (text)``."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return f"{str(value).lower()} (true or false)"
        case str():
            return f"{value!r} (text)"
        case int() | float():
            return f"{value} (a number)"
        case list():
            return f"{value} (a list)"
        case Mapping():
            return f"{dict(value)} (a mapping)"
    return repr(value)


# By keyword of JSON Schema, from its value: what is expected. These are all that a schema may use,
# besides those that _Translator handles itself and those that lead to other schemas.
EXPECTED: Mapping[str, Callable[[Any], str]] = {
    "type": lambda value: " or ".join(
        TYPES[name] for name in ([value] if isinstance(value, str) else value)
    ),
    "minimum": lambda value: f"at least {value}",
    "maximum": lambda value: f"at most {value}",
    "exclusiveMinimum": lambda value: f"above {value}",
    "exclusiveMaximum": lambda value: f"below {value}",
    "minItems": lambda value: f"a list of at least {value}",
    "minLength": lambda _value: "some text",
    "maxLength": lambda value: f"at most {value} characters",
    "uniqueItems": lambda _value: "no value twice",
    "enum": lambda value: f"one of {', '.join(map(str, value))}",
    "pattern": lambda value: f"text that matches {value}",
    "format": lambda value: f"text in the format {value}",
}


def _fix(error: Any) -> str:
    if error.validator == "enum":
        similar = closest(str(error.instance), map(str, error.validator_value))
        return f"did you mean {similar!r}?" if similar else "write one of those"
    is_of_several_types = isinstance(error.schema.get("type"), list) and "x-fix" in error.schema
    if error.validator == "type" and not is_of_several_types:
        return _fix_type(error.validator_value, error.instance)
    return str(error.schema.get("x-fix", "change it there"))


def _fix_type(expected: str | list[str], value: object) -> str:
    if expected in ("integer", "number") and (number := _as_number(value, expected)) is not None:
        return f"write {number}, without quotes: YAML reads 1e-4 as text, 1.0e-4 as a number"
    if "string" in expected and isinstance(value, int | float):
        return "write it in quotes: YAML does not read numbers, yes, no, on and off as text"
    return f"write {EXPECTED['type'](expected)} there"


def _as_number(value: object, expected: str | list[str]) -> float | None:
    """The number of the expected type that a text spells, if it does."""
    for kind in (int, float) if expected == "number" else (int,):
        try:
            number = kind(value) if isinstance(value, str) else math.nan
        except (ValueError, OverflowError):
            continue
        return number if math.isfinite(number) else None
    return None
