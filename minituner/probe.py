"""The probe: has a model that learned irregular forms begin to over-irregularize ("walken")?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minituner.data.pairs import TokenizedPair
from minituner.data.prompts import english_of

if TYPE_CHECKING:
    from minituner.results import ProbeResult


def probe_over_irregularization(
    pairs: Sequence[TokenizedPair], margins: Sequence[float], answers: Sequence[str]
) -> list[ProbeResult]:
    """Check that regular verbs stay regular: for each sentence, "walked" against "walken" and the
    greedy answer. It fails if the irregular-looking form is at least as likely, or is the answer.
    """
    return [
        {
            "prompt": pair.prompt,
            "expected": pair.correct,
            "over_irregular": pair.wrong[0],
            "answer": answer,
            "margin_nats": margin,
            "failed": margin <= 0 or english_of(answer) in pair.wrong,
        }
        for pair, margin, answer in zip(pairs, margins, answers, strict=True)
    ]
