"""The task of a study: its own words for reports and figures, and how its pairs are scored."""

from __future__ import annotations

from dataclasses import dataclass

from minituner.data.prompts import Scoring


@dataclass(frozen=True)
class Task:
    """The section ``task`` of the config, without its files.

    Args:
        name: The subject, in the plural: "irregular verbs".
        group_name: The name of a pair's ``group``, which the bootstrap resamples: "verb".
        wrong_name: The name of the wrong form: "over-regularized form".
        control_name: The name of the first control set: "regular verbs".
        scoring: How a pair is written for the model and scored.
    """

    name: str
    group_name: str
    wrong_name: str
    control_name: str
    scoring: Scoring = "fill_in"
