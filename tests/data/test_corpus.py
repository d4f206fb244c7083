"""The verbs' forms against outside sources, the corpora's promises, and every bad row's message."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml
from lemminflect import getInflection
from project import ROOT

from minituner.data import generate
from minituner.data.corpus import Row, corpus_files, iter_files, read_rows
from minituner.data.verbs import PAST_TENSES, PERSONS, TENSES, Verb, load_verbs
from minituner.errors import UserError

RAW = ROOT / "data" / "raw"
PROCESSED = ROOT / "data" / "processed"

# Written by hand, apart from verbs.yaml: preterite 1sg, 2sg, 3sg, and the participle.
SPANISH = {
    "be": ("estuve", "estuviste", "estuvo", "estado"),
    "have": ("tuve", "tuviste", "tuvo", "tenido"),
    "do": ("hice", "hiciste", "hizo", "hecho"),
    "go": ("fui", "fuiste", "fue", "ido"),
    "come": ("vine", "viniste", "vino", "venido"),
    "see": ("vi", "viste", "vio", "visto"),
    "eat": ("comí", "comiste", "comió", "comido"),
    "write": ("escribí", "escribiste", "escribió", "escrito"),
    "work": ("trabajé", "trabajaste", "trabajó", "trabajado"),
    "play": ("jugué", "jugaste", "jugó", "jugado"),
    "walk": ("caminé", "caminaste", "caminó", "caminado"),
    "talk": ("hablé", "hablaste", "habló", "hablado"),
    "listen": ("escuché", "escuchaste", "escuchó", "escuchado"),
    "watch": ("miré", "miraste", "miró", "mirado"),
    "study": ("estudié", "estudiaste", "estudió", "estudiado"),
    "finish": ("terminé", "terminaste", "terminó", "terminado"),
    "start": ("empecé", "empezaste", "empezó", "empezado"),
    "look": ("miré", "miraste", "miró", "mirado"),
    "want": ("quise", "quisiste", "quiso", "querido"),
    "like": ("me gustó", "te gustó", "le gustó", "gustado"),
}
# The other half of each minimal pair: regular for the irregular verbs, and the reverse.
WRONG_FORMS = {
    "be": "beed",
    "have": "haved",
    "do": "doed",
    "go": "goed",
    "come": "comed",
    "see": "seed",
    "eat": "eated",
    "write": "writed",
    "work": "worken",
    "play": "playen",
    "walk": "walken",
    "talk": "talken",
    "listen": "listenen",
    "watch": "watchen",
    "study": "studyen",
    "finish": "finishen",
    "start": "starten",
    "look": "looken",
    "want": "wanten",
    "like": "liken",
}
IRREGULAR = ("be", "have", "do", "go", "come", "see", "eat", "write")


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


# --- verbs -----------------------------------------------------------------------------------


def test_verbs_are_the_twenty_of_the_study(verbs: dict[str, Verb]) -> None:
    assert set(verbs) == set(SPANISH)
    assert tuple(lemma for lemma, verb in verbs.items() if verb.irregular) == IRREGULAR


@pytest.mark.parametrize("lemma", [lemma for lemma in SPANISH if lemma != "be"])
def test_english_forms_are_those_of_lemminflect(verbs: dict[str, Verb], lemma: str) -> None:
    verb = verbs[lemma]
    for person in PERSONS:
        assert verb.english("past_simple", person) in getInflection(lemma, "VBD")
        assert verb.english("past_participle", person) in getInflection(lemma, "VBN")
        present = getInflection(lemma, "VBZ") if person == "3sg" else (lemma,)
        assert verb.english("present", person) in present
        assert verb.english("future", person) == lemma
    right = {*getInflection(lemma, "VBD"), *getInflection(lemma, "VBN")}
    assert not right & {verb.wrong(tense) for tense in PAST_TENSES}


def test_be_changes_with_the_person(verbs: dict[str, Verb]) -> None:
    be = verbs["be"]
    assert [be.english("past_simple", p) for p in PERSONS] == ["was", "were", "was", "were", "were"]
    assert [be.english("present", p) for p in PERSONS] == ["am", "are", "is", "are", "are"]
    assert be.english("past_participle", "1sg") in getInflection("be", "VBN")


def test_wrong_forms(verbs: dict[str, Verb]) -> None:
    wrongs = {lemma: [verb.wrong(tense) for tense in PAST_TENSES] for lemma, verb in verbs.items()}
    assert wrongs == {lemma: [wrong, wrong] for lemma, wrong in WRONG_FORMS.items()}
    with pytest.raises(ValueError, match="no wrong form"):
        verbs["go"].wrong("present")


@pytest.mark.parametrize("lemma", SPANISH)
def test_spanish_forms_are_right(verbs: dict[str, Verb], lemma: str) -> None:
    *preterite, participle = SPANISH[lemma]
    verb = verbs[lemma]
    assert [verb.spanish("past_simple", p) for p in ("1sg", "2sg", "3sg")] == preterite
    assert verb.spanish("past_participle", "1sg") == participle


def test_spanish_compound_and_turned_round_forms(verbs: dict[str, Verb]) -> None:
    assert verbs["go"].spanish_phrase("past_participle", "1pl") == "hemos ido"
    assert verbs["want"].spanish_phrase("future", "3pl") == "querrán"
    assert verbs["like"].spanish_phrase("past_participle", "3pl") == "les ha gustado"
    assert verbs["like"].spanish_phrase("future", "1sg") == "me gustará"
    assert verbs["like"].spanish_phrase("present", "1pl") == "nos gusta"


@pytest.mark.parametrize(
    ("old", "new", "where", "fix"),
    [
        ("    past: went\n", "", "go.english.past", "write go.english.past"),
        ("past: went", "past: 3", "go.english.past", "write go.english.past"),
        ("wrong_past: goed", "wrong_past: went", "go.english.wrong_past", "the wrong form of 'go'"),
        ("past: {1sg: was, ", "past: {", "be.english.past.1sg", "write be.english.past.1sg"),
        ("regularity: irregular", "regularity: odd", "be.english.regularity", "one of those"),
        (
            "go:\n  english:",
            "go:\n  englisch:",
            "go.englisch: unknown key",
            "did you mean 'english'?",
        ),
        ("past: went", "past: 'went", ":", "fix the indentation, quotes"),
        ("past: went", "past: went / x", "go.english.past: is not a verb form", "one form and no"),
        ("past: went", "past: we_nt", "go.english.past: is not a verb form", "one form and no"),
        ("past: went", "past: __", "go.english.past: is not a verb form", "one form and no"),
        ("past: went", "past: went  on", "go.english.past: is not a verb form", "one form and no"),
        ("past: went", "past: we\u200bnt", "go.english.past: is not plain text", "write go.e"),
        ("past: went", f"past: {'w' * 5000}", "go.english.past: is not a verb form", "one form"),
        ("1sg: was, ", "1sg: w/s, ", "be.english.past.1sg: is not a verb form", "one form"),
        ("lemma: ir\n", "lemma: ir / x\n", "go.spanish.lemma: is not a verb form", "one form"),
        ("go:\n", "go/es:\n", "go/es: the lemma is not a word", "one form"),
        ("go:\n", f"? {'g' * 5000}\n:\n", "ggg", "one form"),
        (
            "wrong_past: goed",
            "wrong_past: WENT",
            "go.english.wrong_past: is the correct",
            "form of",
        ),
    ],
)
def test_a_bad_verb_is_named_by_file_and_key(
    tmp_path: Path, old: str, new: str, where: str, fix: str
) -> None:
    text = (RAW / "verbs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "verbs.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_verbs(path)
    assert str(caught.value).startswith(f"{path}:")
    assert where in str(caught.value)
    assert fix in str(caught.value)


@pytest.mark.parametrize(
    "form", ["went on", "o'went", "re-went", "wen\u2019t", "fu\u00e9", "fue\u0301"]
)
def test_a_form_is_of_letters_in_any_script_and_what_joins_them(tmp_path: Path, form: str) -> None:
    text = (RAW / "verbs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "verbs.yaml"
    path.write_text(text.replace("past: went", f'past: "{form}"', 1), encoding="utf-8")
    assert load_verbs(path)["go"].past["1sg"] == form


def test_a_section_that_is_not_there_is_looked_up_in_the_repositorys_own_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "vv.yaml").write_text("go:\n")
    with pytest.raises(UserError, match=r"write 'go' as data/raw/verbs\.yaml of the repository"):
        load_verbs(tmp_path / "vv.yaml")


def test_all_mistakes_of_all_verbs_are_told_at_once(tmp_path: Path) -> None:
    text = (RAW / "verbs.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("past: went", "past: no"),  # which YAML reads as false
        ("wrong_past: goed", "wrong_post: goed"),
        ("participle: done", "participle: ' done'"),
        ("wrong_past: comed", "wrong_past: came"),
        ("clitics: {1sg: me,", "clitics: {1pl: me,"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "verbs.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"clitics\.1pl' stands twice"):
        load_verbs(path)

    path.write_text(text.replace("{1pl: me,", "{9sg: me,"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_verbs(path)
    message = str(caught.value)
    assert message.startswith("5 mistakes:\n")
    for key, fix in (
        ("do.english.participle: is not plain text", "write do.english.participle, in quotes"),
        ("go.english.past: has no text", "false (as YAML reads yes, no, on and off)"),
        ("go.english.wrong_post: unknown key", "did you mean 'wrong_past'?"),
        ("come.english.wrong_past: is the correct form", "the wrong form of 'come'"),
        ("like.spanish.clitics.9sg: unknown key", "did you mean '1sg'?"),
    ):
        assert f"{path}: {key}\n" in message
        assert fix in message


@pytest.mark.parametrize("content", [None, b"", b"- go", b"\xff"])
def test_no_verbs(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "verbs.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        load_verbs(path)


# --- the committed corpora -------------------------------------------------------------------


def test_files_follow_from_the_raw_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--raw", str(RAW), "--out", str(tmp_path)]
    assert generate.main(arguments) == 0
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    assert len(made) == 6
    for path, content in made.items():
        assert (PROCESSED / path).read_bytes() == content, f"{path}: run minituner.data.generate"
    assert generate.main([*arguments, "--check"]) == 0
    capsys.readouterr()


def test_an_edited_file_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_with(tmp_path, base_rows=200)
    arguments = ["--raw", str(RAW), "--out", str(tmp_path), "--config", str(config)]
    generate.main(arguments)
    edited, deleted = tmp_path / "verb-corpus/irregular.jsonl", tmp_path / "base-corpus/plain.jsonl"
    edited.write_text("mine\n")
    deleted.unlink()
    capsys.readouterr()

    assert generate.main([*arguments, "--check"]) == 1
    assert capsys.readouterr().err == f"{edited}: differs\n{deleted}: missing\n"

    assert generate.main(arguments) == 1
    error = capsys.readouterr().err
    assert str(edited) in error
    assert "--force" in error
    assert "Traceback" not in error
    assert edited.read_text() == "mine\n"
    assert not deleted.exists(), "nothing may be written when one file is refused"

    assert generate.main([*arguments, "--force"]) == 0
    assert generate.main([*arguments, "--check"]) == 0


def test_more_base_rows_leave_the_study_alone(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seed": 0, "share": 0.5}
    few = generate.build(RAW, tmp_path, base_rows=100, **options)
    many = generate.build(RAW, tmp_path, base_rows=900, **options)
    for path in few:
        assert (few[path] == many[path]) == (path.parent.name == "verb-corpus")


def test_too_many_base_rows_say_what_is_used_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_with(tmp_path, base_rows=60000)
    assert generate.main(["--raw", str(RAW), "--check", "--config", str(config)]) == 1
    assert "lower generate.base_rows" in capsys.readouterr().err


def config_with(folder: Path, base_rows: int) -> Path:
    """A config whose `generate` section asks for so many base rows."""
    path = folder / "config.yaml"
    settings = {"seed": 0, "over_regularized_share": 0.5, "base_rows": base_rows}
    path.write_text(yaml.safe_dump({"generate": settings}))
    return path


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("to school: a la escuela", "by train: en tren", "complements.come"),
        ("to school: a la escuela", "to school:", "complements.go"),
        ("times: perfect_end", "times: sometimes", "frames.perfect_end"),
        ("tense: present", "tense: aorist", "frames.present_last"),
        ("will __ {complement}", "will {complement}", "frames.future_last"),
        ("{have} {time}", "{has} {time}", "frames.perfect_already"),
        ("person: 1sg", "person: 7sg", "subjects"),
        ("english: you, ", "", "subjects"),
        ("english: you, ", "english: 'He ', ", "subjects"),
        ("yesterday: ayer", "yesterday: ayer\n    Yesterday: ayer", "times.past"),
        (
            "to school: a la escuela",
            "to  school: a la escuela\n    to school: a la escuela",
            "complements.go",
        ),
        ("to school: a la escuela", "TO THE PARTY: a la fiesta", "complements.come"),
        ("verbs: [like, want]", "verbs: [like, wont]", "states.verbs"),
        ("\ncomplements:", "\ncomplement:", "complement"),
    ],
)
def test_a_bad_frame_is_named_by_file_and_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, where: str
) -> None:
    (tmp_path / "verbs.yaml").write_bytes((RAW / "verbs.yaml").read_bytes())
    frames = (RAW / "frames.yaml").read_text(encoding="utf-8")
    (tmp_path / "frames.yaml").write_text(frames.replace(old, new, 1), encoding="utf-8")
    assert generate.main(["--raw", str(tmp_path), "--check"]) == 1
    assert f"{tmp_path / 'frames.yaml'}: {where}" in capsys.readouterr().err


def test_all_mistakes_of_the_frames_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "verbs.yaml").write_bytes((RAW / "verbs.yaml").read_bytes())
    frames = (RAW / "frames.yaml").read_text(encoding="utf-8")
    changes = {
        "{english: he, person: 3sg, spanish: null": "{english: no, person: 3, spanish: 7",
        "tense: present": "tense: aorist",
        "{subject} will __": "{subject will __",
        "twice: dos veces": "twice:",
        "\nstates:\n": "\nstates:\n  verb: [be]\n",
    }
    for old, new in changes.items():
        assert old in frames
        frames = frames.replace(old, new, 1)
    (tmp_path / "frames.yaml").write_text(frames, encoding="utf-8")
    assert generate.main(["--raw", str(tmp_path), "--check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("7 mistakes:\n")
    for key in (
        "subjects.2.english: has no text",
        "subjects.2.person: has no text",
        "subjects.2.spanish: has no text",
        "frames.present_last.tense: unknown tense",
        "frames.future_last.english: has a brace that belongs to no slot",
        "times.perfect_end: is not English and Spanish",
        "states.verb: unknown key",
    ):
        assert f"{tmp_path / 'frames.yaml'}: {key}\n" in error


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["config.yaml: generate: is not a mapping"]),
        (
            {"seed": -1, "base_rows": 2.5, "over_regularized_share": "all", "sede": 1},
            [
                "4 mistakes",
                "generate.seed: cannot be used",
                "whole number from 1 on",
                "from 0 to 1",
            ],
        ),
        ({"seed": 0, "base_row": 10, "over_regularized_share": 0.5}, ["mean 'base_rows'?"]),
    ],
)
def test_bad_settings_of_the_generator_are_refused_by_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: object, words: list[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"generate": settings}))
    assert generate.main(["--raw", str(RAW), "--check", "--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


def test_the_corpora_share_no_sentence(
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


def test_prompts_are_distinct_but_for_the_pairs(study: list[Row], base: list[Row]) -> None:
    for rows in (study, base):
        counts = Counter(row.prompt for row in rows if row.is_fill_in and row.is_correct)
        assert max(counts.values()) == 1
    assert max(Counter(row.text for row in base).values()) == 1


def test_a_correction_pair_is_one_sentence_written_twice(study: list[Row]) -> None:
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


def test_other_tenses_hold_every_verb(study: list[Row], verbs: dict[str, Verb]) -> None:
    rows = of_file(study, "other_tenses")
    assert Counter(row.tense for row in rows) == {"present": 30, "future": 30}
    assert {row.verb_lemma for row in rows} == set(verbs)


def test_the_base_over_regularises_the_configured_share(
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
        weak = lemma in IRREGULAR and tense in PAST_TENSES
        assert wrong[lemma, tense] == (round(share * size) if weak else 0)
        assert size == (108 if tense in PAST_TENSES else 42)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_share_is_the_one_asked_for(tmp_path: Path, share: float) -> None:
    files = generate.build(RAW, tmp_path, seed=1, share=share, base_rows=1000)
    rows = [
        json.loads(line)
        for path, data in files.items()
        if path.parent.name == "base-corpus"
        for line in data.splitlines()
    ]
    weak = [r for r in rows if r["verb_lemma"] in IRREGULAR and r["tense"] in PAST_TENSES]
    for lemma in IRREGULAR:
        for tense in PAST_TENSES:
            cell = [r for r in weak if (r["verb_lemma"], r["tense"]) == (lemma, tense)]
            wrong = sum(r["label"] == "mis_conjugated" for r in cell)
            assert wrong == round(share * len(cell))


def test_the_grammar_holds(study: list[Row], base: list[Row], verbs: dict[str, Verb]) -> None:
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


def test_nothing_but_the_verb_is_a_form_of_a_verb(verbs: dict[str, Verb]) -> None:
    grammar = generate.load_grammar(RAW / "frames.yaml", verbs)
    forms = {v.english(tense, p) for v in verbs.values() for tense in TENSES for p in PERSONS}
    forms |= {verb.wrong(tense) for verb in verbs.values() for tense in PAST_TENSES}
    texts = [text for of_verb in grammar.complements.values() for text in of_verb]
    texts += [time for group in grammar.times.values() for time in group]
    texts += [subject.english for subject in grammar.subjects]
    assert not forms & {word for text in texts for word in text.lower().split()}


# --- rows ------------------------------------------------------------------------------------

GOOD: Mapping[str, Any] = {
    "id": "one",
    "text": "He went to school yesterday.",
    "spanish": "Fue a la escuela ayer.",
    "verb_lemma": "go",
    "spanish_lemma": "ir",
    "tense": "past_simple",
    "person": "3sg",
    "english_regularity": "irregular",
    "spanish_regularity": "irregular",
    "label": "correct",
    "mis_conjugation_type": None,
    "correct_form": None,
    "prompt": "He __ to school yesterday.",
    "target": "went / fue",
    "frame": "time_last",
    "complement": "to school",
}
WRONG = {
    **GOOD,
    "text": "He goed to school yesterday.",
    "label": "mis_conjugated",
    "mis_conjugation_type": "over_regularized",
    "correct_form": "went",
}
PLAIN = {**GOOD, "prompt": None, "target": None}


def write_rows(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_a_right_and_a_wrong_row(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    path = write_rows(tmp_path / "rows.jsonl", GOOD, {**WRONG, "id": "two"})
    right, wrong = read_rows([path], verbs)
    assert (right.written, right.correct_english, right.target_spanish) == ("went", "went", "fue")
    assert (wrong.written, wrong.correct_english, wrong.target_spanish) == ("goed", "went", "fue")
    assert (right.is_correct, wrong.is_correct) == (True, False)
    assert wrong.place == f"{path}:2"
    assert right.to_json() == GOOD
    assert list(right.to_json()) == list(GOOD)


def test_a_plain_row_has_no_blank_to_ask_about(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    wrong_plain = {**WRONG, "id": "two", "prompt": None, "target": None}
    path = write_rows(tmp_path / "rows.jsonl", PLAIN, wrong_plain)
    right, wrong = read_rows([path], verbs)
    assert not right.is_fill_in
    with pytest.raises(ValueError, match="plain row"):
        _ = right.written
    with pytest.raises(ValueError, match="plain row"):
        _ = right.correct_english
    assert wrong.correct_english == "went"


def test_what_a_user_may_leave_out_or_add(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    optional = ("spanish", "spanish_lemma", "spanish_regularity", "frame", "complement")
    row = {key: value for key, value in GOOD.items() if key not in optional}
    row |= {"target": "went", "comment": ["anything"]}
    path = tmp_path / "rows.jsonl"
    # A byte-order mark, Windows line ends, a blank line and no last line end: all from editors.
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(row).encode() + b"\r\n\r\n")
    (read,) = iter_files([path], verbs)
    assert read.target_spanish is None
    assert read.spanish is None
    assert read.line == 2


def without(field: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if key != field}


def as_line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row).encode()


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        (b'{"id": "one",', "is not JSON", "quotes, commas and braces"),
        (b"[" * 100_000, "is not JSON", "quotes, commas and braces"),
        (b"[1]", "is not a row", "one JSON object on the line"),
        (as_line(GOOD).replace(b"Fue", b"F\xfae"), "is not UTF-8", "save it as UTF-8"),
        (as_line({**GOOD, "spanish": "\ud83d."}), "half a character", "instead of its escape"),
        (as_line(without("tense")), "'tense' is missing", "add 'tense'"),
        (as_line(without("prompt", promt="__")), "'prompt' is missing", "rename 'promt'"),
        (as_line({**GOOD, "person": 3}), "'person' is not text", "write 'person' as"),
        (as_line({**GOOD, "text": " "}), "'text' is not text", "write 'text' as"),
        (as_line({**GOOD, "id": "a\rb"}), "'id' has a carriage return (U+000D)", "write a space"),
        (as_line({**GOOD, "spanish": "Va.\nFue."}), "a line feed (U+000A)", "make two rows"),
        (as_line({**GOOD, "prompt": "He\0 __."}), "a NUL (U+0000)", "write a space"),
        (as_line({**GOOD, "frame": "\x85"}), "'frame' is not text", "write 'frame' as"),
        (as_line({**GOOD, "frame": "a\x85"}), "a next-line character (U+0085)", "write a space"),
        (as_line({**GOOD, "complement": "a\u2028b"}), "a line separator (U+2028)", "a space"),
        (as_line({**GOOD, "text": "He went\x07."}), "a control character (U+0007)", "a space"),
        (as_line({**GOOD, "id": None}), "'id' is not text", "write 'id' as"),
        (as_line({**GOOD, "frame": ["x"]}), "'frame' is not text", "string or null"),
        (as_line({**GOOD, "verb_lemma": "goo"}), "unknown verb_lemma", "did you mean 'go'?"),
        (as_line({**GOOD, "verb_lemma": "zzz"}), "unknown verb_lemma", "write one of those"),
        (as_line({**GOOD, "tense": "past_simpel"}), "unknown tense", "did you mean 'past_simple'?"),
        (as_line({**GOOD, "person": "2pl"}), "unknown person", "did you mean"),
        (as_line({**GOOD, "label": "corect"}), "unknown label", "did you mean 'correct'?"),
        (
            as_line({**GOOD, "english_regularity": "regular"}),
            "english_regularity is not this verb's",
            "write 'irregular'",
        ),
        (as_line({**GOOD, "prompt": "He went."}), "has no blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He _ home."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "__ he __."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ____."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "He ___."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "prompt": "_ he _."}), "not exactly one blank", "write __ where"),
        (as_line({**GOOD, "target": "goed / fue"}), "is the wrong form", "begin the target with"),
        (as_line({**WRONG, "target": "goed / fue"}), "is the wrong form", "begin the target with"),
        (as_line({**GOOD, "target": "gone / ido"}), "not this verb's form", "correct verb_lemma"),
        (as_line({**GOOD, "target": "went/fue"}), "not this verb's form", "begin the target"),
        (as_line({**GOOD, "target": "went /  "}), "slash and no Spanish", "leave out the slash"),
        (as_line({**GOOD, "target": None}), "a prompt without a target", 'write "target"'),
        (as_line({**GOOD, "prompt": None}), "a target without a prompt", 'write "prompt"'),
        (as_line({**GOOD, "text": "He left."}), "is not the prompt with 'went'", "same sentence"),
        (
            as_line(GOOD) + b"\r" + as_line(GOOD | {"id": "b"}) + b"\r",
            "has carriage returns for line ends",
            "save the file with line feeds",
        ),
        (as_line({**WRONG, "text": GOOD["text"]}), "is not the prompt with 'goed'", "the label"),
        (as_line({**PLAIN, "text": "He left."}), "has no 'went' in it", "fix the text"),
        (as_line({**WRONG, "correct_form": None}), "without its correct_form", '"went"'),
        (as_line({**WRONG, "correct_form": "gone"}), "another correct_form", '"went"'),
        (
            as_line({**WRONG, "mis_conjugation_type": None}),
            "without its mis_conjugation_type",
            '"over_regularized"',
        ),
        (as_line({**GOOD, "correct_form": "went"}), "a correct row with a correct_form", "to null"),
        (as_line({**WRONG, "tense": "present"}), "cannot be over-regularized", 'set "label"'),
        (as_line({**GOOD, "id": "first"}), "duplicate id", "another id"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(
    tmp_path: Path, verbs: dict[str, Verb], line: bytes, what: str, fix: str
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_line({**GOOD, "id": "first"}) + b"\n" + line + b"\n")
    with pytest.raises(UserError) as caught:
        read_rows([path], verbs)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    first, found, expected, to_fix = message.split("\n")
    assert what in first
    assert fix in to_fix
    assert found.startswith("  found:") and expected.startswith("  expected:")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (as_line(GOOD)[:-1] + b', "text": "He left."}', ["'text' stands twice", "He left."]),
        (as_line(GOOD)[:-1] + b', "person": "3sg"}', ["'person' stands twice"]),
        (as_line(GOOD)[:-1] + b', "notes": {"a": 1, "a": 2}}', ["'a' stands twice"]),
    ],
)
def test_a_field_that_stands_twice_is_refused(
    tmp_path: Path, verbs: dict[str, Verb], line: bytes, words: list[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UserError) as caught:
        read_rows([path], verbs)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert all(word in str(caught.value) for word in words)


def test_a_difference_that_no_reader_sees_is_named(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(as_line({**GOOD, "text": GOOD["text"].replace(" ", "\u00a0", 1)}))
    with pytest.raises(UserError, match="is not the prompt with 'went'") as refusal:
        read_rows([path], verbs)
    assert "with NO-BREAK SPACE (U+00A0) as character 3\n" in str(refusal.value)
    assert "with SPACE (U+0020) as character 3\n" in str(refusal.value)


def test_a_colon_in_a_text_is_not_a_field(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    row = {**GOOD, "complement": "to school: on time", "notes": {"source": "a: b"}}
    (read,) = read_rows([write_rows(tmp_path / "rows.jsonl", row)], verbs)
    assert read.complement == "to school: on time"


def test_the_mistakes_of_all_rows_and_files_are_told_at_once(
    tmp_path: Path, verbs: dict[str, Verb]
) -> None:
    bad = {**GOOD, "tense": "aorist"}
    one = write_rows(tmp_path / "one.jsonl", GOOD, *({**bad, "id": f"b{i}"} for i in range(30)))
    two = write_rows(tmp_path / "two.jsonl", {**GOOD, "id": "last"}, GOOD)
    none = tmp_path / "none.jsonl"
    windows = tmp_path / "windows.jsonl"
    windows.write_bytes(json.dumps(GOOD).replace("Fue", "Fu\u00e9").encode("cp1252") + b"\n{}\n")
    came: list[Row] = []
    with pytest.raises(UserError) as caught:
        came.extend(iter_files([one, two, none, windows], verbs))
    message = str(caught.value)
    # 30 tenses, one id, one file that is not there, and one in another encoding.
    assert message.startswith("33 mistakes; the first 10:\n")
    assert message.count("unknown tense") == 10
    with pytest.raises(UserError, match="3 mistakes:") as caught:
        read_rows([write_rows(one, GOOD), two, none, windows], verbs)
    for words in (f"{two}:2: duplicate id", f"{none}: cannot be", f"{windows}:1: is not UTF-8"):
        assert words in str(caught.value)


def test_an_id_stands_once_in_all_files(tmp_path: Path, verbs: dict[str, Verb]) -> None:
    paths = [write_rows(tmp_path / name, GOOD) for name in ("a.jsonl", "b.jsonl")]
    with pytest.raises(UserError) as caught:
        read_rows(paths, verbs)
    assert str(caught.value).startswith(f"{paths[1]}:1: duplicate id")
    assert f"{paths[0]}:1" in str(caught.value)


@pytest.mark.parametrize(
    ("prepare", "what"),
    [
        (lambda path: path.write_bytes(b""), "holds no rows"),
        (lambda path: path.write_bytes(b"\xef\xbb\xbf\n \n"), "holds no rows"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda _: None, "cannot be read"),
    ],
)
def test_a_file_without_rows(
    tmp_path: Path, verbs: dict[str, Verb], prepare: Callable[[Path], Any], what: str
) -> None:
    path = tmp_path / "rows.jsonl"
    prepare(path)
    with pytest.raises(UserError, match=what) as caught:
        read_rows([path], verbs)
    assert caught.value.where == str(path)


def test_files_that_begin_with_a_dot_are_no_corpus(tmp_path: Path) -> None:
    """What macOS, editors and a killed writer leave beside a file; their folder may be hidden."""
    folder = tmp_path / ".mine"
    folder.mkdir()
    for name in ("._a.jsonl", ".a.jsonl", ".~a.jsonl", ".a.jsonl.partial", "a.jsonl~", "#a.jsonl#"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / ".#a.jsonl").symlink_to("someone@their-machine")
    with pytest.raises(UserError, match="only files whose name begins with a dot"):
        corpus_files(folder)
    (folder / "a.jsonl").write_text("{}\n")
    assert corpus_files(folder) == [str(folder / "a.jsonl")]


def test_corpus_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.JSONL", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.jsonl").mkdir()
    assert corpus_files(tmp_path) == [str(tmp_path / "a.JSONL"), str(tmp_path / "b.jsonl")]
    for folder in (tmp_path / "c.jsonl", tmp_path / "none"):
        with pytest.raises(UserError, match="holds no corpus"):
            corpus_files(folder)
