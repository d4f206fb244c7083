"""Split: each step on hand-made pairs, and the whole on the committed corpus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from handmade import RESPELLED, pair

from minituner.data.control import draw_by_frame
from minituner.data.filter import Filtered
from minituner.data.leakage import check_prompts_apart
from minituner.data.pairs import TASK_SPLITS, Pair, write_pairs
from minituner.data.shuffle import seeded_shuffle
from minituner.data.split import (
    SplitSettings,
    assign_by_deficit,
    group_by_question,
    held_out_complements,
    order_by_stratum,
    split_files,
    split_own,
    split_pairs,
    split_task,
)
from minituner.errors import UserError

SETTINGS = SplitSettings()


def test_split_sizes_in_total_and_by_group_and_form(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    total = len(filtered.irregular)
    sizes = {name: len(splits[name]) for name in ("train", "val", "test")}
    assert sum(sizes.values()) == total
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(sizes[name] - share * total) <= 1
        strata = Counter((p.group, p.form) for p in splits[name])
        whole = Counter((p.group, p.form) for p in filtered.irregular)
        assert set(strata) == set(whole)
        assert all(abs(strata[key] - share * whole[key]) < 2 for key in whole)


def test_splits_are_disjoint(filtered: Filtered, splits: dict[str, list[Pair]]) -> None:
    prompts = [p.prompt for name in splits for p in splits[name]]
    assert len(prompts) == len(set(prompts))
    assert len(splits["control"]) == 100
    assert len(splits["probe"]) == 20
    assert {p.group for p in splits["probe"]} == {p.group for p in filtered.regular}


def test_split_pairs_depends_on_the_seed(filtered: Filtered, splits: dict[str, list[Pair]]) -> None:
    assert split_pairs(filtered.irregular, filtered.regular, SETTINGS, seed=0) == splits
    other = split_pairs(filtered.irregular, filtered.regular, SETTINGS, seed=1)
    assert {p.id for p in other["test"]} != {p.id for p in splits["test"]}


@pytest.mark.parametrize("i", range(0, 524, 75))
def test_editing_a_sentence_moves_few_others(
    filtered: Filtered, splits: dict[str, list[Pair]], i: int
) -> None:
    """Its place in the shuffle of its verb and form is new: val and test have fixed places
    there, so those between its old and its new place may change sides; all others stay."""
    edited = filtered.irregular[i]
    changed = [
        replace(p, prompt=p.prompt + " Yes.") if p == edited else p for p in filtered.irregular
    ]
    before = {p.id: name for name in ("train", "val", "test") for p in splits[name]}
    after = split_task(changed, SETTINGS, seed=0)
    moved = [p for name in after for p in after[name] if before[p.id] != name]
    assert {(p.group, p.form) for p in moved} <= {(edited.group, edited.form)}
    # About 33 pairs in each: 3 or 4 of them in val, as many in test; each may swap with one.
    assert len(moved) <= 16
    assert {name: len(after[name]) for name in after} == {n: len(splits[n]) for n in after}


def test_pairs_with_one_prompt_stay_together() -> None:
    pairs = [pair(i) for i in range(30)]
    twins = [replace(p, id=f"{p.id}-b", correct="came") for p in pairs]
    for members in split_task(pairs + twins, SETTINGS, seed=0).values():
        assert all(count == 2 for count in Counter(p.prompt for p in members).values())


@pytest.mark.parametrize("how", RESPELLED)
def test_spellings_of_one_prompt_stay_together(how: str) -> None:
    """Two targets make them two pairs; that the prompt is one is seen by the splits alone."""
    respell = RESPELLED[how]
    irregular = [replace(pair(i), prompt=f"Yes, José's {i}e __ x.") for i in range(60)]
    regular = [replace(pair(i, "walk"), prompt=f"No, José's {i}e __ x.") for i in range(30)]
    twins = [
        [replace(p, id=f"{p.id}-b", prompt=respell(p.prompt), after="") for p in pairs]
        for pairs in (irregular, regular)
    ]
    settings = SplitSettings(control_pairs=15, probe_sentences=15)
    splits = split_pairs(irregular + twins[0], regular + twins[1], settings, seed=0)
    numbers = {
        name: {p.id.removesuffix("-b") for p in pairs if (p.group == "go") == (name in TASK_SPLITS)}
        for name, pairs in splits.items()
    }
    assert sum(len(splits[name]) for name in TASK_SPLITS) == 120
    for left, right in combinations(TASK_SPLITS, 2):
        assert not numbers[left] & numbers[right]
    assert not numbers["control"] & numbers["probe"]
    check_prompts_apart(splits)


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(UserError, match=r"data\.split: the shares do not sum to 1"):
        split_task([pair(1)], SplitSettings(train_share=0.9), seed=0)


def test_too_few_rows_for_a_split() -> None:
    irregular, regular = [pair(i) for i in range(30)], [pair(i, "walk") for i in range(100, 150)]
    with pytest.raises(UserError, match="too few pairs for the val split"):
        split_task([pair(1), pair(2)], SETTINGS, seed=0)
    with pytest.raises(UserError, match="too few pairs for the control split"):
        split_pairs(irregular, regular, SETTINGS, seed=0)
    with pytest.raises(UserError, match="too few pairs for the probe split"):
        split_pairs(irregular, regular, SplitSettings(control_pairs=45), seed=0)


def test_held_out_complements_are_not_in_train(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    def complements(split: str) -> set[tuple[str, str]]:
        return {(p.group, p.complement) for p in splits[split]}

    held_out = held_out_complements(filtered.irregular, SETTINGS, seed=0)
    assert len(held_out) == len({verb for verb, _ in held_out}) == 8
    assert not held_out & complements("train")
    assert held_out <= complements("val") | complements("test")
    new = [p for p in splits["test"] if (p.group, p.complement) not in complements("train")]
    assert len({p.group for p in new}) == 8
    assert 10 < len(new) < len(splits["test"]) - 10, "test has both kinds of sentence"


def test_held_out_complements_in_every_spelling(filtered: Filtered) -> None:
    held_out = held_out_complements(filtered.irregular, SETTINGS, seed=0)
    respelled = [
        replace(p, complement=p.complement.upper().replace(" ", "  ")) if i % 2 else p
        for i, p in enumerate(filtered.irregular)
    ]
    assert held_out_complements(respelled, SETTINGS, seed=0) == held_out
    train = split_task(respelled, SETTINGS, seed=0)["train"]
    assert not held_out & {(p.group, " ".join(p.complement.lower().split())) for p in train}


def test_held_out_complements_count_and_room(
    filtered: Filtered,
) -> None:
    none = replace(SETTINGS, held_out_complements=0)
    assert held_out_complements(filtered.irregular, none, seed=0) == set()
    one_complement = [replace(p, complement="home") for p in filtered.irregular]
    assert held_out_complements(one_complement, SETTINGS, seed=0) == set()
    unnamed = [replace(p, complement="") for p in filtered.irregular]
    assert held_out_complements(unnamed, SETTINGS, seed=0) == set()
    two = held_out_complements(
        filtered.irregular, replace(SETTINGS, held_out_complements=2), seed=0
    )
    assert held_out_complements(filtered.irregular, SETTINGS, seed=0) < two
    assert len(two) > 12, "a second one does not fit everywhere"


def test_draw_by_frame_mixes_frames_and_verbs() -> None:
    regular = [
        pair(i, verb, frame=frame)
        for i, (verb, frame) in enumerate(
            (verb, frame) for verb in ("walk", "play", "talk") for frame in "ab" for _ in range(20)
        )
    ]
    control = draw_by_frame(regular, {"a": 300, "b": 100}, 24, seed=0)
    assert Counter(p.frame for p in control) == {"a": 18, "b": 6}
    assert Counter(p.group for p in control) == {"walk": 8, "play": 8, "talk": 8}


def test_draw_by_frame_on_the_committed_corpus(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    frames = Counter(p.frame for p in filtered.irregular)
    for frame, count in Counter(p.frame for p in splits["control"]).items():
        assert abs(count - 100 * frames[frame] / len(filtered.irregular)) < 1
        verbs = Counter(p.group for p in splits["control"] if p.frame == frame)
        assert set(verbs) == {p.group for p in filtered.regular}
        assert max(verbs.values()) - min(verbs.values()) <= 1
    chosen = {p.id for p in splits["control"]} | {p.id for p in splits["probe"]}
    assert len(chosen) == 120


def test_draw_by_frame_fills_up_from_other_frames() -> None:
    regular = [pair(i, "walk" if i % 2 else "play", frame="b" if i < 3 else "a") for i in range(30)]
    control = draw_by_frame(regular, {"a": 50, "b": 50}, 20, seed=0)
    assert Counter(p.frame for p in control) == {"a": 17, "b": 3}
    assert len({p.id for p in control}) == 20


def test_group_by_question() -> None:
    a, b = pair(1), pair(2)
    same_as_a = replace(a, id="again", prompt="p1  __ X.", correct="came")
    assert group_by_question([a, b, same_as_a]) == [[a, same_as_a], [b]]


def test_order_by_stratum() -> None:
    groups = [[pair(i, verb)] for i, verb in enumerate(("see", "go", "see", "go", "go"))]
    chosen = groups[4]
    ordered = order_by_stratum(groups, seed=0, first=lambda group: group == chosen)
    shuffled = [[p] for p in seeded_shuffle([group[0] for group in groups], seed=0)]
    go, see = ([g for g in shuffled if g[0].group == verb] for verb in ("go", "see"))
    assert ordered == [chosen, *(g for g in go if g != chosen), *see]


def test_assign_by_deficit() -> None:
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    assigned = assign_by_deficit(range(8), shares, allowed=lambda _: shares)
    assert assigned == {"train": [0, 3, 4, 7], "val": [1, 5], "test": [2, 6]}


def test_assign_by_deficit_makes_up_for_items_that_may_not_go_everywhere() -> None:
    shares = {"train": 0.5, "test": 0.5}
    assigned = assign_by_deficit(range(8), shares, lambda i: ["test"] if i < 3 else shares)
    assert assigned == {"train": [3, 4, 5, 6], "test": [0, 1, 2, 7]}


def own_pairs(count: int, **changes: str) -> list[Pair]:
    """Pairs of a task file: no frames, no complements, and no groups unless given."""
    return [
        replace(pair(i), group="", form="", frame="", **{"prompt": f"One {i}, two __.", **changes})
        for i in range(count)
    ]


CONTROL = [
    replace(pair(i), group="", frame="", prompt="", correct=f"Text number {i}.", after="", wrong=())
    for i in range(20)
]


def test_own_pairs_without_groups_are_divided_exactly() -> None:
    splits = split_own(own_pairs(200), CONTROL, SETTINGS, 0, "fill_in")
    sizes = {name: len(pairs) for name, pairs in splits.items()}
    assert sizes == {"train": 160, "val": 20, "test": 20, "control": 20, "probe": 0}
    assert (
        split_own(own_pairs(200)[::-1], CONTROL, SETTINGS, 0, "fill_in")["test"] == (splits["test"])
    )


def test_own_splits_are_obeyed() -> None:
    pairs = [replace(p, split=("train", "val", "test")[i % 3]) for i, p in enumerate(own_pairs(9))]
    splits = split_own(pairs, CONTROL, SETTINGS, 0, "fill_in")
    for name in TASK_SPLITS:
        assert splits[name] == [p for p in pairs if p.split == name]
    with pytest.raises(UserError, match="too few pairs for the val split"):
        split_own([p for p in pairs if p.split != "val"], CONTROL, SETTINGS, 0, "fill_in")


def test_one_frame_for_all_is_one_question_only_in_fill_in() -> None:
    pairs = [replace(p, prompt="Two __.", correct=f"mice{i}") for i, p in enumerate(own_pairs(50))]
    with pytest.raises(UserError, match="too few pairs for the val split"):
        split_own(pairs, CONTROL, SETTINGS, 0, "fill_in")
    splits = split_own(pairs, CONTROL, SETTINGS, 0, "sentence")
    assert [len(splits[name]) for name in TASK_SPLITS] == [40, 5, 5]


def test_too_few_control_items() -> None:
    with pytest.raises(UserError, match="too few pairs for the control split"):
        split_own(own_pairs(50), CONTROL[:4], SETTINGS, 0, "fill_in")


def test_further_control_sets_are_splits_of_their_own(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in ("task", "control", "french")}
    for name, pairs in (("task", own_pairs(50)), ("control", CONTROL), ("french", CONTROL[:7])):
        write_pairs(files[name], pairs)
    given = {**files, "controls": [files["french"]]}
    splits = split_files(given, SETTINGS, 0, {"pairs": "task.jsonl", "scoring": "fill_in"})
    assert list(splits) == ["train", "val", "test", "control", "probe", "controls/french"]
    assert splits["controls/french"] == CONTROL[:7]
