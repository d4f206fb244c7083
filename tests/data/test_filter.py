"""Filter, split and their checks, on hand-made pairs and on the committed corpora."""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from minituner.data.checks import (
    check_base_apart,
    check_prompts_apart,
    check_splits,
    check_verbs_apart,
    unseen_words,
)
from minituner.data.corpus import Row, corpus_files, iter_files, read_rows
from minituner.data.filter import (
    Pair,
    filter_rows,
    iter_pair_rows,
    pair_of_row,
    pair_rows,
    without_duplicates,
)
from minituner.data.spelling import words_of
from minituner.data.split import (
    SplitSettings,
    draw_control,
    held_out_complements,
    split_irregular,
    split_pairs,
)
from minituner.data.verbs import Verb, load_verbs
from minituner.errors import SeveralErrors, UserError
from minituner.storage.files import write_jsonl

STUDY = corpus_files(ROOT / "data/processed/verb-corpus")
SETTINGS = SplitSettings()
IRREGULAR = ("train", "val", "test")
Filtered = tuple[list[Pair], list[Pair], dict[str, Any]]


@pytest.fixture(scope="module")
def names() -> tuple[list[str], list[str]]:
    data = yaml.safe_load((ROOT / "config.yaml").read_text())["data"]
    return data["irregular_verbs"], data["regular_verbs"]


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


@pytest.fixture(scope="module")
def rows(verbs: dict[str, Verb]) -> list[Row]:
    return read_rows(STUDY, verbs)


@pytest.fixture(scope="module")
def filtered(
    rows: list[Row], verbs: dict[str, Verb], names: tuple[list[str], list[str]]
) -> Filtered:
    return filter_rows(rows, verbs, *names)


@pytest.fixture(scope="module")
def splits(filtered: Filtered) -> dict[str, list[Pair]]:
    return split_pairs(filtered[0], filtered[1], SETTINGS, seed=0)


def pair(i: int, verb: str = "go", form: str = "past_simple", frame: str = "f") -> Pair:
    return Pair(
        f"id-{i}", verb, form, frame, "", f"P{i} __ x.", "went", "fue", "goed", f"c.jsonl:{i}"
    )


# --- filter -------------------------------------------------------------------------------------


def test_only_past_forms_of_the_studys_verbs_are_kept(
    rows: list[Row], filtered: Filtered, names: tuple[list[str], list[str]]
) -> None:
    irregular, regular, summary = filtered
    assert {p.verb for p in irregular} == set(names[0])
    assert {p.verb for p in regular} == set(names[1])
    assert {p.form for p in irregular + regular} == {"past_simple", "past_participle"}
    kept, dropped = sum(summary["kept"].values()), sum(summary["dropped"].values())
    assert kept + dropped == len(rows)
    assert summary["dropped"]["tense present"] == summary["dropped"]["tense future"] == 30


def test_a_correction_pair_gives_one_pair_and_its_target_is_the_right_form(
    rows: list[Row], filtered: Filtered, verbs: dict[str, Verb]
) -> None:
    wrong = [row for row in rows if row.label == "mis_conjugated"]
    assert len(wrong) == 24
    by_prompt = Counter(p.prompt for p in filtered[0])
    for row in wrong:
        made = pair_of_row(row, verbs)
        assert made.english == row.correct_form != row.written == made.wrong
        assert row.prompt is not None
        assert by_prompt[row.prompt] == 1
    assert filtered[2]["dropped"]["duplicate irregular"] == 24


