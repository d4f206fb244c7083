"""Studies are paired item by item where that means something, and otherwise a reason is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_study import Answer, always, write_study
from statsmodels.stats.multitest import multipletests

from minituner.pipeline.finished import FinishedStudy, open_studies
from minituner.statistics.study_differences import Measure, StudyPair, study_pairs
from minituner.storage.files import write_json

ITEMS = 18  # of a made-up study


def pairs(
    tmp_path: Path, *studies: dict[str, Any], measure: Measure = "accuracy"
) -> list[StudyPair]:
    folders = [write_study(tmp_path / f"study-{i}", **study) for i, study in enumerate(studies)]
    return study_pairs(open_studies(folders), measure)


def thirds(seed_offset: int = 0) -> Answer:
    """Right for every third item; which ones depends on the seed."""
    return lambda _rank, seed, item: (item + seed + seed_offset) % 3 == 0


def test_differences_by_rank_are_the_second_study_less_the_first(tmp_path: Path) -> None:
    better_at_8: Answer = lambda rank, seed, item: rank == 8 or thirds()(rank, seed, item)  # noqa: E731
    (pair,) = pairs(tmp_path, {"right": thirds()}, {"right": better_at_8})
    assert (pair.first, pair.second, pair.reason) == ("study-0", "study-1", "")
    assert pair.seeds == [0, 1]
    same, gained = pair.differences
    assert (same.rank, gained.rank) == (2, 8)
    assert same.estimate.mean == 0
    assert same.adjusted_p == 1
    assert gained.estimate.mean == pytest.approx(2 / 3)
    assert gained.estimate.low is not None and gained.estimate.low > 0
    # All six groups agree: the p-value is the sign test's.
    assert (gained.p, gained.adjusted_p) == (2**-5, 2**-4)


def test_swapping_two_studies_changes_the_sign(tmp_path: Path) -> None:
    first, second = {"right": thirds()}, {"right": thirds(1), "drift_nats": 0.3}
    (pair,) = pairs(tmp_path / "a", first, second)
    (swapped,) = pairs(tmp_path / "b", second, first)
    for one, other in zip(pair.differences, swapped.differences, strict=True):
        assert one.estimate.mean == -other.estimate.mean
        assert (one.estimate.low, one.estimate.high) == pytest.approx(
            (-(other.estimate.high or 0), -(other.estimate.low or 0))
        )
        assert one.p == pytest.approx(other.p)
        assert one.text_drift is not None and other.text_drift is not None
        assert one.text_drift.mean == pytest.approx(-other.text_drift.mean)


def test_margins_are_subtracted_in_nats(tmp_path: Path) -> None:
    studies = {"right": always(False)}, {"right": always(True)}
    (pair,) = pairs(tmp_path, *studies, measure="margin_nats")
    assert [difference.estimate.mean for difference in pair.differences] == [3, 3]  # 2 - (-1)


def test_drifts_are_subtracted_over_the_same_base_only(tmp_path: Path) -> None:
    (pair,) = pairs(tmp_path / "a", {"drift_nats": 0.2}, {"drift_nats": 0.5})
    # Ten tokens per text: the perplexity is e to the power of nats per token.
    expected = np.expm1(0.05) - np.expm1(0.02)
    assert [d.text_drift.mean for d in pair.differences if d.text_drift] == pytest.approx(
        [expected, expected]
    )


def test_other_scores_of_the_base_are_another_base(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name) for name in "ab"]
    studies = open_studies(folders)
    other = studies[1].base_items.assign(text_nll_nats=21.0)
    object.__setattr__(studies[1], "base_items", other)
    (pair,) = study_pairs(studies, "accuracy")
    assert all(difference.text_drift is None for difference in pair.differences)


def test_only_common_seeds_and_ranks_are_paired(tmp_path: Path) -> None:
    right_in_seed_2: Answer = lambda _rank, seed, _item: seed == 2  # noqa: E731
    (pair,) = pairs(
        tmp_path,
        {"right": always(False), "seeds": [2, 1, 0], "ranks": (2, 8)},
        {"right": right_in_seed_2, "seeds": [1, 2, 7], "ranks": (4, 8)},
    )
    assert pair.seeds == [1, 2]
    assert [(d.rank, d.estimate.mean) for d in pair.differences] == [(8, 0.5)]


def test_p_values_are_adjusted_over_all_pairs(tmp_path: Path) -> None:
    rights = [always(False), thirds(), thirds(1), always(True)]
    found = pairs(tmp_path, *({"right": right} for right in rights))
    assert len(found) == 6
    differences = [difference for pair in found for difference in pair.differences]
    expected = multipletests([difference.p for difference in differences], method="holm")[1]
    assert [d.adjusted_p for d in differences] == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"task": {"name": "French plurals"}},
            "they are of different tasks, irregular verbs and French plurals",
        ),
        (
            {"task": {"scoring": "sentence"}},
            "they are scored differently, by fill_in and by sentence",
        ),
        (
            {"prompt": "She __ it.", "tokens": "u"},
            f"they are tested on different items: 0 test items in common, of {ITEMS} and {ITEMS}",
        ),
        ({"seeds": [5, 6]}, "they have no seed in common"),
        ({"ranks": [4, 16]}, "they have no rank in common"),
    ],
)
def test_what_cannot_be_paired_has_a_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    same, other = pairs(tmp_path, {}, {}, changes)[:2]
    assert (same.reason, len(same.differences)) == ("", 2)
    assert (other.reason, other.differences) == (reason, [])


def test_items_are_paired_by_id_in_any_order(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name, thirds(i)) for i, name in enumerate("ab")]
    studies = open_studies(folders)
    (pair,) = study_pairs(studies, "accuracy")
    shuffled: FinishedStudy = studies[1]
    tables = {rank: shuffled.items(rank).sample(frac=1, random_state=0) for rank in (2, 8)}
    object.__setattr__(shuffled, "items", tables.__getitem__)
    assert study_pairs(studies, "accuracy") == [pair]


def hash_of_texts(folder: Path, tokens: str, texts: str) -> None:
    """Write the manifest of ``tokenize``, which a clone lacks."""
    manifest = {"stage": "tokenize", "code": {}, "config": {}, "versions": {}}
    outputs = {"data/tokenized/test.jsonl": tokens * 64}
    inputs = {"data/splits/test.jsonl": texts * 64}
    path = folder / "data/tokenized/manifest.json"
    write_json(path, manifest | {"inputs": inputs, "outputs": outputs})


def test_items_of_another_tokenizer_are_the_same_by_their_texts(tmp_path: Path) -> None:
    (pair,) = pairs(tmp_path, {"tokens": "t"}, {"tokens": "u", "base": "b"})
    assert pair.reason == ""


@pytest.mark.parametrize(
    ("tokens", "texts", "paired"), [("u", "x", True), ("u", "y", False), ("v", "x", False)]
)
def test_likeliest_wrong_forms_may_differ_if_the_hashes_agree(
    tmp_path: Path, tokens: str, texts: str, paired: bool
) -> None:
    """A hash counts only if it is of the texts that the evaluated tokens were made from."""
    folders = [write_study(tmp_path / name, tokens=name) for name in "tu"]
    hash_of_texts(folders[0], "t", "x")
    hash_of_texts(folders[1], tokens, texts)
    studies = open_studies(folders)
    others = studies[1].base_items.replace({"wrong_form": {"wrong": "another"}})
    object.__setattr__(studies[1], "base_items", others)
    (pair,) = study_pairs(studies, "accuracy")
    assert (pair.reason == "") == paired


def test_items_that_were_too_long_for_one_context_are_missed(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name, tokens=name) for name in "tu"]
    for folder, tokens in zip(folders, "tu", strict=True):
        hash_of_texts(folder, tokens, "x")
    studies = open_studies(folders)
    object.__setattr__(studies[1], "base_items", studies[1].base_items.iloc[1:])
    (pair,) = study_pairs(studies, "accuracy")
    assert pair.reason == (
        "they are tested on different items: 17 test items in common, of 18 and 17"
    )
