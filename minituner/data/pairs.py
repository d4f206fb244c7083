"""Tokenized pairs: how a fill-in pair is written for the model, and which tokens are scored.

    <bos> He __ to school yesterday. => went / fue <eos>
    |---------- prompt_ids ----------| |- target_ids --|
                                        went /            correct_ids: the form and what ends it
                                        goed /            wrong_ids

The token that ends the form is scored with it: otherwise ``come`` would beat ``comed`` for free,
being its prefix. The Spanish after the slash never enters a comparison of forms.
"""

from __future__ import annotations

from dataclasses import dataclass


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

    @property
    def tokens(self) -> int:
        """The length of the longer of its two texts, with the right and with the wrong form."""
        return len(self.prompt_ids) + max(len(self.target_ids), len(self.wrong_ids))
