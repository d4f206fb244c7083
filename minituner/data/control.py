"""The control set: items that resemble the task's, and whose perplexity measures forgetting."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from minituner.commands import in_config
from minituner.data.pairs import Pair
from minituner.data.shuffle import seeded_shuffle
from minituner.data.spelling import comparable
from minituner.errors import UserError, number_of

FEWEST_ITEMS = 5  # of a control set: fewer say nothing about a language


def draw_by_frame(
    pairs: Sequence[Pair], frames: Mapping[str, int], count: int, seed: int
) -> list[Pair]:
    """``count`` control pairs with the task's mix of frame types, groups in turn.

    Where a frame type runs short, pairs of others fill up; ``tokenize`` checks whether the result
    is still similar enough.

    Args:
        frames: How many of the task's pairs have each frame type.

    Raises:
        UserError: There are fewer than ``count`` pairs.
    """
    by_frame = defaultdict(list)
    for pair in seeded_shuffle(pairs, seed):
        by_frame[pair.frame].append(pair)
    chosen: list[Pair] = []
    for frame, quota in _apportion(frames, count).items():
        chosen += round_robin_by_group(by_frame[frame])[:quota]
    if len(chosen) < count:
        left = without_prompts(seeded_shuffle(pairs, seed), chosen)
        chosen += round_robin_by_group(left)[: count - len(chosen)]
    if len(chosen) < count:
        raise too_few("control", len(chosen), count)
    return chosen


def without_prompts(pairs: Iterable[Pair], taken: Iterable[Pair]) -> list[Pair]:
    """The pairs whose prompt none of ``taken`` has, up to :func:`comparable` spelling."""
    prompts = {comparable(pair.prompt) for pair in taken}
    return [pair for pair in pairs if comparable(pair.prompt) not in prompts]


def _apportion(weights: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole numbers in proportion to ``weights`` that sum to ``total`` (largest remainders)."""
    exact = {key: total * weights[key] / sum(weights.values()) for key in sorted(weights)}
    whole = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (whole[key] - exact[key], key))
    for key in by_remainder[: total - sum(whole.values())]:
        whole[key] += 1
    return whole


def round_robin_by_group(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair of every group, then a second of every group, and so on; the order within a group is
    kept."""
    by_group: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_group[pair.group].append(pair)
    rounds = zip_longest(*(by_group[group] for group in sorted(by_group)))
    return [pair for one_round in rounds for pair in one_round if pair is not None]


def draw_by_length(
    items: Sequence[Pair], task: Sequence[Pair], count: int, seed: int
) -> list[Pair]:
    """At most ``count`` items whose lengths are spread like those of the task's pairs; all of them
    if there are no more.

    For each of ``count`` evenly spaced quantiles of the task's lengths, in characters, it takes the
    item that is nearest in length and not taken yet.
    """
    if len(items) <= count:
        return list(items)
    left = sorted(seeded_shuffle(items, seed), key=_length)
    lengths = [_length(item) for item in left]
    wanted = sorted(map(_length, task))
    chosen = []
    for i in range(count):
        length = wanted[(2 * i + 1) * len(wanted) // (2 * count)]
        place = bisect_left(lengths, length)
        around = [j for j in (place - 1, place) if 0 <= j < len(lengths)]
        nearest = min(around, key=lambda j: (abs(lengths[j] - length), j))
        chosen.append(left.pop(nearest))
        del lengths[nearest]
    return chosen


def _length(pair: Pair) -> int:
    return len(pair.sentence)


def require_items(items: Sequence[Pair], name: str) -> None:
    """Check that a control set has enough items to say anything.

    Raises:
        UserError: It has fewer than ``FEWEST_ITEMS``.
    """
    if len(items) < FEWEST_ITEMS:
        raise too_few(name, len(items), FEWEST_ITEMS)


def too_few(split: str, found: int, needed: int) -> UserError:
    """The refusal of data with too few pairs for a split."""
    return UserError(
        in_config("data.split"),
        f"too few pairs for the {split} split",
        found=number_of(found, "pair"),
        expected=f"at least {needed}; of a verb corpus only rows in the past simple or past "
        "participle that have a prompt count",
        fix=f"add rows to the data, or ask for fewer: {in_config('data.split')}",
    )
