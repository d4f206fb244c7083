"""The rows that a report shows of a study's pairs."""

from __future__ import annotations

from typing import Any, cast

import pytest
from example_results import capitals_results, interval, report_results

from minituner.data.groups import are_single, taught_groups
from minituner.reporting.data_tables import (
    ROWS_SHOWN,
    extremes,
    forms_of,
    group_rows,
    groups_of,
    label_rows,
    match_of,
    splits_of,
)


def splits(**by_group: dict[str, int]) -> Any:
    return {name: {"by_group": groups} for name, groups in by_group.items()}


# --- few rows of many ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, ROWS_SHOWN])
def test_few_rows_are_all_shown(count: int) -> None:
    shown = extremes(range(count), key=lambda row: -row)
    assert (shown.rows, shown.others) == (list(range(count)), [])


def test_of_many_rows_the_lowest_and_the_highest_are_shown_in_their_order() -> None:
    rows = [30, 10, 50, 20, 40]
    shown = extremes(rows, key=float, most=3)
    assert (shown.rows, shown.others) == ([10, 50, 40], [30, 20])
    shown = extremes(range(1000), key=float)
    assert shown.rows == [*range(20), *range(980, 1000)]
    assert shown.others == list(range(20, 980))


def test_group_rows_are_chosen_by_the_accuracy_after_tuning() -> None:
    rows = [
        {
            **{"label": f"g/{i}/x", "sentences": 1},
            **{"base": interval(0.5), "ranks": {"8": interval(i / 100)}},
        }
        for i in range(100)
    ]
    shown = group_rows(cast(Any, rows), "8")
    assert len(shown.rows) == ROWS_SHOWN
    assert [(row.group, row.form) for row in shown.rows[:2]] == [("g/0", "x"), ("g/1", "x")]
    lowest_of_others = min(row.after["mean"] for row in shown.others)
    assert lowest_of_others == pytest.approx(0.2)


def test_a_pair_without_a_group_has_no_row() -> None:
    accuracies = {"sentences": 1, "base": interval(0.5), "ranks": {"8": interval(0.5)}}
    rows = [accuracies | {"label": label} for label in ("/", "/x", "a/", "a/x")]
    shown = group_rows(cast(Any, rows), "8").rows
    assert [(row.group, row.form) for row in shown] == [("a", ""), ("a", "x")]


def test_labels_of_no_form_and_no_complement_have_no_row() -> None:
    def labels(*names: str) -> list[str]:
        rows = [{"label": name, "ranks": {"8": interval(0.5)}} for name in names]
        return [row["label"] for row in label_rows(cast(Any, rows), "8").rows]

    assert labels("", "no complement") == []
    assert labels("", "plural", "no complement") == ["plural"]
    assert labels("new complement", "no complement") == ["new complement", "no complement"]


# --- groups, forms and splits -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_group", "single"),
    [
        ({"train": {"a": 1, "b": 1}, "test": {"c": 1}}, True),
        ({"train": {"a": 1}, "test": {"a": 1}}, False),
        ({"train": {"a": 2}}, False),
        ({"train": {"": 20}, "test": {"": 4}}, True),  # no pair has a group
        ({"train": {"": 20, "a": 2}}, False),
        ({"control": {"a": 9}}, True),  # not what is taught
    ],
)
def test_groups_of_one_pair(by_group: dict[str, dict[str, int]], single: bool) -> None:
    assert are_single(splits(**by_group)) == single


def test_taught_groups_are_those_of_three_splits() -> None:
    counts = taught_groups(
        splits(train={"a": 2, "": 1}, val={"a": 1}, test={"b": 1}, probe={"c": 1})
    )
    assert counts == {"a": 3, "b": 1}


def test_groups_of_the_splits() -> None:
    pairs = cast(Any, {"splits": splits(train={"a": 2, "b": 2, "c": 1}, test={"b": 1, "d": 1})})
    groups = groups_of(pairs)
    assert (groups.count, groups.names) == (4, "a, b, c, d")
    assert (groups.tested, groups.untrained, groups.untested) == (2, 1, 2)
    pairs["splits"]["control"] = {"by_group": {"x": 1, "y": 1}}
    assert groups_of(pairs).single_control
    pairs["splits"]["control"] = {"by_group": {"x": 2, "y": 1}}
    assert not groups_of(pairs).single_control


def test_of_many_groups_the_first_are_named() -> None:
    names = groups_of(capitals_results(countries=200)["pairs"]).names
    assert names.startswith("Country 0, Country 1, ") and names.endswith(" and 180 more")


def test_forms_are_columns_if_they_are_few() -> None:
    pairs = cast(Any, {"splits": {"train": {"by_form": {"": 1, "plural": 2, "dual": 3}}}})
    assert forms_of(pairs, of_verbs=False) == ["dual", "plural"]
    assert forms_of(pairs, of_verbs=True) == ["past_simple", "past_participle"]
    pairs["splits"]["train"]["by_form"] = {str(i): 1 for i in range(6)}
    assert forms_of(pairs, of_verbs=False) == []


def test_splits_are_in_the_order_of_the_study_without_empty_ones() -> None:
    found = splits_of(capitals_results()["pairs"])
    assert list(found) == ["train", "val", "test", "control", "controls/poems"]


def test_frames_of_pairs_without_any() -> None:
    match = match_of(capitals_results()["pairs"])
    assert match is not None and match.frames.rows == []
    match = match_of(report_results()["pairs"])
    assert match is not None and [row["frame"] for row in match.frames.rows] == ["time_last"]
    pairs = capitals_results()["pairs"]
    del pairs["distributions"]
    assert match_of(pairs) is None
