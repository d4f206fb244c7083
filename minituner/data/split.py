"""Train, val and test of the irregular pairs; control and probe of the regular ones."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from minituner.commands import in_config
from minituner.data.filter import Pair
from minituner.data.spelling import comparable, comparable_word
from minituner.errors import UserError, number_of


@dataclass(frozen=True)
class SplitSettings:
    """How the pairs are divided.

    The shares are of the irregular pairs and sum to 1; the counts are of the regular ones.
    ``held_out_complements`` of every irregular verb are kept out of train.
    """

    train_share: float = 0.8
    val_share: float = 0.1
    test_share: float = 0.1
    held_out_complements: int = 1
    control_pairs: int = 100
    probe_sentences: int = 20


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
    splits["probe"] = round_robin_by_verb(seeded_shuffle(rest, seed))[: settings.probe_sentences]
    if len(splits["probe"]) < settings.probe_sentences:
        raise _too_few("probe", len(splits["probe"]), settings.probe_sentences, "regular")
    return splits


def without_prompts(pairs: Iterable[Pair], taken: Iterable[Pair]) -> list[Pair]:
    """The pairs whose prompt is none of those taken, however it is spelled."""
    prompts = {comparable(pair.prompt) for pair in taken}
    return [pair for pair in pairs if comparable(pair.prompt) not in prompts]


def split_irregular(
    pairs: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """A seeded shuffle within each verb and form; each pair goes where most is owing to its share.

    Pairs whose prompts are :func:`comparable` form a group and stay together. The strata are laid
    end to end and the accounts run on through them, so the totals are exact and every stratum is
    near its share. Groups with a held-out complement go to val and test alone.
    """
    shares = shares_of(settings)
    groups = prompt_groups(pairs)
    strata = defaultdict(list)
    for group in groups.values():
        strata[group[0].verb, group[0].form].append(group[0])
    held_out = held_out_complements(pairs, settings, seed)
    new = {
        prompt
        for prompt, group in groups.items()
        for pair in group
        if (pair.verb, comparable_word(pair.complement)) in held_out
    }

    def is_new(first: Pair) -> bool:
        return first.prompt in new

    # New ones first: a stable sort, so both kinds stay shuffled.
    ordered = [
        pair
        for key in sorted(strata)
        for pair in sorted(seeded_shuffle(strata[key], seed), key=is_new, reverse=True)
    ]
    splits: dict[str, list[Pair]] = {name: [] for name in shares}
    groups_in = dict.fromkeys(shares, 0)
    for position, first in enumerate(ordered, start=1):
        name = max(
            ("val", "test") if is_new(first) else shares,
            key=lambda split: shares[split] * position - groups_in[split],
        )
        groups_in[name] += 1
        splits[name] += groups[first.prompt]
    for name, members in splits.items():
        if not members:
            raise _too_few(name, 0, 1, "irregular")
    return splits


def shares_of(settings: SplitSettings) -> dict[str, float]:
    """The share of each split of the irregular pairs.

    Raises:
        UserError: They do not sum to 1.
    """
    if abs(settings.train_share + settings.val_share + settings.test_share - 1) > 1e-9:
        raise UserError(
            in_config("data.split"),
            "the shares do not sum to 1",
            found=settings.train_share + settings.val_share + settings.test_share,
            expected="train_share + val_share + test_share = 1",
            fix="e.g. 0.8, 0.1 and 0.1",
        )
    return {
        "train": settings.train_share,
        "val": settings.val_share,
        "test": settings.test_share,
    }


def prompt_groups(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """Pairs whose prompts are :func:`comparable`, under the prompt of the first of them."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[comparable(pair.prompt)].append(pair)
    return {group[0].prompt: group for group in groups.values()}


def held_out_complements(
    pairs: Iterable[Pair], settings: SplitSettings, seed: int
) -> set[tuple[str, str]]:
    """The complements that train does not see, drawn for every verb, as (verb, complement); they
    are written as :func:`comparable` has them.

    One that has more of its verb's pairs than val and test have room for is passed over.
    """
    by_verb: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        by_verb[pair.verb][comparable_word(pair.complement)] += 1
    held_out = set()
    for verb, counts in by_verb.items():
        room = (settings.val_share + settings.test_share) * counts.total()
        drawn = 0
        for complement in sorted(counts, key=lambda c: seeded_hash(seed, f"{verb}/{c}")):
            if complement and drawn < settings.held_out_complements and counts[complement] <= room:
                held_out.add((verb, complement))
                drawn += 1
                room -= counts[complement]
    return held_out


def seeded_hash(seed: int, text: str) -> str:
    """A hash that decides an order."""
    return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()


def seeded_shuffle(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """A shuffle by a seeded hash of each prompt: editing one pair moves no other."""

    def key(pair: Pair) -> tuple[str, str]:
        return seeded_hash(seed, pair.prompt), pair.english

    return sorted(pairs, key=key)


def draw_control(
    regular: Sequence[Pair], frames: Mapping[str, int], count: int, seed: int
) -> list[Pair]:
    """``count`` regular pairs with the irregular pairs' mix of frame types, verbs in turn.

    Args:
        frames: How many irregular pairs have each frame type.
    """
    by_frame = defaultdict(list)
    for pair in seeded_shuffle(regular, seed):
        by_frame[pair.frame].append(pair)
    chosen: list[Pair] = []
    for frame, quota in _apportion(frames, count).items():
        chosen += round_robin_by_verb(by_frame[frame])[:quota]
    if (
        len(chosen) < count
    ):  # a frame type ran short: fill up; `tokenize` has the last word on likeness
        left = without_prompts(seeded_shuffle(regular, seed), chosen)
        chosen += round_robin_by_verb(left)[: count - len(chosen)]
    if len(chosen) < count:
        raise _too_few("control", len(chosen), count, "regular")
    return chosen


def _apportion(weights: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole numbers in proportion to ``weights`` that sum to ``total`` (largest remainders)."""
    exact = {key: total * weights[key] / sum(weights.values()) for key in sorted(weights)}
    whole = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (whole[key] - exact[key], key))
    for key in by_remainder[: total - sum(whole.values())]:
        whole[key] += 1
    return whole


def round_robin_by_verb(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair of every verb, then a second of every verb, and so on; order within a verb stays."""
    by_verb: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_verb[pair.verb].append(pair)
    rounds = zip_longest(*(by_verb[verb] for verb in sorted(by_verb)))
    return [pair for one_round in rounds for pair in one_round if pair is not None]


def _too_few(split: str, found: int, needed: int, kind: str) -> UserError:
    return UserError(
        in_config("data.corpus"),
        f"too few {kind} rows for the {split} split",
        found=number_of(found, "pair"),
        expected=f"at least {needed}, in the past simple or past participle, each with a prompt",
        fix=f"add rows to the corpus, or ask for fewer: {in_config('data.split')}",
    )
