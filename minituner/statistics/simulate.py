"""Coverage of the intervals and power of the elbow's rule, on simulated studies with known ground
truth and the noise of a real study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypedDict

import numpy as np
from scipy import stats

from minituner.statistics.elbow import Elbow, find_elbow
from minituner.statistics.intervals import Array, PairedBootstrap, StatisticsSettings

ITEMS, VERBS, SEEDS, RANKS = 50, 8, 5, (2, 4, 8, 16, 32)
BASE_ACCURACY = 0.3


class CoverageRow(TypedDict):
    """Shares of the simulated studies whose interval contains the truth, by kind of interval."""

    scenario: str
    studies: int
    coverage: float  # of the interval that is used
    percentile: float  # of the plain percentile interval
    nested: float  # of one that redraws the verbs within each seed


class PowerRow(TypedDict):
    """How often the elbow's rule finds the true outcome of one scenario, and what else it finds."""

    scenario: str
    accuracies: list[float]  # by rank
    truth: str
    studies: int
    right: float
    outcomes: dict[str, float]
    kneedle_names_a_knee: float


class Simulation(TypedDict):
    """simulation.json: both tables, and what they were made with."""

    items: int
    verbs: int
    seeds: int
    ranks: list[int]
    base_accuracy: float
    noise: dict[str, float]
    coverage: list[CoverageRow]
    power: list[PowerRow]


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the components of an item's ease, in a probit model.

    An answer is correct if ``shift + verb + verb at this rank + item + seed at this rank + rest``
    is above 0; ``rest`` is one draw for each item and seed, the same at every rank, since ranks
    share a seed's batches and the initialization of A.
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
    """Answers of one study with the given true accuracies: (ranks, seeds, items), 1 if correct."""
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

# Name, true accuracies (of two, the interval is of the last less the first), noise.
COVERAGE_SCENARIOS: Mapping[str, tuple[tuple[float, ...], Noise]] = {
    "accuracy 50 %": ((0.5,), Noise()),
    "accuracy 65 %": ((0.65,), Noise()),
    "accuracy 80 %": ((0.8,), Noise()),
    "accuracy 95 %": ((0.95,), Noise()),
    "accuracy 80 %, equal verbs": ((0.8,), Noise(verb=0, verb_and_rank=0)),
    "accuracy 80 %, varying seeds": ((0.8,), Noise(seed_and_rank=0.6)),
    "difference of 0 points at 80 %": ((0.8, 0.8), Noise()),
    "difference of 20 points": ((0.6, 0.8), Noise()),
}


def coverage(studies: int, settings: StatisticsSettings, seed: int) -> list[CoverageRow]:
    """How often the interval contains the truth, by scenario.

    For comparison also that of the plain percentile interval, and of one that redraws the verbs
    within each seed (nested), as if every seed had been tested on other sentences.
    """
    bootstrap = _bootstrap(settings)
    nested = _NestedBootstrap(settings)
    tail = (1 - settings.confidence) / 2
    rows: list[CoverageRow] = []
    for name, (accuracies, noise) in COVERAGE_SCENARIOS.items():
        rng = np.random.default_rng([seed, len(rows)])
        paired = len(accuracies) > 1
        truth = accuracies[-1] - (accuracies[0] if paired else 0)
        covered: Counter[str] = Counter()
        for _ in range(studies):
            answers = simulate_answers(accuracies, noise, rng)
            values = answers[-1] - (answers[0] if paired else 0)
            draws = bootstrap.means(values)
            interval = bootstrap.difference(values) if paired else bootstrap.accuracy(values)
            covered["coverage"] += int(interval.holds(truth))
            for kind, its_draws in (("percentile", draws), ("nested", nested.means(values))):
                low, high = np.quantile(its_draws, [tail, 1 - tail])
                covered[kind] += int(low <= truth <= high)
        rows.append(
            {
                "scenario": name,
                "studies": studies,
                "coverage": covered["coverage"] / studies,
                "percentile": covered["percentile"] / studies,
                "nested": covered["nested"] / studies,
            }
        )
    return rows


