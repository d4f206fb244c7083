"""Every number of a report in words."""

from __future__ import annotations

from typing import Any

import pytest

from minituner.reporting.formats import FILTERS


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("pct", (0.9808,), "98.1 %"),
        ("pct", (0.5, 0), "50 %"),
        ("signed_pct", (0.012,), "+1.2 %"),
        ("signed_pp", (-0.25,), "-25.0 pp"),
        ("signed", (1.48,), "+1.48"),
        ("fixed", (2.0, 3), "2.000"),
        ("number", (0.0083750,), "0.008375"),
        ("thousands", (61440,), "61,440"),
        ("p_value", (0.0001,), "< 0.001"),
        ("p_value", (0.03125,), "= 0.031"),
        ("p_value", (0.00099,), "< 0.001"),
        ("p_value", (0.001,), "= 0.001"),
        ("p_value", (1.0,), "= 1.000"),
        ("p_number", (0.03125,), "0.031"),
        ("interval", ({"mean": 1.48, "low": -1.4, "high": 1.55},), "+1.48 [-1.40, +1.55]"),
        ("interval_pct", ({"mean": 0.981, "low": 0.9, "high": 1.0},), "98.1 % [90.0, 100.0]"),
        ("interval_pp", ({"mean": 0.5, "low": -0.01, "high": 1.0},), "+50.0 [-1.0, +100.0]"),
        ("interval", ({"mean": 1.48, "low": None, "high": None},), "+1.48 [no interval]"),
        ("interval_pct", ({"mean": 0.5, "low": None, "high": None}, 0), "50 % [no interval]"),
        ("code_list", (["q_proj", "v_proj"],), "`q_proj`, `v_proj`"),
        ("adapted_layers", ({"target_modules": ["q", "v"], "layers": None},), "`q`, `v`"),
        ("adapted_layers", ({"target_modules": "all-linear"},), "every linear layer"),
        (
            "adapted_layers",
            ({"target_modules": ["all-linear"], "layers": "last 8"},),
            "every linear layer of the last 8 layers",
        ),
        (
            "adapted_layers",
            ({"target_modules": ["q"], "layers": "first 1"},),
            "`q` of the first layer",
        ),
        (
            "adapted_layers",
            ({"target_modules": ["q"], "layers": [5, 0]},),
            "`q` of layers 0 and 5",
        ),
        ("cell", ("one | two\nthree",), "one \\| two three"),
        ("flow_yaml", ({"a": 1, "b": ["x"]},), '{a: 1, b: ["x"]}'),
    ],
)
def test_filter(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert FILTERS[name](*arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("signed_pct", (-0.0004,), "+0.0 %"),
        ("signed_pp", (-0.0004,), "+0.0 pp"),
        ("signed", (-0.004,), "+0.00"),
        ("pct", (-0.0004,), "0.0 %"),
        ("fixed", (-0.004, 2), "0.00"),
        ("number", (-0.0,), "0"),
        ("interval", ({"mean": -0.001, "low": -0.02, "high": -0.0},), "+0.00 [-0.02, +0.00]"),
    ],
)
def test_zero_has_no_minus_sign(name: str, arguments: tuple[Any, ...], expected: str) -> None:
    assert FILTERS[name](*arguments) == expected
