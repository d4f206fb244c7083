"""Filter: which rows become pairs, and which pairs are duplicates."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from handmade import RESPELLED, pair
from project import ROOT

from minituner.data.corpus import corpus_files
from minituner.data.filter import (
    Filtered,
    filter_corpus,
    filter_rows,
    pair_of_row,
    without_duplicates,
)
from minituner.data.rows import Row
from minituner.data.verbs import Verb
from minituner.errors import UserError


def test_filter_keeps_past_forms_of_the_studys_verbs(
    rows: list[Row], filtered: Filtered, names: tuple[list[str], list[str]]
) -> None:
    irregular, regular, summary = filtered
    assert {p.group for p in irregular} == set(names[0])
    assert {p.group for p in regular} == set(names[1])
    assert {p.form for p in irregular + regular} == {"past_simple", "past_participle"}
    kept, dropped = sum(summary["kept"].values()), sum(summary["dropped"].values())
    assert kept + dropped == len(rows)
    assert summary["dropped"]["tense present"] == summary["dropped"]["tense future"] == 30


def test_both_rows_of_a_correction_make_one_pair(
    rows: list[Row], filtered: Filtered, verbs: dict[str, Verb]
) -> None:
    wrong = [row for row in rows if row.label == "mis_conjugated"]
    assert len(wrong) == 24
    by_prompt = Counter(p.prompt for p in filtered.irregular)
    for row in wrong:
        made = pair_of_row(row, verbs)
        assert made.correct == row.correct_form != row.written == made.wrong[0]
        assert row.prompt is not None
        assert by_prompt[row.prompt] == 1
    assert filtered.summary["dropped"]["duplicate irregular"] == 24


def test_filter_counts_what_it_drops_by_reason(rows: list[Row], verbs: dict[str, Verb]) -> None:
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
    assert [(p.correct, p.after) for p in irregular] == [("went", f" / {right.target_spanish}")]
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


@pytest.mark.parametrize("how", RESPELLED)
def test_respelled_rows_are_duplicates(
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


def test_without_duplicates_keeps_the_plainest() -> None:
    plain = replace(pair(1), prompt="Then they __ late.", after=" / estuvieron")
    others = [
        replace(plain, id="a", after="", prompt="Then they __ late."),
        replace(plain, id="b", after=" / ESTUVIERON"),
        replace(plain, id="c", prompt="THEN THEY __ LATE."),
        replace(plain, id="d", prompt="Then\tthey __ late."),
        replace(plain, id="e", prompt="then they __ late."),
        replace(plain, id="f", prompt="Then they__late ."),
        replace(plain, id="g", after=" / estuve"),
    ]
    others[-1] = replace(others[-1], prompt="Then they __ late .")
    for seed in range(20):
        given = [plain, *others]
        random.Random(seed).shuffle(given)
        assert without_duplicates(given) == [plain]
    different = [plain, replace(plain, correct="gone"), replace(plain, prompt="They __ late.")]
    assert without_duplicates(different) == different


def test_filter_ignores_row_order_and_other_tenses(
    rows: list[Row], filtered: Filtered, verbs: dict[str, Verb], names: tuple[list[str], list[str]]
) -> None:
    shuffled = [row for row in rows if row.tense != "present"]
    random.Random(1).shuffle(shuffled)
    assert filter_rows(shuffled, verbs, *names)[:2] == filtered[:2]


def test_filter_ignores_comment_fields(
    tmp_path: Path, filtered: Filtered, names: tuple[list[str], list[str]]
) -> None:
    study = corpus_files(ROOT / "data/processed/verb-corpus")
    copies = [tmp_path / Path(file).name for file in study]
    for file, copy in zip(study, copies, strict=True):
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        copy.write_text("\n".join(json.dumps({"note": "x", **json.loads(x)}) for x in lines))
    again = filter_corpus(copies, ROOT / "data/raw/verbs.yaml", *names)
    assert [replace(p, source="") for p in again[0]] == [
        replace(p, source="") for p in filtered.irregular
    ]


def test_unknown_verbs_are_reported_together(rows: list[Row], verbs: dict[str, Verb]) -> None:
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


def test_an_unknown_verb_is_named_by_its_config_key(
    verbs: dict[str, Verb], rows: list[Row]
) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: data\.irregular_verbs") as refusal:
        filter_rows(rows, verbs, ["go", "eet"], ["walk"])
    assert "found:    eet\n" in str(refusal.value)
    with pytest.raises(UserError, match=r"config\.yaml: data\.regular_verbs"):
        filter_rows(rows, verbs, ["go"], ["wolk"])
