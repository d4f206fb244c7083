"""What JSON Schema finds wrong with a config, in our words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from minituner.errors import UserError
from minituner.storage.sections import nearest

COMMAND_LINE = "--config"  # named where a file would be
Keys = tuple[str, ...]  # the way to a value from the top


@dataclass(frozen=True)
class Problem:
    """Something wrong with a config, of which it is not known yet in which file it stands.

    Args:
        place: The key that a message names, dotted.
        keys: Which value it is about, to find the file that holds it.
        missing: Whether that value is missing, and so stands in no file.
        others: The values that it was compared with: the mistake is that of the last one written.
    """

    place: str
    keys: Keys
    what: str
    found: str
    expected: str
    fix: str
    missing: bool = False
    others: tuple[Keys, ...] = ()

    def error(self, source: str) -> UserError:
        """The error, once it is known where the value comes from: a file or the command line."""
        return UserError(
            f"{source}: {self.place}",
            self.what,
            found=self.found,
            expected=self.expected,
            fix=self.fix,
        )

    def at_command_line(self) -> Problem:
        """The same, of a value that does not fit the schema and stands in no file."""
        fix = (
            "write it into a file and give that with --configfile: Snakemake reads all that is "
            "nested in --config as text"
        )
        return replace(self, fix=fix)


def problem(
    place: str,
    what: str,
    *,
    found: object,
    expected: str,
    fix: str,
    at: str | None = None,
    compared_with: Iterable[str] = (),
) -> Problem:
    """A problem at a dotted key.

    Args:
        at: The value to be looked for, if it is another.
        compared_with: The dotted keys of the values that this one does not agree with.
    """
    keys = tuple((place if at is None else at).split("."))
    others = tuple(tuple(key.split(".")) for key in compared_with)
    return Problem(place, keys, what, str(found), expected, fix, others=others)


def schema_problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Problem]:
    """All that does not fit the schema, in the order of the keys."""
    errors = _strict_validator()(schema).iter_errors(dict(config))
    ordered = sorted(errors, key=lambda error: [str(part) for part in error.absolute_path])
    # Of two missing keys there are two errors, each of which tells of both.
    return list(dict.fromkeys(found for error in ordered for found in _problems(error)))


def _strict_validator() -> Any:
    """JSON Schema takes 3.0 for an integer, and NaN and infinity for numbers: here neither is."""
    import jsonschema  # 0.1 s, so only where a config is read

    def is_integer(_checker: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(checker: object, value: object) -> bool:
        return is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))

    draft = jsonschema.Draft202012Validator
    kinds = draft.TYPE_CHECKER.redefine_many({"integer": is_integer, "number": is_number})
    return jsonschema.validators.extend(draft, type_checker=kinds)


def _problems(error: Any) -> Iterator[Problem]:
    """One error of jsonschema, which may tell of several keys."""
    keys = tuple(map(str, error.absolute_path))
    place = ".".join(keys) or "top level"
    match error.validator:
        case "additionalProperties":
            yield from _unknown_keys(error, keys, place)
        case "required":
            yield from _missing_keys(error, keys, place)
        case "type" if "properties" in error.schema:
            yield Problem(
                place,
                keys,
                "has no keys under it",
                found=_with_kind(error.instance),
                expected=f"its keys: {', '.join(error.schema['properties'])}",
                fix=f"write them under {place}, indented; an overlay that changes none of them "
                f"leaves out {place} as well",
            )
        case _:
            yield Problem(
                place,
                keys,
                "the value cannot be used",
                found=_with_kind(error.instance),
                expected=EXPECTED[error.validator](error.validator_value),
                fix=_suggestion(error) or "change it there",
            )


def _unknown_keys(error: Any, keys: Keys, place: str) -> Iterator[Problem]:
    known = list(error.schema["properties"])
    for key in error.instance:
        if key not in known:
            yield Problem(
                place,
                (*keys, key),
                f"unknown key {key!r}",
                found=str(key),
                expected=f"one of {', '.join(known)}",
                fix=nearest(str(key), known) or f"remove {key!r}",
            )


def _missing_keys(error: Any, keys: Keys, place: str) -> Iterator[Problem]:
    for key in error.validator_value:
        if key not in error.instance:
            yield Problem(
                place,
                (*keys, key),
                f"the key {key!r} is missing",
                found=f"only {', '.join(map(str, error.instance)) or 'nothing'}",
                expected=f"{key!r} as well",
                fix="take it from the config.yaml that the project ships",
                missing=True,
            )


# The kinds of values, as JSON Schema and as people call them.
KINDS = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def _with_kind(value: object) -> str:
    """A value and what it is: ``'16' (text)``; of nothing, only that."""
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


EXPECTED: Mapping[str, Callable[[Any], str]] = {
    "type": lambda value: " or ".join(
        KINDS[kind] for kind in ([value] if isinstance(value, str) else value)
    ),
    "minimum": lambda value: f"at least {value}",
    "maximum": lambda value: f"at most {value}",
    "exclusiveMinimum": lambda value: f"above {value}",
    "exclusiveMaximum": lambda value: f"below {value}",
    "minItems": lambda value: f"a list of at least {value}",
    "minLength": lambda _value: "some text",
    "uniqueItems": lambda _value: "no value twice",
    "minProperties": lambda value: f"at least {value}",
    "pattern": lambda _value: "a name of letters, digits and + _ -, an arm's in lower case",
    "enum": lambda value: f"one of {', '.join(map(str, value))}",
}


def _suggestion(error: Any) -> str | None:
    if error.validator != "type":
        return nearest(str(error.instance), map(str, error.schema.get("enum", ())))
    wanted, value = error.validator_value, error.instance
    if wanted in ("integer", "number") and (number := _as_number(value, wanted)) is not None:
        return f"write {number}, without quotes: YAML reads 1e-4 as text, 1.0e-4 as a number"
    if wanted == "string" and isinstance(value, int | float):
        return "write it in quotes: YAML reads numbers, dates, yes, no, on and off as no text"
    return f"write {EXPECTED['type'](wanted)} there"


def _as_number(value: object, wanted: str) -> float | None:
    """The number of the wanted kind that a text spells, if it does."""
    for kind in (int, float) if wanted == "number" else (int,):
        try:
            number = kind(value) if isinstance(value, str) else math.nan
        except (ValueError, OverflowError):
            continue
        return number if math.isfinite(number) else None
    return None
