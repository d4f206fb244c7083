"""The generated corpora: the same bytes, balanced, without common sentences, and grammatical."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean

import pytest
import yaml
from project import ROOT

from minituner.data.corpus import corpus_files, read_rows
from minituner.data.generate import (
    SETTINGS_SCHEMA,
    GeneratorSettings,
    build,
    read_settings,
    write_corpora,
)
from minituner.data.rows import Row
from minituner.data.verbs import PAST_TENSES, TENSES, Verb, load_verbs
from minituner.errors import UserError
from minituner.storage.strict_yaml import read_yaml

RAW = ROOT / "data" / "raw"
PROCESSED = ROOT / "data" / "processed"


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(RAW / "verbs.yaml")


@pytest.fixture(scope="module")
def study(verbs: dict[str, Verb]) -> list[Row]:
    return read_rows(corpus_files(PROCESSED / "verb-corpus"), verbs)


@pytest.fixture(scope="module")
def base(verbs: dict[str, Verb]) -> list[Row]:
    return read_rows(corpus_files(PROCESSED / "base-corpus"), verbs)


def of_file(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if Path(row.path).stem == name]


SETTINGS = GeneratorSettings(seed=0, base_rows=200, over_regularized_share=0.5)


def config_with(folder: Path, settings: object) -> Path:
    """A config with these settings as its section ``generate``."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"generate": settings}))
    return path


def test_write_corpora_makes_the_committed_files(tmp_path: Path) -> None:
    assert write_corpora(raw=RAW, out=tmp_path, config=ROOT / "config.yaml") == 0
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert len(made) == 6
    for path, content in made.items():
        assert (PROCESSED / path).read_bytes() == content, f"{path}: make corpus"
    assert write_corpora(raw=RAW, out=tmp_path, config=ROOT / "config.yaml", check=True) == 0


def test_write_corpora_keeps_an_edited_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_with(tmp_path, asdict(SETTINGS))
    write = partial(write_corpora, raw=RAW, out=tmp_path, config=config)
    write()
    assert capsys.readouterr().out.count("rows, written\n") == 6
    edited, deleted = tmp_path / "verb-corpus/irregular.jsonl", tmp_path / "base-corpus/plain.jsonl"
    edited.write_text("mine\n")
    deleted.unlink()

    assert write(check=True) == 1
    assert capsys.readouterr().err == f"{edited}: differs\n{deleted}: missing\n"

    with pytest.raises(UserError, match="--force") as refusal:
        write()
    assert str(edited) in str(refusal.value)
    assert edited.read_text() == "mine\n"
    assert not deleted.exists(), "nothing may be written when one file is refused"

    assert write(force=True) == 0
    assert capsys.readouterr().out.count("rows, unchanged\n") == 4
    assert write(check=True) == 0


def test_more_base_rows_do_not_change_the_study(tmp_path: Path) -> None:
    few, many = (build(RAW, tmp_path, replace(SETTINGS, base_rows=rows)) for rows in (100, 900))
    for path in few:
        assert (few[path] == many[path]) == (path.parent.name == "verb-corpus")


def test_too_many_base_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lower generate\.base_rows"):
        build(RAW, tmp_path, replace(SETTINGS, base_rows=60000))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["config.yaml: generate: has no keys", "seed, base_rows, over_regularized_share"]),
        (None, ["config.yaml: generate: has no keys"]),
        (
            {"seed": -1, "base_rows": 2.5, "over_regularized_share": "all", "sede": 1},
            [
                "4 mistakes",
                "generate.seed: the value cannot be used",
                "expected: at least 0",
                "expected: a whole number",
                "expected: a number",
            ],
        ),
        ({"seed": 0, "base_row": 10, "over_regularized_share": 0.5}, ["mean 'base_rows'?"]),
        ({"seed": 0, "base_rows": 0, "over_regularized_share": 0.5}, ["expected: at least 1"]),
        ({"seed": 0, "base_rows": 9, "over_regularized_share": 1.5}, ["expected: at most 1"]),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, settings: object, words: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        read_settings(config_with(tmp_path, settings))
    assert all(word in str(refusal.value) for word in words), refusal.value


def test_missing_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seeds: [0]\n")
    with pytest.raises(UserError, match=r"config\.yaml: generate: the key is missing"):
        read_settings(path)


def test_settings_schema_is_that_of_the_config() -> None:
    schema = read_yaml(ROOT / "rules/config.schema.yaml")
    section = schema["properties"]["generate"]
    for key, rule in section["properties"].items():
        if "$ref" in rule:
            section["properties"][key] = schema["$defs"][rule["$ref"].removeprefix("#/$defs/")]
    assert SETTINGS_SCHEMA["properties"] == {"generate": section}


def test_corpora_share_no_sentence(
    study: list[Row], base: list[Row], verbs: dict[str, Verb]
) -> None:
    def sentence(row: Row) -> tuple[str, ...]:
        """Its words with the right form among them, whatever their order."""
        text = row.text
        if not row.is_correct:
            text = text.replace(verbs[row.verb_lemma].wrong(row.tense), row.correct_english)
        return tuple(sorted(text.lower().rstrip(".").split()))

    assert not {row.prompt for row in study} & {row.prompt for row in base}
    assert not {row.text for row in study} & {row.text for row in base}
    # "He went to school yesterday." and "Yesterday he goed to school." are one sentence.
    assert not {sentence(row) for row in study} & {sentence(row) for row in base}


