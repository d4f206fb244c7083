"""Stage ``split``: train, val and test of the task's pairs, control and probe of the control's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from minituner.commands import in_config
from minituner.data.control import (
    draw_by_frame,
    draw_by_length,
    require_items,
    round_robin_by_group,
    too_few,
    without_prompts,
)
from minituner.data.leakage import question
from minituner.data.pairs import TASK_SPLITS, Pair, iter_pairs
from minituner.data.prompts import Scoring
from minituner.data.shuffle import seeded_hash, seeded_shuffle, shuffle_key
from minituner.data.spelling import comparable_word
from minituner.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class SplitSettings:
    """The sizes of the splits.

    The shares are of the task's pairs and sum to 1; the counts are of the control's. Of every
    group, ``held_out_complements`` complements occur in val and test only.
    """

    train_share: float = 0.8
    val_share: float = 0.1
    test_share: float = 0.1
    held_out_complements: int = 1
    control_pairs: int = 100
    probe_sentences: int = 20


def split_files(
    files: Mapping[str, Any], settings: SplitSettings, seed: int, task: Mapping[str, Any]
) -> dict[str, list[Pair]]:
    """The splits of what ``filter`` or ``read_task`` wrote.

    Args:
        files: ``task`` and ``control``, and under ``controls`` those of further control sets.
        task: ``pairs``, which is None in the study of verbs, and ``scoring``.

    Raises:
        UserError: The shares do not sum to 1, or there are fewer pairs than a split needs.
    """
    pairs, control = (list(iter_pairs(files[name])) for name in ("task", "control"))
    if task["pairs"] is None:
        splits = split_pairs(pairs, control, settings, seed)
    else:
        splits = split_own(pairs, control, settings, seed, task["scoring"])
    for file in files.get("controls") or ():
        name = f"controls/{Path(file).stem}"
        splits[name] = draw_own_control(list(iter_pairs(file)), pairs, settings, seed, name)
    return splits


def split_pairs(
    pairs: Sequence[Pair], control: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """Divide pairs with frame types into train, val and test, and control pairs into control and
    probe.

    Raises:
        UserError: The shares do not sum to 1, or there are fewer pairs than a split needs.
    """
    splits = split_task(pairs, settings, seed)
    frames = Counter(pair.frame for pair in pairs)
    splits["control"] = draw_by_frame(control, frames, settings.control_pairs, seed)
    rest = without_prompts(control, splits["control"])
    splits["probe"] = round_robin_by_group(seeded_shuffle(rest, seed))[: settings.probe_sentences]
    if len(splits["probe"]) < settings.probe_sentences:
        raise too_few("probe", len(splits["probe"]), settings.probe_sentences)
    return splits


def split_own(
    pairs: Sequence[Pair],
    control: Sequence[Pair],
    settings: SplitSettings,
    seed: int,
    scoring: Scoring,
) -> dict[str, list[Pair]]:
    """Divide the pairs of a task file as they say, or else as :func:`split_task` does; draw the
    control items by length. There is no probe.

    Raises:
        UserError: As ``split_pairs``.
    """
    splits: dict[str, list[Pair]] = {name: [] for name in TASK_SPLITS}
    if any(pair.split for pair in pairs):  # in all or in none: see task_file
        for pair in pairs:
            splits[pair.split].append(pair)
        _require_pairs(splits)
    else:
        splits = split_task(pairs, settings, seed, scoring)
    splits["control"] = draw_own_control(control, pairs, settings, seed, "control")
    splits["probe"] = []
    return splits


def draw_own_control(
    items: Sequence[Pair], task: Sequence[Pair], settings: SplitSettings, seed: int, name: str
) -> list[Pair]:
    """The items of a control set that are used: at most ``settings.control_pairs``.

    Raises:
        UserError: There are too few to say anything.
    """
    require_items(items, name)
    return draw_by_length(items, task, settings.control_pairs, seed)


# --- train, val and test ------------------------------------------------------------------------


def split_task(
    pairs: Sequence[Pair], settings: SplitSettings, seed: int, scoring: Scoring = "fill_in"
) -> dict[str, list[Pair]]:
    """Divide the pairs into train, val and test so that the totals are exact and every group and
    form is near its share.

    Pairs with the same :func:`question` stay together, and those with a held-out complement never
    go to train.

    Raises:
        UserError: The shares do not sum to 1, or a split would be empty.
    """
    shares = shares_of(settings)
    held_out = held_out_complements(pairs, settings, seed)

    def is_held_out(alike: Sequence[Pair]) -> bool:
        return any((pair.group, comparable_word(pair.complement)) in held_out for pair in alike)

    ordered = order_by_stratum(group_by_question(pairs, scoring), seed, first=is_held_out)
    assigned = assign_by_deficit(
        ordered, shares, lambda alike: ("val", "test") if is_held_out(alike) else shares
    )
    splits = {name: list(chain.from_iterable(members)) for name, members in assigned.items()}
    _require_pairs(splits)
    return splits


def _require_pairs(splits: Mapping[str, Sequence[Pair]]) -> None:
    for name, pairs in splits.items():
        if not pairs:
            raise too_few(name, 0, 1)


def shares_of(settings: SplitSettings) -> dict[str, float]:
    """The share of each split of the task's pairs.

    Raises:
        UserError: They do not sum to 1.
    """
    shares = {
        "train": settings.train_share,
        "val": settings.val_share,
        "test": settings.test_share,
    }
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise UserError(
            in_config("data.split"),
            "the shares do not sum to 1",
            found=sum(shares.values()),
            expected="train_share + val_share + test_share = 1",
            fix="e.g. 0.8, 0.1 and 0.1",
        )
    return shares


def held_out_complements(
    pairs: Iterable[Pair], settings: SplitSettings, seed: int
) -> set[tuple[str, str]]:
    """The complements that train must not see, drawn for every group: (group, complement), the
    latter in its :func:`comparable` spelling.

    A complement with more of its group's pairs than val and test have room for is skipped.
    """
    by_group: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        by_group[pair.group][comparable_word(pair.complement)] += 1
    held_out = set()
    for group, counts in by_group.items():
        room = (settings.val_share + settings.test_share) * counts.total()
        drawn = 0
        for complement in sorted(counts, key=lambda c: seeded_hash(seed, f"{group}/{c}")):
            if complement and drawn < settings.held_out_complements and counts[complement] <= room:
                held_out.add((group, complement))
                drawn += 1
                room -= counts[complement]
    return held_out


def group_by_question(pairs: Iterable[Pair], scoring: Scoring = "fill_in") -> list[list[Pair]]:
    """Groups of pairs with the same :func:`question`, in order of their first pairs."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[question(pair, scoring)].append(pair)
    return list(groups.values())


def order_by_stratum(
    groups: Iterable[list[Pair]], seed: int, first: Callable[[Sequence[Pair]], bool]
) -> list[list[Pair]]:
    """The pairs that stay together by group and form of their first, shuffled by ``seed`` within
    each such stratum.

    Args:
        first: Selects those that come before the others of their stratum.
    """

    def key(alike: list[Pair]) -> tuple[str, str, bool, tuple[str, str]]:
        return alike[0].group, alike[0].form, not first(alike), shuffle_key(alike[0], seed)

    return sorted(groups, key=key)


def assign_by_deficit(
    items: Iterable[T], shares: Mapping[str, float], allowed: Callable[[T], Iterable[str]]
) -> dict[str, list[T]]:
    """Assign every item in turn to the split that is furthest below its quota.

    After n items a split's quota is its share of n. The quotas carry over from stratum to stratum
    of the items, so the totals are exact too.

    Args:
        allowed: The splits that an item may go to; of equal ones the first is taken.
    """
    splits: dict[str, list[T]] = {name: [] for name in shares}
    for count, item in enumerate(items, start=1):
        deficits = {name: shares[name] * count - len(splits[name]) for name in allowed(item)}
        splits[max(deficits, key=deficits.__getitem__)].append(item)
    return splits
