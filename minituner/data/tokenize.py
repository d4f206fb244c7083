"""Tokenize: how each pair is encoded, checked against the context, and written to its split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from minituner.commands import in_config
from minituner.data.filter import Pair
from minituner.data.likeness import Likeness
from minituner.data.pairs import TokenizedPair
from minituner.data.prompts import SEPARATOR, answer_text, prompt_text
from minituner.errors import Mistakes, UserError, number_of, shortened
from minituner.storage.files import atomic_open, iter_jsonl, write_rows
from minituner.tokenizer import BOS, EOS, check_kept, encode, special_id


def tokenize_pair(pair: Pair, tokenizer: Tokenizer, name: str = "the tokenizer") -> TokenizedPair:
    """Encode one pair, however long it is.

    Args:
        name: What to call the tokenizer in messages.

    Raises:
        UserError: The tokenizer changes the text, or does not begin a token where the answer begins
            and end one where the form does.
    """
    bos, eos = special_id(tokenizer, BOS), special_id(tokenizer, EOS)
    end = encode(tokenizer, SEPARATOR) if pair.spanish else [eos]
    prompt = prompt_text(pair.prompt)
    text = prompt + answer_text(pair.english, pair.spanish)
    prompt_ids, text_ids = encode(tokenizer, prompt), encode(tokenizer, text)
    check_kept(tokenizer, text, text_ids, pair.source, name)
    tokenized = TokenizedPair(
        id=pair.id,
        verb=pair.verb,
        form=pair.form,
        frame=pair.frame,
        complement=pair.complement,
        prompt=pair.prompt,
        english=pair.english,
        spanish=pair.spanish,
        wrong=pair.wrong,
        prompt_ids=[bos, *prompt_ids],
        target_ids=[*text_ids[len(prompt_ids) :], eos],
        correct_ids=encode(tokenizer, f" {pair.english}") + end,
        wrong_ids=encode(tokenizer, f" {pair.wrong}") + end,
    )
    _check_boundaries(pair, tokenized, [bos, *text_ids, eos], tokenizer, name)
    return tokenized


def tokenize_splits(
    splits: Mapping[str, Iterable[Pair]],
    paths: Mapping[str, str | Path],
    tokenizer: Tokenizer,
    limit: ContextLimit,
    likeness: Likeness | None = None,
    name: str = "the tokenizer",
    others: Iterable[Pair] = (),
) -> dict[str, Any]:
    """Write every split's pairs as token ids, one at a time; all files are written or none is.

    Args:
        splits: The pairs of each split, by its name.
        paths: Where each split's file goes.
        likeness: What the pairs that fit are compared by; None does not compare them.
        name: What to call the tokenizer in messages.
        others: All pairs that the control was drawn from, only looked at if too many are too long:
            a user who is told of some is told of all.

    Returns:
        ``splits``, what :class:`SplitSummary` says of each; only if pairs were left out for their
        length ``too_long``, how many of which split; and what was compared, ``distributions``.

    Raises:
        UserError: More pairs are too long than may be left out, or all of a split; or those that
            fit are not alike.
    """
    summaries = {name: SplitSummary() for name in splits}
    with ExitStack() as files:
        for split, pairs in splits.items():
            stream = files.enter_context(atomic_open(paths[split]))
            fitting = limit.fitting(split, pairs, tokenizer, name)
            if likeness is not None:
                fitting = likeness.counting(split, fitting)
            write_rows(stream, tokenized_rows(summaries[split].counting(fitting)))
        limit.check(others, tokenizer)
        if likeness is not None:
            likeness.check()
    found: dict[str, Any] = {"splits": {name: s.as_json() for name, s in summaries.items()}}
    if limit.too_long:
        found["too_long"] = dict(limit.too_long)
    if likeness is not None:
        found["distributions"] = likeness.as_json()
    return found


class ContextLimit:
    """Passes over the pairs that are longer than the model's context, and counts them.

    Args:
        context_length: In tokens.
        max_share: Of all pairs, how many may be passed over: 0 <= ``max_share`` < 1.
    """

    def __init__(self, context_length: int, max_share: float = 0.0) -> None:
        self.context_length = context_length
        self.max_share = max_share
        self.pairs: Counter[str] = Counter()  # by split, those that are too long included
        self.too_long: Counter[str] = Counter()
        self._found: list[tuple[Pair, int]] = []  # those that are too long, and their tokens

    def fitting(
        self, split: str, pairs: Iterable[Pair], tokenizer: Tokenizer, name: str = "the tokenizer"
    ) -> Iterator[TokenizedPair]:
        """The pairs that fit, tokenized, one at a time."""
        for pair in pairs:
            self.pairs[split] += 1
            tokenized = tokenize_pair(pair, tokenizer, name)
            if tokenized.tokens <= self.context_length:
                yield tokenized
                continue
            self.too_long[split] += 1
            self._found.append((pair, tokenized.tokens))

    def check(self, others: Iterable[Pair], tokenizer: Tokenizer) -> None:
        """Whether what was passed over may be left out.

        Raises:
            UserError: It is too much, or all of a split.
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

    def _refuse(self, others: Iterable[Pair], tokenizer: Tokenizer) -> None:
        known = {pair.id for pair, _ in self._found}
        for pair in (pair for pair in others if pair.id not in known):
            tokens = tokenize_pair(pair, tokenizer).tokens
            if tokens > self.context_length:
                self._found.append((pair, tokens))
        mistakes = Mistakes()
        for pair, tokens in sorted(self._found, key=lambda found: _path_and_line(found[0].source)):
            mistakes.add(self._refusal(pair, tokens))
        mistakes.raise_if_any()

    @property
    def _share(self) -> float:
        return self.too_long.total() / self.pairs.total()

    def _refusal(self, pair: Pair, tokens: int) -> UserError:
        enough = math.ceil(1e4 * self._share) / 1e4
        leave_out = (
            f", or leave such out (data.max_share_too_long: {enough:g}, now {self.max_share:g})"
        )
        return UserError(
            pair.source,
            "the sentence is longer than the model's context",
            found=f"{tokens} tokens: {shortened(pair.prompt, 100)!r}",
            expected=f"at most {self.context_length} tokens, answer included",
            fix="shorten it, or raise base.model.context_length (retrains the base)"
            + (leave_out if enough < 1 else ""),
        )