def test_what_is_dropped_is_counted_by_its_reason(rows: list[Row], verbs: dict[str, Verb]) -> None:
    right = next(row for row in rows if (row.verb_lemma, row.tense) == ("go", "past_simple"))
    other = next(row for row in rows if (row.verb_lemma, row.tense) == ("walk", "past_simple"))
    given = [
        right,
        replace(right, id="again"),
        replace(right, id="once more"),
        replace(right, id="a first, without Spanish", target="went"),
        replace(right, id="other Spanish", target="went / iba"),
        replace(right, id="plain", prompt=None, target=None),
        replace(right, id="now", tense="present"),
        other,
    ]
    irregular, regular, summary = filter_rows(given, verbs, ["go"], ["play"])
    assert [(p.english, p.spanish) for p in irregular] == [("went", right.target_spanish)]
    assert regular == []
    assert summary == {
        "kept": {"irregular": 1, "regular": 0},
        "dropped": {
            "duplicate irregular": 4,
            "duplicate regular": 0,
            "no prompt to fill in": 1,
            "tense present": 1,
            "verb outside the study": 1,
        },
    }


RESPELLED = {
    "a trailing space": lambda text: text + " ",
    "double spaces": lambda text: text.replace(" ", "  "),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "another apostrophe": lambda text: text.replace("'", "\u2019"),
    "another quotation mark": lambda text: text.replace('"', "\u275d"),
    "two apostrophes": lambda text: text.replace('"', "''"),
    "capitals": lambda text: text.replace("y", "Y"),
    "capitals alone": str.upper,
    "small letters": str.lower,
    "tabs": lambda text: text.replace(" ", "\t"),
    "a space before punctuation": lambda text: text.replace(",", " ,"),
    "none after it": lambda text: text.replace(", ", ","),
    "quotation marks around it": lambda text: f"\u00ab\u00a0{text}\u00a0\u00bb",
    "invisible characters": lambda text: text.replace("e", "e\u200e\ufe0f"),
    "letters in full width": lambda text: text.replace("e", "\uff45"),
    "accents of their own": lambda text: unicodedata.normalize("NFD", text),
}


@pytest.mark.parametrize("how", RESPELLED)
def test_rows_repeated_in_another_spelling_are_duplicates(
    rows: list[Row], verbs: dict[str, Verb], names: tuple[list[str], list[str]], how: str
) -> None:
    """As they were before, in the spelling that they had before: 200 rows more change nothing."""

    def marked(text: str) -> str:
        return text.replace(".", ", \"yes\", and that's José's.")  # all kinds of marks

    originals = [
        replace(row, text=marked(row.text), prompt=marked(row.prompt))
        for row in rows
        if row.prompt is not None
    ]
    respell = RESPELLED[how]
    more = [
        replace(row, id=f"again-{i}", text=respell(row.text), prompt=respell(row.prompt or ""))
        for i, row in enumerate(originals[:200])
    ]
    assert all(old.prompt != new.prompt for old, new in zip(originals[:200], more, strict=True))
    before, after = (filter_rows(given, verbs, *names) for given in (originals, originals + more))
    dropped = [
        sum(s["dropped"][f"duplicate {k}"] for k in s["kept"]) for s in (before[2], after[2])
    ]
    assert dropped[1] == dropped[0] + 200
    assert after[:2] == before[:2], "the plainest spelling is the one that it had before"


def test_the_plainest_of_duplicates_is_kept_in_whatever_order_they_come() -> None:
    plain = replace(pair(1), prompt="Then they __ late.", spanish="estuvieron")
    others = [
        replace(plain, id="a", spanish="", prompt="Then they __ late."),
        replace(plain, id="b", spanish="ESTUVIERON"),
        replace(plain, id="c", prompt="THEN THEY __ LATE."),
        replace(plain, id="d", prompt="Then\tthey __ late."),
        replace(plain, id="e", prompt="then they __ late."),
        replace(plain, id="f", prompt="Then they__late ."),
        replace(plain, id="g", spanish="estuve"),
    ]
    others[-1] = replace(others[-1], prompt="Then they __ late .")
    for seed in range(20):
        given = [plain, *others]
        random.Random(seed).shuffle(given)
        assert without_duplicates(given) == [plain]
    different = [plain, replace(plain, english="gone"), replace(plain, prompt="They __ late.")]
    assert without_duplicates(different) == different


