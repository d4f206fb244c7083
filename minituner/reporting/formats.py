"""Numbers in words: the Jinja filters through which every number of a report goes.

Each format has ``z``, so that a number that rounds to zero has no minus sign.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from minituner.errors import number_of
from minituner.results import Interval
from minituner.target_layers import ALL_LINEAR, numbers_shown


def pct(value: float, digits: int = 1) -> str:
    """A share as a percentage: 0.981 -> 98.1 %"""
    return f"{100 * value:z.{digits}f} %"


def signed_pct(value: float, digits: int = 1) -> str:
    """A relative change: 0.012 -> +1.2 %"""
    return f"{100 * value:+z.{digits}f} %"


def signed_pp(value: float) -> str:
    """A difference of two shares in percentage points: 0.25 -> +25.0 pp"""
    return f"{100 * value:+z.1f} pp"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign: 1.4 -> +1.40"""
    return f"{value:+z.{digits}f}"


def fixed(value: float, digits: int) -> str:
    """A number with a fixed number of digits: 2.0 -> 2.000"""
    return f"{value:z.{digits}f}"


def number(value: float) -> str:
    """A number with at most four significant digits: 0.0083750 -> 0.008375"""
    return f"{value:z.4g}"


def thousands(value: int) -> str:
    """An integer with a comma between thousands: 61440 -> 61,440"""
    return f"{value:,}"


def p_value(value: float) -> str:
    """A p-value with its relation: = 0.031, or < 0.001"""
    return "< 0.001" if value < 0.001 else f"= {p_number(value)}"


def p_number(value: float) -> str:
    """A p-value: 0.031, or < 0.001"""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(estimate: Interval, digits: int = 2, scale: float = 1) -> str:
    """A mean and its interval: +1.48 [+1.40, +1.55]"""
    return _with_ends(estimate, scale, f"+z.{digits}f")


def interval_pct(estimate: Interval, digits: int = 1) -> str:
    """A mean share and its interval, in percent: 98.1 % [96.2, 100.0]"""
    return _with_ends(estimate, 100, f"z.{digits}f", " %")


def interval_pp(estimate: Interval) -> str:
    """A mean difference of shares and its interval, in percentage points: +1.2 [-0.4, +2.8]"""
    return interval(estimate, digits=1, scale=100)


def _with_ends(estimate: Interval, scale: float, form: str, unit: str = "") -> str:
    """A mean and its interval, or a note that it has none: +1.48 [no interval]"""
    mean, low, high = (
        None if value is None else format(scale * value, form)
        for value in (estimate["mean"], estimate["low"], estimate["high"])
    )
    return f"{mean}{unit} [no interval]" if low is None else f"{mean}{unit} [{low}, {high}]"


def code_list(names: list[str]) -> str:
    """Names in code style: `` `q_proj`, `v_proj` ``"""
    return ", ".join(f"`{name}`" for name in names)


def adapted_layers(lora: Mapping[str, Any]) -> str:
    """The config's choice of layers: `` `q_proj`, `v_proj` `` or ``every linear layer``; and, if it
    is restricted, ``... of the last 8 layers`` or ``... of layers 0 and 5``."""
    targets = lora["target_modules"]
    names = "every linear layer" if ALL_LINEAR in targets else code_list(targets)
    match lora.get("layers"):
        case None:
            return names
        case str(ends):
            end, count = ends.split()
            return f"{names} of the {end} {'layer' if count == '1' else f'{count} layers'}"
        case numbers:
            return f"{names} of {numbers_shown(numbers)}"


def cell(value: object) -> str:
    """Text that stays in its table cell: bars are escaped, line breaks become spaces."""
    return " ".join(str(value).split()).replace("|", "\\|")


def flow_yaml(value: Mapping[str, Any]) -> str:
    """A mapping on one line of YAML."""
    return "{" + ", ".join(f"{key}: {json.dumps(item)}" for key, item in value.items()) + "}"


FILTERS = {
    function.__name__: function
    for function in (
        pct,
        signed_pct,
        signed_pp,
        signed,
        fixed,
        number,
        thousands,
        number_of,
        p_value,
        p_number,
        interval,
        interval_pct,
        interval_pp,
        code_list,
        adapted_layers,
        cell,
        flow_yaml,
    )
}
