"""Stage ``tokenize``: each pair is encoded, checked against the context length, and written."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from minituner.commands import in_config
from minituner.data.matching import MatchLimits, MatchStatistics
from minituner.data.pairs import SPLITS, Pair, TokenizedPair, iter_pairs, pair_rows
from minituner.data.prompts import SEPARATOR, answer_text, prompt_text
from minituner.errors import Mistakes, UserError, number_of, shortened
from minituner.storage.files import atomic_open, read_json, write_rows
from minituner.tokenizer import TextTokenizer, check_kept, load_tokenizer

if TYPE_CHECKING:
    from minituner.results import PairsSummary, SplitCounts


def tokenize_files(
    inputs: Mapping[str, str], outputs: Mapping[str, str], limit: ContextLimit, match: MatchLimits
) -> PairsSummary:
    """``tokenize_splits`` of the files that ``filter`` and ``split`` wrote.

    Args:
        inputs: By name: the file of every split, those of all ``regular`` pairs and of the
            ``unseen_words``, and the ``tokenizer``.
        outputs: By name, where every split is written.

    Raises:
        UserError: As ``tokenize_splits``, or a file cannot be used.
    """
    return tokenize_splits(
        {name: iter_pairs(inputs[name]) for name in SPLITS},
        {name: outputs[name] for name in SPLITS},
        load_tokenizer(inputs["tokenizer"]),
        limit,
        MatchStatistics(match, read_json(inputs["unseen_words"])),
        inputs["tokenizer"],
        iter_pairs(inputs["regular"]),
    )


def tokenize_splits(
    splits: Mapping[str, Iterable[Pair]],
    paths: Mapping[str, str | Path],
    tokenizer: TextTokenizer,
    limit: ContextLimit,
    statistics: MatchStatistics | None = None,
    name: str = "the tokenizer",
    others: Iterable[Pair] = (),
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
        UserError: More pairs are too long than may be left out, or all of a split; or the control
            does not match the irregular pairs.
    """
    summaries = {name: SplitSummary() for name in splits}
    with ExitStack() as files:
        for split, pairs in splits.items():
            stream = files.enter_context(atomic_open(paths[split]))
            fitting = limit.fitting(split, pairs, tokenizer, name)
            if statistics is not None:
                fitting = statistics.counting(split, fitting)
            write_rows(stream, pair_rows(summaries[split].counting(fitting)))
        limit.check(others, tokenizer)
        if statistics is not None:
            statistics.check()
    found: PairsSummary = {"splits": {name: s.as_json() for name, s in summaries.items()}}
    if limit.too_long:
        found["too_long"] = dict(limit.too_long)
    if statistics is not None:
        found["distributions"] = statistics.as_json()
    return found


# --- one pair -----------------------------------------------------------------------------------


def tokenize_pair(
    pair: Pair, tokenizer: TextTokenizer, name: str = "the tokenizer"
) -> TokenizedPair:
    """Encode one pair, however long it is.

    Args:
        name: The tokenizer's name in messages.

    Raises:
        UserError: The tokenizer changes the text, or some token extends over the beginning of the
            answer or the end of the form.
    """
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    end = tokenizer.encode(SEPARATOR) if pair.after else [eos]
    prompt = prompt_text(pair.prompt)
    text = prompt + answer_text(pair.correct, pair.after)
    prompt_ids, text_ids = tokenizer.encode(prompt), tokenizer.encode(text)
    check_kept(tokenizer, text, text_ids, pair.source, name)
    tokenized = TokenizedPair(
        id=pair.id,
        group=pair.group,
        form=pair.form,
        frame=pair.frame,
        complement=pair.complement,
        prompt=pair.prompt,
        correct=pair.correct,
        after=pair.after,
        wrong=list(pair.wrong),
        prompt_ids=[bos, *prompt_ids],
        target_ids=[*text_ids[len(prompt_ids) :], eos],
        correct_ids=tokenizer.encode(f" {pair.correct}") + end,
        wrong_ids=[tokenizer.encode(f" {wrong}") + end for wrong in pair.wrong],
    )
    _check_boundaries(pair, tokenized, [bos, *text_ids, eos], tokenizer, name)
    return tokenized