class _NestedBootstrap(PairedBootstrap):
    """Redraws the verbs within each seed: for comparison only."""

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
    """Name, the true outcome, and the true accuracy at each rank."""
    for level in (0.6, 0.8, 0.95):
        yield f"flat at {100 * level:.0f} %", "flat", (level,) * 5
    for step in (0.1, 0.2, 0.3):
        points = f"{100 * step:.0f} points per rank"
        top = 0.85
        yield f"elbow at 4, {points}", "elbow 4", (top - step, top, top, top, top)
        yield f"elbow at 8, {points}", "elbow 8", (top - 2 * step, top - step, top, top, top)
    for step in (0.1, 0.15, 0.2):
        accuracies = tuple(0.95 - step * below for below in (4, 3, 2, 1, 0))
        yield f"rising, {100 * step:.0f} points per rank", "rising", accuracies


def power(studies: int, settings: StatisticsSettings, seed: int) -> list[PowerRow]:
    """How often the elbow's rule finds the true outcome, by scenario, and what else it finds."""
    bootstrap = _bootstrap(settings)
    rows: list[PowerRow] = []
    for name, truth, accuracies in power_scenarios():
        rng = np.random.default_rng([seed, 1, len(rows)])
        outcomes: Counter[str] = Counter()
        kneedle = 0
        for _ in range(studies):
            answers = simulate_answers((BASE_ACCURACY, *accuracies), Noise(), rng)
            by_rank = dict(zip(RANKS, answers[1:], strict=True))
            # The base has no seeds: the answers of the first are used.
            elbow = find_elbow(by_rank, answers[0][0], bootstrap, settings)
            outcomes[outcome_of(elbow)] += 1
            kneedle += elbow.kneedle is not None
        rows.append(
            {
                "scenario": name,
                "accuracies": list(accuracies),
                "truth": truth,
                "studies": studies,
                "right": outcomes[truth] / studies,
                "outcomes": {key: outcomes[key] / studies for key in sorted(outcomes)},
                "kneedle_names_a_knee": kneedle / studies,
            }
        )
    return rows


def outcome_of(elbow: Elbow) -> str:
    """``flat``, ``rising``, ``floor``, ``ceiling``, or ``elbow`` with its rank."""
    return f"elbow {elbow.rank}" if elbow.outcome == "elbow" else elbow.outcome


# --- the tables ---------------------------------------------------------------------------------


def simulate(studies: int, settings: StatisticsSettings, seed: int) -> Simulation:
    """Both tables, and what they were made with."""
    return {
        "items": ITEMS,
        "verbs": VERBS,
        "seeds": SEEDS,
        "ranks": list(RANKS),
        "base_accuracy": BASE_ACCURACY,
        "noise": asdict(Noise()),
        "coverage": coverage(studies, settings, seed),
        # Without the ceiling rule, which at 95 % would fire before the rule under test.
        "power": power(studies, replace(settings, ceiling_accuracy=1.0), seed),
    }


def simulation_tables(results: Simulation) -> str:
    """Both tables as Markdown."""
    lines = [
        "| scenario | interval contains the truth | plain percentile | verbs redrawn per seed |",
        "|---|---|---|---|",
        *(
            f"| {row['scenario']} | **{_percent(row['coverage'])}** "
            f"| {_percent(row['percentile'])} | {_percent(row['nested'])} |"
            for row in results["coverage"]
        ),
        "",
        "| true curve | found by the rule | other outcomes | Kneedle names a knee |",
        "|---|---|---|---|",
        *(
            f"| {row['scenario']} | **{_percent(row['right'])}** | {_other_outcomes(row)} "
            f"| {_percent(row['kneedle_names_a_knee'])} |"
            for row in results["power"]
        ),
    ]
    return "\n".join(lines) + "\n"


def _other_outcomes(row: PowerRow) -> str:
    others = {key: share for key, share in row["outcomes"].items() if key != row["truth"]}
    ranked = sorted(others, key=lambda key: -others[key])
    return ", ".join(f"{key} {_percent(others[key])}" for key in ranked) or "none"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
