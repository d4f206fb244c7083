"""How far the statistics can be trusted: intervals and the elbow's rule on studies whose truth is
known, drawn with the noise that a real study has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from minituner.statistics.intervals import Array, PairedBootstrap, StatisticsSettings
from minituner.statistics.sweep import Elbow, find_elbow

ITEMS, VERBS, SEEDS, RANKS = 50, 8, 5, (2, 4, 8, 16, 32)
BASE_ACCURACY = 0.3


@dataclass(frozen=True)
class Noise:
    """The standard deviations of what makes an answer easy, in a probit model.

    An item is answered correctly where ``shift + verb + verb at this rank + item + seed at this
    rank + rest > 0``; ``rest`` is one draw for each item and seed, the same at every rank, since
    ranks share a seed's batches and the start of A.
    """

    verb: float = 0.6
    verb_and_rank: float = 0.15
    item: float = 1.0
    seed_and_rank: float = 0.2
    rest: float = 0.5

    @property
    def total(self) -> float:
        """The standard deviation of the sum."""
        parts = (self.verb, self.verb_and_rank, self.item, self.seed_and_rank, self.rest)
        return float(np.sqrt(sum(part**2 for part in parts)))


VERB_OF_ITEM = np.arange(ITEMS) * VERBS // ITEMS


def simulate_answers(accuracies: Sequence[float], noise: Noise, rng: np.random.Generator) -> Array:
    """Right-or-wrong answers of one study with the given true accuracies: (ranks, seeds, items)."""
    ranks = len(accuracies)
    shift = stats.norm.ppf(accuracies) * noise.total
    by_verb = rng.normal(0, noise.verb, VERBS) + rng.normal(0, noise.verb_and_rank, (ranks, VERBS))
    ease = (
        shift[:, None, None]
        + by_verb[:, None, VERB_OF_ITEM]
        + rng.normal(0, noise.item, ITEMS)
        + rng.normal(0, noise.seed_and_rank, (ranks, SEEDS))[:, :, None]
        + rng.normal(0, noise.rest, (SEEDS, ITEMS))
    )
    return np.asarray(ease > 0, dtype=np.float64)


# --- coverage -----------------------------------------------------------------------------------

# Name, true accuracies (the interval is of the last less the first if there are two), noise.
COVERAGE_SCENARIOS: Mapping[str, tuple[tuple[float, ...], Noise]] = {
    "accuracy 50 %": ((0.5,), Noise()),
    "accuracy 65 %": ((0.65,), Noise()),
    "accuracy 80 %": ((0.8,), Noise()),
    "accuracy 95 %": ((0.95,), Noise()),
    "accuracy 80 %, verbs alike": ((0.8,), Noise(verb=0, verb_and_rank=0)),
    "accuracy 80 %, seeds far apart": ((0.8,), Noise(seed_and_rank=0.6)),
    "difference of 0 points at 80 %": ((0.8, 0.8), Noise()),
    "difference of 20 points": ((0.6, 0.8), Noise()),
}


def coverage(studies: int, settings: StatisticsSettings, seed: int) -> list[dict[str, Any]]:
    """How often the interval holds the truth, by scenario.

    For comparison the same of the plain percentile interval, and of one that draws the verbs anew
    within each seed (nested), as if every seed had answered other sentences.
    """
    bootstrap = _bootstrap(settings)
    nested = _NestedBootstrap(settings)
    tail = (1 - settings.confidence) / 2
    rows: list[dict[str, Any]] = []
    for name, (accuracies, noise) in COVERAGE_SCENARIOS.items():
        rng = np.random.default_rng([seed, len(rows)])
        truth = accuracies[-1] - (accuracies[0] if len(accuracies) > 1 else 0)
        held: Counter[str] = Counter()
        for _ in range(studies):
            answers = simulate_answers(accuracies, noise, rng)
            values = answers[-1] - (answers[0] if len(accuracies) > 1 else 0)
            draws = bootstrap.means(values)
            interval = (
                bootstrap.accuracy(values) if len(accuracies) == 1 else bootstrap.difference(values)
            )
            held["coverage"] += int(interval.holds(truth))
            for other, its in (("percentile", draws), ("nested", nested.means(values))):
                low, high = np.quantile(its, [tail, 1 - tail])
                held[other] += int(low <= truth <= high)
        rows.append(
            {"scenario": name, "studies": studies}
            | {key: held[key] / studies for key in ("coverage", "percentile", "nested")}
        )
    return rows


class _NestedBootstrap(PairedBootstrap):
    """Verbs drawn anew within each seed: for comparison only."""

    def __init__(self, settings: StatisticsSettings) -> None:
        super().__init__([str(verb) for verb in VERB_OF_ITEM], SEEDS, settings)
        rng = np.random.default_rng(settings.seed)
        draws = settings.bootstrap_draws
        self.seed_of = rng.integers(SEEDS, size=(draws, SEEDS))
        self.draw_of = rng.integers(draws, size=(draws, SEEDS))

    def means(self, values: Array) -> Array:
        return np.asarray(self.item_means(values)[self.draw_of, self.seed_of].mean(axis=1))


def _bootstrap(settings: StatisticsSettings) -> PairedBootstrap:
    return PairedBootstrap([str(verb) for verb in VERB_OF_ITEM], SEEDS, settings)


# --- power --------------------------------------------------------------------------------------


def power_scenarios() -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Name, the outcome that is true, and the true accuracy at each rank."""
    for level in (0.6, 0.8, 0.95):
        yield f"flat at {100 * level:.0f} %", "flat", (level,) * 5
    for step in (0.1, 0.2, 0.3):
        points = f"{100 * step:.0f} points a rank"
        top = 0.85
        yield f"elbow at 4, {points}", "elbow 4", (top - step, top, top, top, top)
        yield f"elbow at 8, {points}", "elbow 8", (top - 2 * step, top - step, top, top, top)
    for step in (0.1, 0.15, 0.2):
        accuracies = tuple(0.95 - step * below for below in (4, 3, 2, 1, 0))
        yield f"rising, {100 * step:.0f} points a rank", "rising", accuracies


