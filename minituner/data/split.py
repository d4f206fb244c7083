"""Stage ``split``: train, val and test of the irregular pairs, control and probe of the regular."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TypeVar

from minituner.commands import in_config
from minituner.data.pairs import Pair, iter_pairs
from minituner.data.spelling import comparable, comparable_word
from minituner.errors import UserError, number_of

T = TypeVar("T")


@dataclass(frozen=True)
class SplitSettings:
    """The sizes of the splits.

    The shares are of the irregular pairs and sum to 1; the counts are of the regular ones. Of every
    irregular verb, ``held_out_complements`` complements occur in val and test only.
    """

    train_share: float = 0.8
    val_share: float = 0.1
    test_share: float = 0.1
    held_out_complements: int = 1
    control_pairs: int = 100
    probe_sentences: int = 20


def split_files(
    irregular: str | Path, regular: str | Path, settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """``split_pairs`` of the two files that ``filter`` wrote."""
    return split_pairs(list(iter_pairs(irregular)), list(iter_pairs(regular)), settings, seed)


def split_pairs(
    irregular: Sequence[Pair], regular: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """Divide the irregular pairs into train, val and test, the regular ones into control and probe.

    Raises:
        UserError: The shares do not sum to 1, or there are fewer pairs than a split needs.
    """
    splits = split_irregular(irregular, settings, seed)
    frames = Counter(pair.frame for pair in irregular)
    splits["control"] = draw_control(regular, frames, settings.control_pairs, seed)
    rest = without_prompts(regular, splits["control"])
    splits["probe"] = round_robin_by_group(seeded_shuffle(rest, seed))[: settings.probe_sentences]
    if len(splits["probe"]) < settings.probe_sentences:
        raise _too_few("probe", len(splits["probe"]), settings.probe_sentences, "regular")
    return splits


# --- train, val and test ------------------------------------------------------------------------


def split_irregular(
    pairs: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """Divide the pairs into train, val and test so that the totals are exact and every verb and
    form is near its share.

    Pairs that share a prompt stay together, and groups with a held-out complement never go to
    train.

    Raises:
        UserError: The shares do not sum to 1, or a split would be empty.
    """
    shares = shares_of(settings)
    held_out = held_out_complements(pairs, settings, seed)

    def is_held_out(group: Sequence[Pair]) -> bool:
        return any((pair.group, comparable_word(pair.complement)) in held_out for pair in group)

    groups = group_by_prompt(pairs)
    ordered = order_by_stratum(groups, seed, first=is_held_out)
    assigned = assign_by_deficit(
        ordered, shares, lambda group: ("val", "test") if is_held_out(group) else shares
    )
    for name, members in assigned.items():
        if not members:
            raise _too_few(name, 0, 1, "irregular")
    return {name: list(chain.from_iterable(members)) for name, members in assigned.items()}


def shares_of(settings: SplitSettings) -> dict[str, float]:
    """The share of each split of the irregular pairs.

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
    """The complements that train must not see, drawn for every verb: (verb, complement), the
    latter in its :func:`comparable` spelling.

    A complement with more of its verb's pairs than val and test have room for is skipped.
    """
    by_group: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        by_group[pair.group][comparable_word(pair.complement)] += 1
    held_out = set()
    for verb, counts in by_group.items():
        room = (settings.val_share + settings.test_share) * counts.total()
        drawn = 0
        for complement in sorted(counts, key=lambda c: seeded_hash(seed, f"{verb}/{c}")):
            if complement and drawn < settings.held_out_complements and counts[complement] <= room:
                held_out.add((verb, complement))
                drawn += 1
                room -= counts[complement]
    return held_out


def group_by_prompt(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Groups of pairs with the same prompt, up to :func:`comparable` spelling, in order of their
    first pairs."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[comparable(pair.prompt)].append(pair)
    return list(groups.values())


def order_by_stratum(
    groups: Iterable[list[Pair]], seed: int, first: Callable[[Sequence[Pair]], bool]
) -> list[list[Pair]]:
    """The groups by verb and form of their first pair, shuffled by ``seed`` within each.

    Args:
        first: Selects the groups that come before the others of their stratum.
    """

    def key(group: list[Pair]) -> tuple[str, str, bool, tuple[str, str]]:
        return group[0].group, group[0].form, not first(group), _shuffle_key(group[0], seed)

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


# --- control and probe --------------------------------------------------------------------------


def draw_control(
    regular: Sequence[Pair], frames: Mapping[str, int], count: int, seed: int
) -> list[Pair]:
    """``count`` regular pairs with the irregular pairs' mix of frame types, verbs in turn.

    Where a frame type runs short, pairs of others fill up; ``tokenize`` checks whether the result
    is still similar enough.

    Args:
        frames: How many irregular pairs have each frame type.

    Raises:
        UserError: There are fewer than ``count`` pairs.
    """
    by_frame = defaultdict(list)
    for pair in seeded_shuffle(regular, seed):
        by_frame[pair.frame].append(pair)
    chosen: list[Pair] = []
    for frame, quota in _apportion(frames, count).items():
        chosen += round_robin_by_group(by_frame[frame])[:quota]
    if len(chosen) < count:
        left = without_prompts(seeded_shuffle(regular, seed), chosen)
        chosen += round_robin_by_group(left)[: count - len(chosen)]
    if len(chosen) < count:
        raise _too_few("control", len(chosen), count, "regular")
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
    """One pair of every verb, then a second of every verb, and so on; the order within a verb is
    kept."""
    by_group: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_group[pair.group].append(pair)
    rounds = zip_longest(*(by_group[verb] for verb in sorted(by_group)))
    return [pair for one_round in rounds for pair in one_round if pair is not None]


# --- order by hash ------------------------------------------------------------------------------


def seeded_hash(seed: int, text: str) -> str:
    """A hash to sort by: a shuffle in which the place of a text does not depend on the others."""
    return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()


def seeded_shuffle(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """The pairs, shuffled by a seeded hash of each prompt: editing one pair moves no other."""
    return sorted(pairs, key=lambda pair: _shuffle_key(pair, seed))


def _shuffle_key(pair: Pair, seed: int) -> tuple[str, str]:
    return seeded_hash(seed, pair.prompt), pair.correct


def _too_few(split: str, found: int, needed: int, kind: str) -> UserError:
    return UserError(
        in_config("data.corpus"),
        f"too few {kind} rows for the {split} split",
        found=number_of(found, "pair"),
        expected=f"at least {needed}, in the past simple or past participle, each with a prompt",
        fix=f"add rows to the corpus, or ask for fewer: {in_config('data.split')}",
    )
