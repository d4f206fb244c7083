"""Counts of a split for the report, made while its pairs pass by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from minituner.data.pairs import TokenizedPair

if TYPE_CHECKING:
    from minituner.results import SplitCounts


class SplitSummary:
    """Counts of one split for the report: pairs by kind, and tokens."""

    def __init__(self) -> None:
        self.by_group: Counter[str] = Counter()
        self.by_form: Counter[str] = Counter()
        self.complements: set[str] = set()
        self.target_tokens = 0
        self.tokens = 0

    def counting(self, pairs: Iterable[TokenizedPair]) -> Iterator[TokenizedPair]:
        """The pairs unchanged, each counted as it passes."""
        for pair in pairs:
            self.by_group[pair.group] += 1
            self.by_form[pair.form] += 1
            self.complements.add(pair.complement)
            self.target_tokens += len(pair.target_ids)
            self.tokens += len(pair.prompt_ids) + len(pair.target_ids)
            yield pair

    def as_json(self) -> SplitCounts:
        """The counts so far."""
        return {
            "pairs": self.by_group.total(),
            "by_group": dict(sorted(self.by_group.items())),
            "by_form": dict(sorted(self.by_form.items())),
            "complements": sorted(self.complements - {""}),
            "target_tokens": self.target_tokens,
            "tokens": self.tokens,
        }
