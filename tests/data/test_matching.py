"""The control pairs against the irregular ones, over the pairs that fit the model's context."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minituner.data.matching import MatchLimits, MatchStatistics
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.tokenize import ContextLimit, tokenize_splits
from minituner.errors import SeveralErrors, UserError
from minituner.tokenizer import TextTokenizer

SHORT, LONG = "One __ two.", "One two three __ four five."


def pair(prompt: str = SHORT, frame: str = "a", english: str = "went") -> TokenizedPair:
    ids: list[int] = []
    return TokenizedPair(
        "id", "go", "past_simple", frame, "", prompt, english, "", ["goed"], ids, ids, ids, [ids]
    )


def counted(
    control: list[TokenizedPair],
    train: list[TokenizedPair],
    unseen: list[str] | None = None,
    limits: MatchLimits | None = None,
) -> MatchStatistics:
    statistics = MatchStatistics(limits or MatchLimits(), unseen)
    splits = {"train": train[:-1], "val": train[-1:], "test": [], "control": control, "probe": []}
    for name, pairs in splits.items():
        assert list(statistics.counting(name, pairs)) == pairs
    return statistics


def test_distributions_by_hand() -> None:
    irregular = [pair(frame="a"), pair(frame="a"), pair(frame="b"), pair(frame="b")]
    control = [pair(frame="a"), pair("One two __ three four.", frame="c")]
    found = counted(control, irregular).as_json()
    assert found["task"] == {
        "pairs": 4,
        "frames": {"a": 2, "b": 2},
        "prompt_words": {"03": 4},
        "mean_prompt_words": 3.0,
    }
    assert found["control"]["prompt_words"] == {"03": 1, "05": 1}
    assert found["frame_distance"] == 0.5  # (|.5-.5| + |.5-0| + |0-.5|) / 2
    assert found["length_difference_words"] == 1.0  # 4 against 3
    assert found["unseen_words"] is None


def test_unseen_words_by_split() -> None:
    train = [pair("He __ to the zoo."), pair("Zoo, zoo: he __ to the well-known caf\u00c9.")]
    found = counted([pair("A __ b.")], train, ["zoo", "well-known", "nowhere"]).as_json()
    assert found["unseen_words"] == {  # nothing on empty splits
        "train": {"words": 5, "unseen": 1, "most": ["zoo"]},
        "val": {"words": 8, "unseen": 3, "most": ["zoo", "well-known"]},
        "control": {"words": 3, "unseen": 0, "most": []},
    }


def test_check_refuses_other_lengths() -> None:
    irregular = [pair(), pair()]
    for control, train, words in (
        (
            [pair(LONG)],
            irregular,
            "3.00 words longer than the task's (at most 0.5): 6.00 and 3",
        ),
        (irregular, [pair(LONG)], "3.00 words shorter than the task's (at most 0.5): 3.00 and"),
    ):
        with pytest.raises(UserError) as refusal:
            counted(control, train).check()
        message = str(refusal.value)
        assert message.startswith("config.yaml: data.corpus: the control pairs do not")
        assert f"found:    control prompts are {words}" in message
        limit = "config.yaml: data.split.max_length_difference_words"
        assert f"raise the limit to 3 in {limit}" in message
        assert "{" not in message
    counted([pair(LONG)], irregular, limits=MatchLimits(0.0, 3.0)).check()
    counted(irregular, irregular, limits=MatchLimits(0.0, 0.0)).check()


def test_check_refuses_other_frames() -> None:
    irregular = [pair(frame=frame) for frame in "aaabbbcccd"]
    control = [pair(frame=frame) for frame in "aaaaaaaabc"]
    with pytest.raises(UserError) as refusal:
        counted(control, irregular).check()
    message = str(refusal.value)
    # (.5 + .2 + .2 + .1) / 2
    assert "the mix of frames is 0.50 apart (at most 0.1): a in 80% of the control and 30% of" in (
        message
    )
    assert "b in 10% of the control and 30% of the task's pairs, c in 10%" in message
    assert "d in" not in message
    assert "raise the limit to 0.5 in config.yaml: data.split.max_frame_distance" in message
    counted(control, irregular, limits=MatchLimits(0.5)).check()


def test_check_reports_both_differences() -> None:
    with pytest.raises(SeveralErrors, match="2 mistakes"):
        counted([pair(LONG, frame="b")], [pair(), pair()]).check()


def splits_with(pair: Pair, too_long: dict[str, int]) -> dict[str, list[Pair]]:
    """A hundred pairs per split, some of them too long."""
    longer = replace(pair, prompt="He __ to school" + " again" * 79 + ".")
    return {
        name: [pair] * (100 - too_long.get(name, 0)) + [longer] * too_long.get(name, 0)
        for name in ("train", "val", "test", "control", "probe")
    }


def tokenized(
    folder: Path, splits: dict[str, list[Pair]], tokenizer: TextTokenizer, max_share: float
) -> dict[str, Any]:
    paths = {name: folder / f"{name}.jsonl" for name in splits}
    limit, statistics = ContextLimit(32, max_share), MatchStatistics(MatchLimits())
    return tokenize_splits(splits, paths, tokenizer, limit, statistics)


def test_pairs_that_are_too_long_are_not_compared(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    splits = splits_with(raw_pairs[0], {"control": 1, "test": 2})
    summary = tokenized(tmp_path, splits, tokenizer, 0.01)
    assert summary["too_long"] == {"test": 2, "control": 1}
    found = summary["distributions"]
    assert (found["control"]["pairs"], found["task"]["pairs"]) == (99, 298)
    assert found["length_difference_words"] == 0


def test_too_long_is_reported_before_mismatch(
    tokenizer: TextTokenizer, raw_pairs: list[Pair], tmp_path: Path
) -> None:
    splits = splits_with(raw_pairs[0], {"control": 40})
    with pytest.raises(SeveralErrors, match=r"^40 mistakes[\s\S]*longer than the model's context"):
        tokenized(tmp_path, splits, tokenizer, 0.0)
    unlike = splits_with(raw_pairs[0], {}) | {"control": [replace(raw_pairs[0], frame="other")]}
    with pytest.raises(UserError, match="do not resemble"):
        tokenized(tmp_path, unlike, tokenizer, 0.0)
    assert not list(tmp_path.iterdir())
