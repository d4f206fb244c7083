"""Control items drawn so that their lengths are like the task's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handmade import pair

from minituner.data.control import FEWEST_ITEMS, draw_by_length, require_items
from minituner.data.pairs import Pair
from minituner.errors import UserError


def text(length: int, number: int = 0) -> Pair:
    """A control text of so many characters."""
    own = f"{number} ".ljust(length, "x")
    return replace(
        pair(number), id=f"{length}-{number}", prompt="", correct=own, after="", wrong=()
    )


def lengths(items: list[Pair]) -> list[int]:
    return sorted(len(item.sentence) for item in items)


def test_the_nearest_lengths_are_drawn() -> None:
    items = [text(length, number) for length in (10, 20, 30, 40, 80) for number in range(6)]
    task = [text(20), text(20), text(40), text(80)]
    assert lengths(draw_by_length(items, task, 4, seed=0)) == [20, 20, 40, 80]
    assert lengths(draw_by_length(items, task, 8, seed=0)) == [20] * 4 + [40] * 2 + [80] * 2


def test_where_a_length_runs_short_its_neighbors_fill_up() -> None:
    items = [text(10), text(12), text(19), *(text(100, number) for number in range(20))]
    assert lengths(draw_by_length(items, [text(12)], 3, seed=0)) == [10, 12, 19]


def test_the_seed_draws_among_equal_lengths() -> None:
    items = [text(20, number) for number in range(200)]
    draws = [{p.id for p in draw_by_length(items, [text(20)], 20, seed)} for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert all(len(draw) == 20 for draw in draws)
    assert {p.id for p in draw_by_length(items[::-1], [text(20)], 20, 0)} == draws[0]


def test_few_items_are_all_drawn() -> None:
    items = [text(length) for length in (900, 7, 30)]
    assert draw_by_length(items, [text(20)], 100, seed=0) == items


def test_a_handful_is_needed() -> None:
    items = [text(20, number) for number in range(FEWEST_ITEMS)]
    require_items(items, "control")
    with pytest.raises(UserError, match="too few pairs for the controls/french split"):
        require_items(items[1:], "controls/french")