def power(studies: int, settings: StatisticsSettings, seed: int) -> list[dict[str, Any]]:
    """How often the elbow's rule names the true outcome, by scenario, and what else it says."""
    bootstrap = _bootstrap(settings)
    rows: list[dict[str, Any]] = []
    for name, truth, accuracies in power_scenarios():
        rng = np.random.default_rng([seed, 1, len(rows)])
        said: Counter[str] = Counter()
        kneedle = 0
        for _ in range(studies):
            answers = simulate_answers((BASE_ACCURACY, *accuracies), Noise(), rng)
            by_rank = dict(zip(RANKS, answers[1:], strict=True))
            # The base has no seeds; its answers are those of one.
            elbow = find_elbow(by_rank, answers[0][0], bootstrap, settings)
            said[outcome_of(elbow)] += 1
            kneedle += elbow.kneedle is not None
        rows.append(
            {
                "scenario": name,
                "accuracies": list(accuracies),
                "truth": truth,
                "studies": studies,
                "right": said[truth] / studies,
                "outcomes": {key: said[key] / studies for key in sorted(said)},
                "kneedle_names_a_knee": kneedle / studies,
            }
        )
    return rows


def outcome_of(elbow: Elbow) -> str:
    """``flat``, ``rising``, ``floor``, ``ceiling``, or ``elbow`` with its rank."""
    return f"elbow {elbow.rank}" if elbow.outcome == "elbow" else elbow.outcome


# --- the tables ---------------------------------------------------------------------------------


def simulate(studies: int, settings: StatisticsSettings, seed: int) -> dict[str, Any]:
    """Both tables, and what they were made with."""
    noise = Noise()
    return {
        "items": ITEMS,
        "verbs": VERBS,
        "seeds": SEEDS,
        "ranks": list(RANKS),
        "base_accuracy": BASE_ACCURACY,
        "noise": {name: getattr(noise, name) for name in Noise.__annotations__},
        "coverage": coverage(studies, settings, seed),
        # At 95 % every rank may seem at the ceiling; whether that is said is not asked here.
        "power": power(studies, replace(settings, ceiling_accuracy=1.0), seed),
    }


def simulation_tables(results: Mapping[str, Any]) -> str:
    """Both tables as Markdown."""
    lines = [
        "| scenario | interval holds the truth | plain percentile | verbs drawn within each seed |",
        "|---|---|---|---|",
        *(
            f"| {row['scenario']} | **{_percent(row['coverage'])}** "
            f"| {_percent(row['percentile'])} | {_percent(row['nested'])} |"
            for row in results["coverage"]
        ),
        "",
        "| true curve | the rule says so | what else it says | Kneedle names a knee |",
        "|---|---|---|---|",
        *(
            f"| {row['scenario']} | **{_percent(row['right'])}** | {_others(row)} "
            f"| {_percent(row['kneedle_names_a_knee'])} |"
            for row in results["power"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _others(row: Mapping[str, Any]) -> str:
    others = {key: share for key, share in row["outcomes"].items() if key != row["truth"]}
    ranked = sorted(others, key=lambda key: -others[key])
    return ", ".join(f"{key} {_percent(others[key])}" for key in ranked) or "nothing"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
