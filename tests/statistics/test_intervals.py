"""Intervals and tests compared with closed forms, simulated studies and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from studies import SETTINGS, VERBS, bootstrap, random_answers

from minituner.statistics.intervals import (
    Estimate,
    PairedBootstrap,
    StatisticsSettings,
    newcombe_interval,
)
from minituner.statistics.p_values import holm, mcnemar
from minituner.statistics.simulate import SEEDS, VERB_OF_ITEM, Noise, simulate_answers


def test_estimate_is_the_mean_inside_its_interval() -> None:
    values = random_answers(0.7)
    estimate = bootstrap().estimate(values)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low < estimate.mean < estimate.high


def test_estimate_of_equal_values_has_no_interval() -> None:
    estimate = bootstrap().estimate(np.full((5, 64), 0.25))
    assert estimate == Estimate(0.25, None, None)
    assert estimate.holds(0) and estimate.holds(1) and not estimate.above_zero


def test_means_use_the_same_draws_for_all_values() -> None:
    values = random_answers(0.6)
    drawn = bootstrap()
    assert not (drawn.means(values) - drawn.means(values.copy())).any()


def test_means_spread_over_seeds() -> None:
    """Var of a bootstrap mean is the population variance over n (Efron & Tibshirani, ch. 5)."""
    values = np.array([0.1, 0.4, 0.2, 0.9, 0.5])
    by_item = np.repeat(values[:, None], 64, axis=1)
    drawn = PairedBootstrap(VERBS, 5, StatisticsSettings(bootstrap_draws=50_000)).means(by_item)
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(5), rel=0.02)


def test_means_spread_over_verbs() -> None:
    """Verbs are drawn whole: items that agree within a verb count as one."""
    by_verb = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    values = np.repeat(by_verb, 8)[None]
    drawn = PairedBootstrap(VERBS, 1, StatisticsSettings(bootstrap_draws=50_000)).means(values)
    assert drawn.std() == pytest.approx(by_verb.std() / math.sqrt(8), rel=0.02)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; never below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("gained", "lost"), [(6, 0), (10, 2), (5, 5), (0, 0), (59, 16)])
def test_mcnemar_equals_the_binomial_sum(gained: int, lost: int) -> None:
    before = np.array([0] * gained + [1] * lost + [1] * 7 + [0] * 3)
    after = np.array([1] * gained + [0] * lost + [1] * 7 + [0] * 3)
    n, k = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    result = mcnemar(before, after)
    assert (result["gained"], result["lost"]) == (gained, lost)
    assert result["p"] == pytest.approx(min(1.0, 2 * tail) if n else 1.0)


def test_mcnemar_of_a_published_table() -> None:
    """Armitage & Berry, Statistical Methods in Medical Research (1994), p. 127: fifty specimens on
    two media, 12 grew on the first alone and 2 on the second; the exact two-sided p is 0.0129."""
    second = np.array([1] * 20 + [0] * 12 + [1] * 2 + [0] * 16)
    first = np.array([1] * 20 + [1] * 12 + [0] * 2 + [0] * 16)
    result = mcnemar(second, first)
    assert (result["gained"], result["lost"]) == (12, 2)
    assert result["p"] == pytest.approx(0.0129, abs=5e-5)
    assert result["p"] == pytest.approx(statsmodels_mcnemar([[20, 12], [2, 16]]).pvalue)


@pytest.mark.parametrize("seed", range(20))
def test_holm_equals_that_of_statsmodels(seed: int) -> None:
    p_values = np.random.default_rng(seed).uniform(size=1 + seed % 7) ** 2
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values.tolist()) == pytest.approx(expected.tolist())


def test_interval_is_widened_for_few_verbs() -> None:
    """The cut-off tails are those of Hesterberg's table for n = 8: 0.6 % instead of 2.5 %."""
    draws = np.random.default_rng(0).normal(size=400_000)
    estimate = bootstrap().interval(0.0, draws)
    expected = stats.t.ppf(0.975, 7) * math.sqrt(8 / 7)
    assert estimate.high == pytest.approx(expected, rel=0.01)
    assert estimate.low == pytest.approx(-expected, rel=0.01)


