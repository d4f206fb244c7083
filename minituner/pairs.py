"""Tokenized pairs: how a fill-in pair is written for the model, and which tokens are scored.

    <bos> He __ to school yesterday. => went / fue <eos>
    |---------- prompt_ids ----------| |- target_ids --|
                                        went /            correct_ids: the form and what ends it
                                        goed /            wrong_ids

The token that ends the form is scored with it: otherwise ``come`` would beat ``comed`` for free,
being its prefix. The Spanish after the slash never enters a comparison of forms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from minituner.data import Pair
from minituner.errors import UserError
from minituner.files import iter_jsonl
from minituner.prompts import SEPARATOR, answer_text, prompt_text
from minituner.tokenizer import BOS, EOS, check_kept, encode, special_id


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """A pair and its token ids; concatenated, ``prompt_ids + target_ids`` are the whole text."""

    id: str
    verb: str
    form: str
    frame: str
    complement: str
    prompt: str
    english: str
    spanish: str
    wrong: str
    prompt_ids: list[int]
    target_ids: list[int]
    correct_ids: list[int]
    wrong_ids: list[int]


def tokenize_pairs(
    pairs: Iterable[Pair],
    tokenizer: Tokenizer,
    context_length: int,
    name: str = "the tokenizer",
) -> Iterator[TokenizedPair]:
    """:func:`tokenize_pair` of each, one at a time."""
    return (tokenize_pair(pair, tokenizer, context_length, name) for pair in pairs)


def tokenize_pair(
    pair: Pair, tokenizer: Tokenizer, context_length: int, name: str = "the tokenizer"
) -> TokenizedPair:
    """Encode one pair.

    Args:
        context_length: The model's, in tokens.
        name: What to call the tokenizer in messages.

    Raises:
        UserError: The text is longer than the context; or the tokenizer changes it, or does not
            begin a token where the answer begins and end one where the form does.
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
    tokens = len(tokenized.prompt_ids) + max(len(tokenized.target_ids), len(tokenized.wrong_ids))
    if tokens > context_length:
        raise UserError(
            pair.source,
            "the sentence is longer than the model's context",
            found=f"{tokens} tokens: {pair.prompt!r}",
            expected=f"at most {context_length} tokens, answer included",
            mend="shorten the sentence, or raise base.model.context_length (retrains the base)",
        )
    return tokenized


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
                mend=f"use a tokenizer that cuts at spaces, instead of {name}",
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
