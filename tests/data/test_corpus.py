"""The verbs' forms against outside sources, the corpora's promises, and every bad row's message."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml
from handmade import GOOD, write_rows
from lemminflect import getInflection
from project import ROOT

from minituner.data import generate
from minituner.data.corpus import corpus_files, iter_rows, read_rows
from minituner.data.rows import Row
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


# --- files ---


def test_mistakes_of_all_files_are_reported_together(
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
        came.extend(iter_rows([one, two, none, windows], verbs))
    message = str(caught.value)
    # 30 tenses, one id, one file that is not there, and one in another encoding.
    assert message.startswith("33 mistakes; the first 10:\n")
    assert message.count("unknown tense") == 10
    with pytest.raises(UserError, match="3 mistakes:") as caught:
        read_rows([write_rows(one, GOOD), two, none, windows], verbs)
    for words in (f"{two}:2: duplicate id", f"{none}: cannot be", f"{windows}:1: is not UTF-8"):
        assert words in str(caught.value)


def test_an_id_may_not_occur_in_two_files(tmp_path: Path, verbs: dict[str, Verb]) -> None:
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


def test_corpus_files_skips_names_with_a_dot(tmp_path: Path) -> None:
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