def test_p_value_equals_the_t_test_of_the_verbs() -> None:
    by_verb = np.array([0.1, 0.2, -0.1, 0.3, 0.2, 0.0, 0.1, 0.4])
    values = np.repeat(by_verb, 8)[None]
    drawn = PairedBootstrap(VERBS, 1, StatisticsSettings(bootstrap_draws=100_000))
    assert drawn.p_value(values) == pytest.approx(stats.ttest_1samp(by_verb, 0).pvalue, rel=0.05)


def test_p_value_if_all_verbs_agree() -> None:
    assert bootstrap().p_value(np.zeros((5, 64))) == 1.0
    # Eight verbs agree: the sign test's p, two tails of a half to the eighth.
    assert bootstrap().p_value(np.full((5, 64), 0.5)) == pytest.approx(2 / 2**8)
    assert 0 < bootstrap().p_value(np.random.default_rng(0).normal(0.1, 1, (5, 64))) < 1


def test_means_of_a_single_verb_draw_its_items() -> None:
    values = np.array([[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]])
    drawn = PairedBootstrap(["go"] * 6, 1, StatisticsSettings(bootstrap_draws=50_000))
    assert drawn.means(values).std() == pytest.approx(values.std() / math.sqrt(6), rel=0.02)


# --- few sentences, few verbs -------------------------------------------------------------------

# n of n correct: the lower end is the n-th root of 2.5 %; none correct: 1 less that.
ALONE = [
    ([1], 0.025, 1),
    ([0], 0, 0.975),
    ([1, 1], 0.158114, 1),
    ([1, 1, 1], 0.292402, 1),
    ([0, 0, 0], 0, 0.707598),
    ([1, 1, 1, 1, 1], 0.478176, 1),
    # In between: the roots of the binomial tails, from published tables of exact limits.
    ([1, 1, 0], 0.0943, 0.9916),
    ([1, 0, 0], 0.0084, 0.9057),
    ([1, 1, 1, 0, 0], 0.1466, 0.9473),
]


@pytest.mark.parametrize(("correct", "low", "high"), ALONE)
@pytest.mark.parametrize("verbs", ["one", "each its own"])
def test_accuracy_of_few_sentences_is_exact(
    correct: list[int], low: float, high: float, verbs: str
) -> None:
    names = [f"verb-{i if verbs == 'each its own' else 0}" for i in range(len(correct))]
    for n_seeds in (1, 5):
        values = np.repeat(np.array([correct], dtype=float), n_seeds, axis=0)
        estimate = PairedBootstrap(names, n_seeds, SETTINGS).accuracy(values)
        assert estimate.mean == pytest.approx(np.mean(correct))
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("items", [1, 2, 3, 5, 8, 24, 64])
@pytest.mark.parametrize("clusters", [1, 2, 4, 8])
def test_accuracy_covers_the_exact_interval(items: int, clusters: int) -> None:
    """Compared with the exact interval of scipy, whichever items are correct."""
    verbs = [f"verb-{i % clusters}" for i in range(items)]
    drawn = PairedBootstrap(verbs, 2, SETTINGS)
    for right in {0, 1, items // 2, items - 1, items}:
        values = np.tile(np.arange(items) < right, (2, 1)).astype(float)
        exact = stats.binomtest(right, items).proportion_ci(0.95)
        estimate = drawn.accuracy(values)
        assert estimate.low <= exact.low + 1e-9
        assert estimate.high >= exact.high - 1e-9
        assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1


def test_accuracy_of_all_correct_counts_sentences_not_seeds() -> None:
    estimate = bootstrap().accuracy(np.ones((5, 64)))
    assert (estimate.low, estimate.high) == (pytest.approx(0.025 ** (1 / 64)), 1.0)
    # One wrong answer of 320 does not narrow it.
    values = np.ones((5, 64))
    values[0, 0] = 0
    assert bootstrap().accuracy(values).low < estimate.low


def test_difference_of_equal_answers_covers_what_few_sentences_could_hide() -> None:
    """No discordant pair of n: each share of them is at most 1 - 0.025^(1/n)."""
    for n in (1, 2, 3, 52):
        drawn = PairedBootstrap([f"verb-{i % 8}" for i in range(n)], 3, SETTINGS)
        estimate = drawn.difference(np.zeros((3, n)))
        bound = 1 - 0.025 ** (1 / n)
        assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((0, -bound, bound))
        double = drawn.difference(np.zeros((3, n)), largest=2)
        assert double.high == pytest.approx(2 * bound)


@pytest.mark.parametrize(
    ("gained", "low", "high"),
    # All n gained: low is 0.025^(1/n) less 1 - 0.025^(1/n); McNemar's p is 2 / 2^n.
    [(1, -0.95, 1), (3, -0.415196, 1), (5, -0.043648, 1), (6, 0.081475, 1)],
)
def test_difference_is_significant_if_mcnemar_is(gained: int, low: float, high: float) -> None:
    values = np.ones((1, gained))
    estimate = PairedBootstrap(["go"] * gained, 1, SETTINGS).difference(values)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-5)
    p = mcnemar(np.zeros(gained), np.ones(gained))["p"]
    assert (p < 0.05) == estimate.above_zero