def test_prompts_are_distinct_except_in_correction_pairs(study: list[Row], base: list[Row]) -> None:
    for rows in (study, base):
        counts = Counter(row.prompt for row in rows if row.is_fill_in and row.is_correct)
        assert max(counts.values()) == 1
    assert max(Counter(row.text for row in base).values()) == 1


def test_correction_pairs(study: list[Row]) -> None:
    rows = of_file(study, "corrections")
    assert len(rows) == 48
    for wrong, right in zip(rows[::2], rows[1::2], strict=True):
        assert (wrong.label, right.label) == ("mis_conjugated", "correct")
        assert (wrong.prompt, wrong.target) == (right.prompt, right.target)
        assert wrong.correct_english == right.correct_english == right.written != wrong.written
        assert wrong.spanish == right.spanish


@pytest.mark.parametrize(("name", "total"), [("irregular", 500), ("regular", 160)])
def test_study_rows_are_balanced(study: list[Row], name: str, total: int) -> None:
    rows = of_file(study, name)
    assert len(rows) == total
    assert all(row.is_correct and row.english_regularity == name for row in rows)
    cells = Counter((row.verb_lemma, row.tense) for row in rows)
    assert len(cells) == 2 * len({row.verb_lemma for row in rows})
    assert max(cells.values()) - min(cells.values()) <= 1
    frames = Counter(row.frame for row in rows)
    assert frames == dict.fromkeys(
        ("time_last", "time_first", "perfect_already", "perfect_end"), total // 4
    )


def test_regular_prompts_are_as_long_as_irregular_ones(study: list[Row]) -> None:
    def words(name: str) -> float:
        return mean(len(str(row.prompt).split()) for row in of_file(study, name))

    assert words("regular") == pytest.approx(words("irregular"), abs=0.2)


def test_other_tenses_have_every_verb(study: list[Row], verbs: dict[str, Verb]) -> None:
    rows = of_file(study, "other_tenses")
    assert Counter(row.tense for row in rows) == {"present": 30, "future": 30}
    assert {row.verb_lemma for row in rows} == set(verbs)


def test_base_over_regularizes_the_configured_share(
    base: list[Row], verbs: dict[str, Verb]
) -> None:
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())["generate"]
    share = settings["over_regularized_share"]
    assert len(base) == settings["base_rows"]
    assert sum(row.is_fill_in for row in base) == 3000
    sizes = Counter((row.verb_lemma, row.tense) for row in base)
    assert set(sizes) == {(lemma, tense) for lemma in verbs for tense in TENSES}
    wrong = Counter((row.verb_lemma, row.tense) for row in base if not row.is_correct)
    for (lemma, tense), size in sizes.items():
        weak = verbs[lemma].irregular and tense in PAST_TENSES
        assert wrong[lemma, tense] == (round(share * size) if weak else 0)
        assert size == (108 if tense in PAST_TENSES else 42)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_over_regularized_share_is_exact(
    tmp_path: Path, verbs: dict[str, Verb], share: float
) -> None:
    files = build(RAW, tmp_path, GeneratorSettings(1, 1000, share))
    rows = [
        json.loads(line)
        for path, data in files.items()
        if path.parent.name == "base-corpus"
        for line in data.splitlines()
    ]
    irregular = [lemma for lemma, verb in verbs.items() if verb.irregular]
    weak = [r for r in rows if r["verb_lemma"] in irregular and r["tense"] in PAST_TENSES]
    for lemma in irregular:
        for tense in PAST_TENSES:
            cell = [r for r in weak if (r["verb_lemma"], r["tense"]) == (lemma, tense)]
            wrong = sum(r["label"] == "mis_conjugated" for r in cell)
            assert wrong == round(share * len(cell))


def test_sentences_are_grammatical(
    study: list[Row], base: list[Row], verbs: dict[str, Verb]
) -> None:
    for row in study + base:
        words = row.text.rstrip(".").split()
        assert row.text[0].isupper() and row.text.endswith("."), row.place
        assert row.spanish and row.spanish[0].isupper() and row.spanish.endswith("."), row.place
        assert "  " not in row.text + row.spanish and "None" not in row.text + row.spanish
        assert not {"i", "maria", "ana"} & set(words), row.place
        subject = re.search(r"\b(I|[Yy]ou|[Hh]e|[Ss]he|[Ww]e|[Tt]hey)\b", row.text)
        if subject and "Ana and I" not in row.text:
            person = {"i": "1sg", "you": "2sg", "we": "1pl", "they": "3pl"}
            assert row.person == person.get(subject[0].lower(), "3sg"), row.place
        if row.tense == "past_participle":
            assert ("has" if row.person == "3sg" else "have") in words, row.place
            phrase = verbs[row.verb_lemma].spanish_phrase(row.tense, row.person)
            assert phrase in row.spanish.lower(), row.place
        if row.tense == "future":
            assert words[words.index("will") + 1] == row.verb_lemma, row.place
        if row.verb_lemma == "be" and row.tense == "past_simple" and row.is_correct:
            assert ("was" if row.person in ("1sg", "3sg") else "were") in words, row.place