def test_pairs_survive_their_file(tmp_path: Path, filtered: Filtered) -> None:
    write_jsonl(tmp_path / "pairs.jsonl", pair_rows(filtered[0][:50]))
    assert list(iter_pair_rows(tmp_path / "pairs.jsonl")) == filtered[0][:50]


def test_the_order_of_the_rows_and_rows_of_other_tenses_mean_nothing(
    rows: list[Row], filtered: Filtered, verbs: dict[str, Verb], names: tuple[list[str], list[str]]
) -> None:
    shuffled = [row for row in rows if row.tense != "present"]
    random.Random(1).shuffle(shuffled)
    assert filter_rows(shuffled, verbs, *names)[:2] == filtered[:2]


def test_a_comment_field_means_nothing(
    tmp_path: Path, filtered: Filtered, verbs: dict[str, Verb], names: tuple[list[str], list[str]]
) -> None:
    copies = [tmp_path / Path(file).name for file in STUDY]
    for file, copy in zip(STUDY, copies, strict=True):
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        copy.write_text("\n".join(json.dumps({"note": "x", **json.loads(x)}) for x in lines))
    again = filter_rows(iter_files(copies, verbs), verbs, *names)
    assert [replace(p, source="") for p in again[0]] == [replace(p, source="") for p in filtered[0]]


# --- split --------------------------------------------------------------------------------------