def test_difference_in_one_sentence_covers_the_exact_interval() -> None:
    """A third of the draws lack the one verb of eight that differs, so the bootstrap's interval
    ends at zero only because there are few sentences."""
    values = np.zeros((5, 64))
    values[0, 0] = 1
    estimate = bootstrap().difference(values)
    assert estimate.low == pytest.approx(0.025 ** (1 / 64) - 1, abs=1e-3)
    assert estimate.high is not None and estimate.high > 1 - 0.025 ** (1 / 64)


def test_estimate_of_two_verbs_is_students() -> None:
    """Unbounded, with means 0.2 and 0.6: 0.4 -+ t(1 degree of freedom) 0.2, t = 12.706."""
    values = np.repeat([0.2, 0.6], 10)[None]
    verbs = ["go"] * 10 + ["eat"] * 10
    drawn = PairedBootstrap(verbs, 1, StatisticsSettings(bootstrap_draws=100_000))
    estimate = drawn.estimate(values)
    assert (estimate.low, estimate.high) == pytest.approx((0.4 - 2.541, 0.4 + 2.541), rel=0.01)
    assert drawn.p_value(values) > 0.05, "the test agrees"
    # A share is bounded by 0 and 1.
    assert drawn.accuracy(values) == Estimate(pytest.approx(0.4), 0.0, 1.0)


@pytest.mark.parametrize("n_seeds", [1, 5])
def test_estimate_of_one_sentence_has_no_interval(n_seeds: int) -> None:
    values = np.linspace(1, 2, n_seeds)[:, None]
    drawn = PairedBootstrap(["go"], n_seeds, SETTINGS)
    assert drawn.estimate(values) == Estimate(values.mean(), None, None)
    assert drawn.p_value(values) <= 1


@pytest.mark.parametrize(("confidence", "fewest"), [(0.5, 2), (0.9, 5), (0.95, 6), (0.99, 8)])
def test_too_few_verbs_depend_on_the_confidence(confidence: float, fewest: int) -> None:
    """The range of n means misses the truth with 2 / 2^n: more than 5 % up to five."""
    settings = StatisticsSettings(bootstrap_draws=2000, confidence=confidence)
    for n in range(2, 10):
        values = np.repeat(np.linspace(0, 1, n), 4)[None]
        verbs = [f"verb-{i // 4}" for i in range(4 * n)]
        estimate = PairedBootstrap(verbs, 1, settings).estimate(values)
        assert estimate.low is not None
        students = stats.t.ppf((1 + confidence) / 2, n - 1) * stats.sem(np.linspace(0, 1, n))
        if n < fewest:
            assert 0.5 - estimate.low == pytest.approx(students, rel=0.1)
        else:
            assert estimate.low >= 0, "no draw lies below the smallest"