def _path_and_line(source: str) -> tuple[str, int]:
    path, _, line = source.rpartition(":")
    return path, int(line)


def _check_boundaries(
    pair: Pair, tokenized: TokenizedPair, right: list[int], tokenizer: Tokenizer, name: str
) -> None:
    """Either form's tokens are those it has in running text, ``right`` with the right form: the
    model is not asked about tokens that it never reads."""
    wrong_text = f"{prompt_text(pair.prompt)} {pair.wrong}" + (SEPARATOR if pair.spanish else "")
    wrong = [right[0], *encode(tokenizer, wrong_text), *([] if pair.spanish else right[-1:])]
    for whole, form_ids in ((right, tokenized.correct_ids), (wrong, tokenized.wrong_ids)):
        parts = tokenized.prompt_ids + form_ids
        if whole[: len(parts)] != parts:
            start = next(i for i, two in enumerate(zip_longest(whole, parts)) if len(set(two)) > 1)
            raise UserError(
                pair.source,
                "a token runs over the end of the prompt or of the verb form",
                found=f"{_shown(tokenizer, whole[start:])} in the whole text, "
                f"{_shown(tokenizer, parts[start:])} in its parts: {pair.prompt!r}",
                expected="tokens that end where the prompt and the form end",
                fix=f"use a tokenizer that cuts at spaces, instead of {name}",
            )


def _shown(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The first few tokens."""
    return " ".join(repr(tokenizer.id_to_token(token)) for token in ids[:4]) or "none"


def tokenized_rows(pairs: Iterable[TokenizedPair]) -> Iterator[dict[str, Any]]:
    """Tokenized pairs as JSON objects."""
    names = [field.name for field in fields(TokenizedPair)]
    return ({name: getattr(pair, name) for name in names} for pair in pairs)


def read_pairs(path: str | Path) -> list[TokenizedPair]:
    """Read one split as ``tokenize`` wrote it."""
    return [TokenizedPair(**row) for row in iter_jsonl(path)]


class SplitSummary:
    """What the report says of one split: how many pairs of what kind, and how many tokens."""

    def __init__(self) -> None:
        self.by_verb: Counter[str] = Counter()
        self.by_form: Counter[str] = Counter()
        self.complements: set[str] = set()
        self.target_tokens = 0
        self.tokens = 0

    def counting(self, pairs: Iterable[TokenizedPair]) -> Iterator[TokenizedPair]:
        """The pairs as they are, each counted as it passes."""
        for pair in pairs:
            self.by_verb[pair.verb] += 1
            self.by_form[pair.form] += 1
            self.complements.add(pair.complement)
            self.target_tokens += len(pair.target_ids)
            self.tokens += len(pair.prompt_ids) + len(pair.target_ids)
            yield pair

    def as_json(self) -> dict[str, Any]:
        """The counts so far."""
        return {
            "pairs": self.by_verb.total(),
            "by_verb": dict(sorted(self.by_verb.items())),
            "by_form": dict(sorted(self.by_form.items())),
            "complements": sorted(self.complements - {""}),
            "target_tokens": self.target_tokens,
            "tokens": self.tokens,
        }
