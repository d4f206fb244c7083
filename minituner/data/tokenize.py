"""Stage ``tokenize``: each pair is encoded, checked against the context length, and written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minituner.base_files import context_length_of, load_base_tokenizer
from minituner.commands import in_config
from minituner.data.encode import tokenize_pair
from minituner.data.matching import MatchLimits, MatchStatistics
from minituner.data.pairs import Pair, TokenizedPair, iter_pairs, pair_rows, split_files_of
from minituner.data.prompts import Scoring
from minituner.data.split_summary import SplitSummary
from minituner.errors import Mistakes, UserError, number_of, shortened
from minituner.storage.files import atomic_open, read_json, write_rows
from minituner.tokenizer import TextTokenizer

Encode = Callable[[Pair], TokenizedPair]  # tokenize_pair with a tokenizer and a scoring

if TYPE_CHECKING:
    from minituner.results import PairsSummary


def tokenize_files(
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    config: Mapping[str, Any],
) -> PairsSummary:
    """``tokenize_splits`` of the files that ``filter`` (or ``read_task``) and ``split`` wrote.

    Args:
        inputs: By name: the file of every split, ``all_control`` with what the control was drawn
            from, ``unseen_words``, the ``tokenizer``, and ``base_settings``: the files that
            tokenizing reads of a base that is a folder, else none.
        outputs: By name, where every split is written.
        config: ``base.model`` or, for a folder, ``base.start_token``; ``data.max_share_too_long``
            and, where control and task must match, ``data.split``; ``task.scoring``.

    Raises:
        UserError: As ``tokenize_splits``, or a file cannot be used.
    """
    settings, path, base = inputs["base_settings"], inputs["tokenizer"], config["base"]
    max_share = config["data"]["max_share_too_long"]
    match = MatchLimits(**config["data"]["split"]) if "split" in config["data"] else None
    if settings:
        context_length = context_length_of(settings, path)
        limit = ContextLimit(context_length, max_share, "choose a base that reads longer texts")
    else:
        limit = ContextLimit(base["model"]["context_length"], max_share)
    return tokenize_splits(
        {name: iter_pairs(file) for name, file in split_files_of(inputs).items()},
        split_files_of(outputs),
        load_base_tokenizer(settings, path, start_token=base.get("start_token")),
        limit,
        MatchStatistics(match, read_json(inputs["unseen_words"])),
        path,
        iter_pairs(inputs["all_control"]),
        config["task"]["scoring"],
    )


def tokenize_splits(
    splits: Mapping[str, Iterable[Pair]],
    paths: Mapping[str, str | Path],
    tokenizer: TextTokenizer,
    limit: ContextLimit,
    statistics: MatchStatistics | None = None,
    name: str = "the tokenizer",
    others: Iterable[Pair] = (),
    scoring: Scoring = "fill_in",
) -> PairsSummary:
    """Write every split's pairs as token ids, one at a time; all files are written or none is.

    Args:
        splits: The pairs of each split, by its name.
        paths: Where each split is written.
        statistics: Compares the pairs that fit; None skips the comparison.
        name: The tokenizer's name in messages.
        others: All pairs that the control was drawn from. They are read only if too many pairs are
            too long, so that one message names all of them.

    Returns:
        ``splits``, the :class:`SplitSummary` of each; ``too_long``, the number of pairs left out
        per split, only if there are any; and ``distributions``, if they were compared.

    Raises:
        UserError: A pair cannot be encoded, more pairs are too long than may be left out, or all of
            a split; or the control does not match the task's pairs.
    """
    encode = partial(tokenize_pair, tokenizer=tokenizer, name=name, scoring=scoring)
    summaries = {name: SplitSummary() for name in splits}
    with ExitStack() as files:
        for split, pairs in splits.items():
            stream = files.enter_context(atomic_open(paths[split]))
            fitting = limit.fitting(split, pairs, encode)
            if statistics is not None:
                fitting = statistics.counting(split, fitting)
            write_rows(stream, pair_rows(summaries[split].counting(fitting)))
        limit.check(others, encode)
        if statistics is not None:
            statistics.check()
    found: PairsSummary = {"splits": {name: s.as_json() for name, s in summaries.items()}}
    if limit.too_long:
        found["too_long"] = dict(limit.too_long)
    if statistics is not None:
        found["distributions"] = statistics.as_json()
    return found


# --- all pairs ----------------------------------------------------------------------------------


class ContextLimit:
    """Skips pairs that are longer than the model's context, and counts them.

    Args:
        context_length: In tokens.
        max_share: The share of all pairs that may be skipped: 0 <= ``max_share`` < 1.
        longer: How to get a longer context, for messages.
    """

    def __init__(
        self,
        context_length: int,
        max_share: float = 0.0,
        longer: str = "raise base.model.context_length (retrains the base)",
    ) -> None:
        self.context_length = context_length
        self.max_share = max_share
        self.longer = longer
        self.pairs: Counter[str] = Counter()  # by split, including those that are too long
        self.too_long: Counter[str] = Counter()
        self._skipped: list[tuple[Pair, int]] = []  # with the number of tokens of each
        self._mistakes = Mistakes()

    def fitting(self, split: str, pairs: Iterable[Pair], encode: Encode) -> Iterator[TokenizedPair]:
        """The pairs that fit, tokenized, one at a time; what cannot be encoded is noted."""
        for pair in pairs:
            self.pairs[split] += 1
            try:
                tokenized = encode(pair)
            except UserError as error:
                self._mistakes.add(error)
                continue
            if tokenized.tokens <= self.context_length:
                yield tokenized
                continue
            self.too_long[split] += 1
            self._skipped.append((pair, tokenized.tokens))

    def check(self, others: Iterable[Pair], encode: Encode) -> None:
        """Check that everything was encoded, and that what was skipped may be left out.

        Args:
            others: Further pairs whose lengths the message mentions.

        Raises:
            UserError: A pair could not be encoded, or more than ``max_share`` was skipped, or all
                of a split.
        """
        self._mistakes.raise_if_any()
        if self.too_long.total() > 0 and self._share > self.max_share:
            self._refuse(others, encode)
        for name, count in self.too_long.items():
            if count == self.pairs[name]:
                raise UserError(
                    in_config("base.model.context_length"),
                    f"no pair of the {name} split is short enough for the model's context",
                    found=f"{number_of(count, 'pair')}, all of them too long",
                    expected=f"at least one of at most {self.context_length} tokens",
                    fix=f"shorten the sentences, or {self.longer}",
                )

    def _refuse(self, others: Iterable[Pair], encode: Encode) -> None:
        known = {pair.id for pair, _ in self._skipped}
        for pair in (pair for pair in others if pair.id not in known):
            tokens = encode(pair).tokens
            if tokens > self.context_length:
                self._skipped.append((pair, tokens))
        mistakes = Mistakes()
        for pair, tokens in sorted(self._skipped, key=lambda skipped: _place_key(skipped[0])):
            mistakes.add(self._refusal(pair, tokens))
        mistakes.raise_if_any()

    @property
    def _share(self) -> float:
        return self.too_long.total() / self.pairs.total()

    def _refusal(self, pair: Pair, tokens: int) -> UserError:
        needed = math.ceil(1e4 * self._share) / 1e4
        fix = f"shorten it, or {self.longer}"
        if needed < 1:
            fix += (
                ", or leave out such sentences "
                f"(data.max_share_too_long: {needed:g}, now {self.max_share:g})"
            )
        return UserError(
            pair.source,
            "the sentence is longer than the model's context",
            found=f"{tokens} tokens: {shortened(pair.prompt or pair.correct, 100)!r}",
            expected=f"at most {self.context_length} tokens, answer included",
            fix=fix,
        )


def _place_key(pair: Pair) -> tuple[str, int]:
    """Sorts pairs by file and line."""
    path, _, line = pair.source.rpartition(":")
    return path, int(line)