def _check_boundaries(
    pair: Pair, tokenized: TokenizedPair, correct: list[int], tokenizer: TextTokenizer, name: str
) -> None:
    """Check that each form has the tokens that it has in running text: the model is not scored on
    tokens that it never reads.

    Args:
        correct: The ids of the whole text with the correct form.
    """
    texts = [(correct, tokenized.correct_ids)]
    for wrong, wrong_ids in zip(pair.wrong, tokenized.wrong_ids, strict=True):
        text = f"{prompt_text(pair.prompt)} {wrong}" + (SEPARATOR if pair.after else "")
        ids = [correct[0], *tokenizer.encode(text), *([] if pair.after else correct[-1:])]
        texts.append((ids, wrong_ids))
    for whole, form_ids in texts:
        parts = tokenized.prompt_ids + form_ids
        if whole[: len(parts)] != parts:
            start = next(i for i, two in enumerate(zip_longest(whole, parts)) if len(set(two)) > 1)
            raise UserError(
                pair.source,
                "a token extends over the end of the prompt or of the verb form",
                found=f"{_shown(tokenizer, whole[start:])} in the whole text, "
                f"{_shown(tokenizer, parts[start:])} in its parts: {pair.prompt!r}",
                expected="tokens that end where the prompt and the form end",
                fix=f"use a tokenizer that splits at spaces, instead of {name}",
            )


def _shown(tokenizer: TextTokenizer, ids: list[int]) -> str:
    """The first few tokens, for a message."""
    return " ".join(repr(tokenizer.token(token)) for token in ids[:4]) or "none"


# --- all pairs ----------------------------------------------------------------------------------


class ContextLimit:
    """Skips pairs that are longer than the model's context, and counts them.

    Args:
        context_length: In tokens.
        max_share: The share of all pairs that may be skipped: 0 <= ``max_share`` < 1.
    """

    def __init__(self, context_length: int, max_share: float = 0.0) -> None:
        self.context_length = context_length
        self.max_share = max_share
        self.pairs: Counter[str] = Counter()  # by split, including those that are too long
        self.too_long: Counter[str] = Counter()
        self._skipped: list[tuple[Pair, int]] = []  # with the number of tokens of each

    def fitting(
        self,
        split: str,
        pairs: Iterable[Pair],
        tokenizer: TextTokenizer,
        name: str = "the tokenizer",
    ) -> Iterator[TokenizedPair]:
        """The pairs that fit, tokenized, one at a time."""
        for pair in pairs:
            self.pairs[split] += 1
            tokenized = tokenize_pair(pair, tokenizer, name)
            if tokenized.tokens <= self.context_length:
                yield tokenized
                continue
            self.too_long[split] += 1
            self._skipped.append((pair, tokenized.tokens))

    def check(self, others: Iterable[Pair], tokenizer: TextTokenizer) -> None:
        """Check that what was skipped may be left out.

        Args:
            others: Further pairs whose lengths the message mentions.

        Raises:
            UserError: It is more than ``max_share``, or all of a split.
        """
        if self.too_long.total() > 0 and self._share > self.max_share:
            self._refuse(others, tokenizer)
        for name, count in self.too_long.items():
            if count == self.pairs[name]:
                raise UserError(
                    in_config("data.corpus"),
                    f"no pair of the {name} split is short enough for the model's context",
                    found=f"{number_of(count, 'pair')}, all of them too long",
                    expected=f"at least one of at most {self.context_length} tokens",
                    fix="shorten the sentences, or raise base.model.context_length (retrains the "
                    "base)",
                )

    def _refuse(self, others: Iterable[Pair], tokenizer: TextTokenizer) -> None:
        known = {pair.id for pair, _ in self._skipped}
        for pair in (pair for pair in others if pair.id not in known):
            tokens = tokenize_pair(pair, tokenizer).tokens
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
        fix = "shorten it, or raise base.model.context_length (retrains the base)"
        if needed < 1:
            fix += (
                ", or leave out such sentences "
                f"(data.max_share_too_long: {needed:g}, now {self.max_share:g})"
            )
        return UserError(
            pair.source,
            "the sentence is longer than the model's context",
            found=f"{tokens} tokens: {shortened(pair.prompt, 100)!r}",
            expected=f"at most {self.context_length} tokens, answer included",
            fix=fix,
        )


def _place_key(pair: Pair) -> tuple[str, int]:
    """Sorts pairs by file and line."""
    path, _, line = pair.source.rpartition(":")
    return path, int(line)


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