# --- two groups of items ------------------------------------------------------------------------

HALF = np.arange(64) % 2 == 0  # four items of each verb


def test_group_difference_of_equal_groups_is_that_of_paired_items() -> None:
    """With as many items of each verb in both groups, it is the mean of paired differences."""
    by_verb = [(1, 0), (1, 1), (0, 0), (0.5, 0.25), (1, 0.5), (0.25, 0.75), (1, 0.25), (0.75, 0.5)]
    correct = np.zeros((5, 64))
    for verb, shares in enumerate(by_verb):
        for group, share in enumerate(shares):
            correct[:, 8 * verb + group + 2 * np.arange(round(4 * share))] = 1
    paired = np.repeat([first - other for first, other in by_verb], 8)
    expected = bootstrap().estimate(np.tile(paired, (5, 1)))
    found = bootstrap().group_difference(correct, HALF)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    turned = bootstrap().group_difference(correct, ~HALF)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("first", "others", "low", "high"),
    [
        # The exact limits of 3 of 3 and of 5 of 5 are 29.24 and 47.82 %, see ALONE.
        ([1, 1, 1], [1, 1, 1, 1, 1], 0.292402 - 1, 1 - 0.478176),
        ([1, 1, 1], [0, 0, 0], 1 - math.sqrt(2) * 0.707598, 1),  # Fisher's p is 2/20
        ([1, 1, 1, 1, 1], [0, 0, 0, 0, 0], 1 - math.sqrt(2) * 0.521824, 1),  # 2/252
    ],
)
@pytest.mark.filterwarnings("error")
def test_group_difference_of_few_sentences_is_exact(
    first: list[int], others: list[int], low: float, high: float
) -> None:
    correct = np.array([first + others], dtype=float)
    group = np.arange(len(first + others)) < len(first)
    estimate = PairedBootstrap(["go"] * len(group), 1, SETTINGS).group_difference(correct, group)
    assert estimate.mean == np.mean(first) - np.mean(others)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-5)
    table = [[sum(group), len(group) - sum(group)] for group in (first, others)]
    assert (stats.fisher_exact(table).pvalue < 0.05) == (not estimate.holds(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("verbs", [1, 2, 7])
def test_group_difference_if_a_draw_may_lack_a_group(verbs: int) -> None:
    """The group has one sentence of each of a few verbs."""
    group = np.isin(np.arange(64), 8 * np.arange(verbs))
    estimate = bootstrap().group_difference(random_answers(0.6), group)
    assert estimate.low is not None and estimate.high is not None
    assert -1 <= estimate.low < estimate.mean < estimate.high <= 1


@pytest.mark.parametrize("accuracies", [(0.8, 0.8), (0.6, 0.8), (0.95, 0.95)])
@pytest.mark.parametrize("every", [2, 5])
def test_group_difference_covers_the_truth(accuracies: tuple[float, float], every: int) -> None:
    """300 simulated studies; a group is every second or every fifth sentence."""
    settings = StatisticsSettings(bootstrap_draws=1000)
    drawn = PairedBootstrap([str(verb) for verb in VERB_OF_ITEM], SEEDS, settings)
    group = np.arange(len(VERB_OF_ITEM)) % every == 0
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        answers = simulate_answers(accuracies, Noise(), rng)
        estimate = drawn.group_difference(np.where(group, answers[0], answers[1]), group)
        held += estimate.holds(accuracies[0] - accuracies[1])
    assert 0.93 <= held / 300 <= 1


def test_newcombe_interval_of_a_published_example() -> None:
    """Newcombe (1998), table II: 56/70 less 48/80 with Wilson's limits is 0.0524 to 0.3339."""
    limits = [
        tuple(stats.binomtest(k, n).proportion_ci(method="wilson")) for k, n in ((56, 70), (48, 80))
    ]
    assert newcombe_interval([56 / 70, 48 / 80], limits) == pytest.approx(
        (0.0524, 0.3339), abs=5e-5
    )
