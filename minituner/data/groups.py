"""The groups of a study's pairs, as ``tokenize`` counted them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minituner.data.pairs import TASK_SPLITS

if TYPE_CHECKING:
    from minituner.results import SplitCounts


def taught_groups(splits: Mapping[str, SplitCounts]) -> Counter[str]:
    """By group, the number of its pairs in train, val and test together; a pair without a group
    does not count."""
    counts: Counter[str] = Counter()
    for name in TASK_SPLITS:
        if name in splits:
            counts.update(splits[name]["by_group"])
    del counts[""]
    return counts


def are_single(splits: Mapping[str, SplitCounts]) -> bool:
    """Whether each group is one pair, as where the pairs' file names none. There is then nothing
    to report by group, and the bootstrap resamples pairs."""
    return max(taught_groups(splits).values(), default=1) == 1