def test_the_shares_are_exact_and_every_verb_and_form_is_near_its_own(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    total = len(filtered[0])
    sizes = {name: len(splits[name]) for name in ("train", "val", "test")}
    assert sum(sizes.values()) == total
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(sizes[name] - share * total) <= 1
        strata = Counter((p.verb, p.form) for p in splits[name])
        whole = Counter((p.verb, p.form) for p in filtered[0])
        assert set(strata) == set(whole)
        assert all(abs(strata[key] - share * whole[key]) < 2 for key in whole)


def test_every_pair_is_in_one_split(filtered: Filtered, splits: dict[str, list[Pair]]) -> None:
    prompts = [p.prompt for name in splits for p in splits[name]]
    assert len(prompts) == len(set(prompts))
    assert len(splits["control"]) == 100
    assert len(splits["probe"]) == 20
    assert {p.verb for p in splits["probe"]} == {p.verb for p in filtered[1]}


def test_the_seed_alone_decides(filtered: Filtered, splits: dict[str, list[Pair]]) -> None:
    assert split_pairs(filtered[0], filtered[1], SETTINGS, seed=0) == splits
    other = split_pairs(filtered[0], filtered[1], SETTINGS, seed=1)
    assert {p.id for p in other["test"]} != {p.id for p in splits["test"]}


@pytest.mark.parametrize("i", range(0, 524, 75))
def test_an_edited_sentence_moves_none_but_a_few_of_its_own_verb_and_form(
    filtered: Filtered, splits: dict[str, list[Pair]], i: int
) -> None:
    """Its place in the shuffle of its verb and form is new: val and test stand at fixed places
    there, so those between its old and its new place may change sides; all others stay."""
    edited = filtered[0][i]
    changed = [replace(p, prompt=p.prompt + " Yes.") if p == edited else p for p in filtered[0]]
    before = {p.id: name for name in ("train", "val", "test") for p in splits[name]}
    after = split_irregular(changed, SETTINGS, seed=0)
    moved = [p for name in after for p in after[name] if before[p.id] != name]
    assert {(p.verb, p.form) for p in moved} <= {(edited.verb, edited.form)}
    # About 33 pairs in each: 3 or 4 of them in val, as many in test; each may swap with one.
    assert len(moved) <= 16
    assert {name: len(after[name]) for name in after} == {n: len(splits[n]) for n in after}


def test_unknown_verbs_of_both_lists_are_told_at_once(
    rows: list[Row], verbs: dict[str, Verb]
) -> None:
    with pytest.raises(UserError, match="3 mistakes") as refusal:
        filter_rows(rows, verbs, ["go", "goo", "run"], ["wlak"])
    message = str(refusal.value)
    unknown = "names a verb whose forms are not known\n  found:   "
    for words in (
        f"data.irregular_verbs: {unknown} goo\n",
        f"data.irregular_verbs: {unknown} run\n",
        f"data.regular_verbs: {unknown} wlak\n",
        "fix:      did you mean 'go'?",
        "fix:      did you mean 'walk'?",
    ):
        assert message.count(words) == 1, words


def test_one_prompt_with_two_answers_stays_together() -> None:
    pairs = [pair(i) for i in range(30)]
    twins = [replace(p, id=f"{p.id}-b", english="came") for p in pairs]
    for members in split_irregular(pairs + twins, SETTINGS, seed=0).values():
        assert all(count == 2 for count in Counter(p.prompt for p in members).values())


@pytest.mark.parametrize("how", RESPELLED)
def test_one_prompt_in_two_spellings_stays_together_and_out_of_the_other_splits(how: str) -> None:
    """Two targets make them two pairs; that the prompt is one is seen by the splits alone."""
    respell = RESPELLED[how]
    irregular = [replace(pair(i), prompt=f"Yes, José's {i}e __ x.") for i in range(60)]
    regular = [replace(pair(i, "walk"), prompt=f"No, José's {i}e __ x.") for i in range(30)]
    twins = [
        [replace(p, id=f"{p.id}-b", prompt=respell(p.prompt), spanish="") for p in pairs]
        for pairs in (irregular, regular)
    ]
    settings = SplitSettings(control_pairs=15, probe_sentences=15)
    splits = split_pairs(irregular + twins[0], regular + twins[1], settings, seed=0)
    numbers = {
        name: {p.id.removesuffix("-b") for p in pairs if (p.verb == "go") == (name in IRREGULAR)}
        for name, pairs in splits.items()
    }
    assert sum(len(splits[name]) for name in IRREGULAR) == 120
    for left, right in combinations(IRREGULAR, 2):
        assert not numbers[left] & numbers[right]
    assert not numbers["control"] & numbers["probe"]
    check_prompts_apart(splits)


def test_a_held_out_complement_is_held_out_in_every_spelling(filtered: Filtered) -> None:
    held_out = held_out_complements(filtered[0], SETTINGS, seed=0)
    respelled = [
        replace(p, complement=p.complement.upper().replace(" ", "  ")) if i % 2 else p
        for i, p in enumerate(filtered[0])
    ]
    assert held_out_complements(respelled, SETTINGS, seed=0) == held_out
    train = split_irregular(respelled, SETTINGS, seed=0)["train"]
    assert not held_out & {(p.verb, " ".join(p.complement.lower().split())) for p in train}


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.split: the shares do not sum to 1"):
        split_irregular([pair(1)], SplitSettings(train_share=0.9), seed=0)


def test_the_held_out_complements_stand_in_val_and_test_alone(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    def complements(split: str) -> set[tuple[str, str]]:
        return {(p.verb, p.complement) for p in splits[split]}

    held_out = held_out_complements(filtered[0], SETTINGS, seed=0)
    assert len(held_out) == len({verb for verb, _ in held_out}) == 8
    assert not held_out & complements("train")
    assert held_out <= complements("val") | complements("test")
    new = [p for p in splits["test"] if (p.verb, p.complement) not in complements("train")]
    assert len({p.verb for p in new}) == 8
    assert 10 < len(new) < len(splits["test"]) - 10, "both kinds of sentence are asked about"


def test_no_complement_is_held_out_if_none_is_asked_for_or_there_is_no_room(
    filtered: Filtered,
) -> None:
    none = replace(SETTINGS, held_out_complements=0)
    assert held_out_complements(filtered[0], none, seed=0) == set()
    one_complement = [replace(p, complement="home") for p in filtered[0]]
    assert held_out_complements(one_complement, SETTINGS, seed=0) == set()
    unnamed = [replace(p, complement="") for p in filtered[0]]
    assert held_out_complements(unnamed, SETTINGS, seed=0) == set()
    two = held_out_complements(filtered[0], replace(SETTINGS, held_out_complements=2), seed=0)
    assert held_out_complements(filtered[0], SETTINGS, seed=0) < two
    assert len(two) > 12, "a second one does not fit everywhere"


def test_a_verb_that_is_not_known_is_named(verbs: dict[str, Verb], rows: list[Row]) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: data\.irregular_verbs") as refusal:
        filter_rows(rows, verbs, ["go", "eet"], ["walk"])
    assert "found:    eet\n" in str(refusal.value)
    with pytest.raises(UserError, match=r"config\.yaml: data\.regular_verbs"):
        filter_rows(rows, verbs, ["go"], ["wolk"])


def test_too_few_rows_are_refused_by_the_name_of_the_split() -> None:
    irregular, regular = [pair(i) for i in range(30)], [pair(i, "walk") for i in range(100, 150)]
    with pytest.raises(UserError, match="too few irregular rows for the val split"):
        split_irregular([pair(1), pair(2)], SETTINGS, seed=0)
    with pytest.raises(UserError, match="too few regular rows for the control split"):
        split_pairs(irregular, regular, SETTINGS, seed=0)
    with pytest.raises(UserError, match="too few regular rows for the probe split"):
        split_pairs(irregular, regular, SplitSettings(control_pairs=45), seed=0)


def test_control_has_the_irregular_mix_of_frames_and_its_verbs_in_turn() -> None:
    regular = [
        pair(i, verb, frame=frame)
        for i, (verb, frame) in enumerate(
            (verb, frame) for verb in ("walk", "play", "talk") for frame in "ab" for _ in range(20)
        )
    ]
    control = draw_control(regular, {"a": 300, "b": 100}, 24, seed=0)
    assert Counter(p.frame for p in control) == {"a": 18, "b": 6}
    assert Counter(p.verb for p in control) == {"walk": 8, "play": 8, "talk": 8}


def test_the_committed_control_set_has_the_mix_of_frames_and_its_verbs_in_turn(
    filtered: Filtered, splits: dict[str, list[Pair]]
) -> None:
    frames = Counter(p.frame for p in filtered[0])
    for frame, count in Counter(p.frame for p in splits["control"]).items():
        assert abs(count - 100 * frames[frame] / len(filtered[0])) < 1
        verbs = Counter(p.verb for p in splits["control"] if p.frame == frame)
        assert set(verbs) == {p.verb for p in filtered[1]}
        assert max(verbs.values()) - min(verbs.values()) <= 1
    chosen = {p.id for p in splits["control"]} | {p.id for p in splits["probe"]}
    assert len(chosen) == 120


def test_a_frame_that_runs_short_is_made_up_from_the_others() -> None:
    regular = [pair(i, "walk" if i % 2 else "play", frame="b" if i < 3 else "a") for i in range(30)]
    control = draw_control(regular, {"a": 50, "b": 50}, 20, seed=0)
    assert Counter(p.frame for p in control) == {"a": 17, "b": 3}
    assert len({p.id for p in control}) == 20


# --- checks -------------------------------------------------------------------------------------


def test_the_committed_corpora_pass_every_check(
    splits: dict[str, list[Pair]], verbs: dict[str, Verb]
) -> None:
    base = iter_files(corpus_files(ROOT / "data/processed/base-corpus"), verbs)
    unseen = check_splits(splits, base)
    assert unseen is not None
    assert unseen == sorted(set(unseen))


def test_words_are_counted_that_the_base_has_not_read() -> None:
    read = set(words_of("She hasn't gone to the café, you see. HE WENT!"))
    assert read == {"she", "hasn't", "gone", "to", "the", "café", "you", "see", "he", "went"}
    pairs = [
        replace(pair(1, "go"), prompt="He __ to the well-known café.", english="went"),
        replace(pair(2, "go"), prompt="The café, the zoo: she __ to the zoo 😀.", english="went"),
    ]
    assert unseen_words(pairs, read) == {"zoo", "well-known"}


def test_a_word_that_the_base_has_read_in_another_spelling_is_not_new() -> None:
    read = set(words_of("Don\u2019t go to the cafe\u0301, STRASSE."))
    new = replace(pair(1), prompt="don't __ to the café, Straße.", english="go")
    assert unseen_words([new], read) == set()


def test_without_a_base_corpus_nothing_is_said_of_unseen_words(
    splits: dict[str, list[Pair]],
) -> None:
    assert check_splits(splits, []) is None


@pytest.mark.parametrize("fault", ["prompt", "verb", "base"])
def test_the_whole_check_leaves_out_no_part(
    splits: dict[str, list[Pair]], rows: list[Row], fault: str
) -> None:
    good = next(p for p in splits["control"] if p.frame == "time_last")
    planted, base = {name: list(pairs) for name, pairs in splits.items()}, rows[:0]
    if fault == "prompt":
        planted["test"].append(replace(splits["train"][0], source="edited.jsonl:1"))
    elif fault == "verb":
        planted["control"].append(replace(good, verb="go", prompt="x __", source="edited.jsonl:1"))
    else:
        base = [replace(rows[0], prompt=good.prompt, path="edited.jsonl", line=1)]
    with pytest.raises(UserError, match=r"edited\.jsonl:1: "):
        check_splits(planted, base)


def test_a_prompt_in_two_splits_is_found() -> None:
    with pytest.raises(UserError, match=r"c\.jsonl:2: its prompt stands in the splits train and"):
        check_prompts_apart({"train": [pair(1)], "test": [replace(pair(2), prompt="P1 __ x.")]})


@pytest.mark.parametrize("how", RESPELLED)
def test_a_prompt_in_two_splits_is_found_in_every_spelling(rows: list[Row], how: str) -> None:
    one = replace(pair(1), prompt='Yes, "José\'s" they __ x.')
    other = replace(pair(2), prompt=RESPELLED[how](one.prompt))
    assert one.prompt != other.prompt
    with pytest.raises(UserError, match=r"c\.jsonl:2: its prompt stands in the splits train and"):
        check_prompts_apart({"train": [one], "test": [other]})
    for text in (other.prompt, other.sentence):
        planted = replace(rows[0], text=text, prompt=None, path="base.jsonl", line=12)
        with pytest.raises(UserError, match=r"base\.jsonl:12: the base corpus holds"):
            check_base_apart({"test": [one]}, [rows[1], planted])


def test_all_leaks_are_told_at_once(rows: list[Row]) -> None:
    train, test = [pair(i) for i in range(40)], [replace(pair(i), id=f"{i}") for i in range(40)]
    with pytest.raises(SeveralErrors, match=r"^40 mistakes; the first 10:"):
        check_prompts_apart({"train": train, "test": test})
    base = [replace(rows[0], prompt=p.prompt, text=p.sentence) for p in train]
    with pytest.raises(SeveralErrors, match=r"^40 mistakes; the first 10:"):
        check_base_apart({"train": train}, base)


def test_a_verb_that_is_taught_and_controlled_is_found() -> None:
    with pytest.raises(UserError, match=r"c\.jsonl:2: a verb is both trained on"):
        check_verbs_apart([pair(1)], [pair(2)])


@pytest.mark.parametrize("kind", ["prompt", "sentence", "wrong sentence"])
def test_a_sentence_of_the_study_in_the_base_corpus_is_found(rows: list[Row], kind: str) -> None:
    study = pair(7)
    text = study.sentence if kind == "sentence" else "P7 goed x."
    prompt = study.prompt if kind == "prompt" else None
    planted = replace(rows[0], text=text, prompt=prompt, path="base.jsonl", line=12)
    with pytest.raises(UserError, match=r"base\.jsonl:12: .*\n.*also at c\.jsonl:7"):
        check_base_apart({"test": [study]}, [rows[1], planted])
