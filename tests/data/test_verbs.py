"""The verbs' forms against outside sources, and the message for every mistake in verbs.yaml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from lemminflect import getInflection
from project import ROOT

from minituner.data.verbs import PAST_TENSES, PERSONS, REGULARITIES, SCHEMA, Verb, load_verbs
from minituner.errors import UserError
from minituner.storage.schema import load_schema

RAW = ROOT / "data" / "raw"

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


def test_spanish_compound_and_clitic_forms(verbs: dict[str, Verb]) -> None:
    assert verbs["go"].spanish_phrase("past_participle", "1pl") == "hemos ido"
    assert verbs["want"].spanish_phrase("future", "3pl") == "querrán"
    assert verbs["like"].spanish_phrase("past_participle", "3pl") == "les ha gustado"
    assert verbs["like"].spanish_phrase("future", "1sg") == "me gustará"
    assert verbs["like"].spanish_phrase("present", "1pl") == "nos gusta"


BAD_VALUE = "the value cannot be used"


@pytest.mark.parametrize(
    ("old", "new", "message", "fix"),
    [
        ("    past: went\n", "", "go.english.past: the key is missing", "add it, as in data/raw/v"),
        ("    third_person: goes\n", "", "go.english.third_person: the key is missing", "add it"),
        ("past: went", "past: 3", f"go.english.past: {BAD_VALUE}", "write it in quotes"),
        ("past: went", "past:", f"go.english.past: {BAD_VALUE}", "write text there"),
        ("past: went", "past: [went]", f"go.english.past: {BAD_VALUE}", "write text there"),
        ("past: went", "past: {}", "go.english.past: has no keys", "write them under past"),
        (
            "wrong_past: goed",
            "wrong_past: went",
            "go.english.wrong_past: is the correct form",
            "'go'",
        ),
        ("past: {1sg: was, ", "past: {", "be.english.past.1sg: the key is missing", "add it"),
        (
            "regularity: irregular",
            "regularity: odd",
            f"be.english.regularity: {BAD_VALUE}",
            "those",
        ),
        ("regularity: irregular", "regularity: iregular", "be.english.reg", "mean 'irregular'?"),
        ("go:\n  english:", "go:\n  englisch:", "go.englisch: unknown key", "mean 'english'?"),
        ("past: went", "past: 'went", ":", "fix the indentation, quotes"),
        ("past: went", "past: went / x", f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", "past: we_nt", f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", "past: __", f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", "past: went  on", f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", 'past: "went\\n"', f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", 'past: ""', f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", "past: we\u200bnt", f"go.english.past: {BAD_VALUE}", "one form and nothing"),
        ("past: went", f"past: {'w' * 5000}", f"go.english.past: {BAD_VALUE}", "one form and no"),
        ("1sg: was, ", "1sg: w/s, ", f"be.english.past.1sg: {BAD_VALUE}", "one form and nothing"),
        (
            "lemma: ir\n",
            "lemma: ir / x\n",
            f"go.spanish.lemma: {BAD_VALUE}",
            "one form and nothing",
        ),
        ("go:\n", "go/es:\n", "go/es: the name cannot be used", "one form and nothing"),
        ("go:\n", f"? {'g' * 5000}\n:\n", "ggg", "one form and nothing"),
        (
            "wrong_past: goed",
            "wrong_past: WENT",
            "go.english.wrong_past: is the correct form",
            "write the wrong form of 'go'",
        ),
        (
            "wrong_past: goed",
            "wrong_past: goed\n    ambiguous: {gone: lost}\n    future: go",
            "go.english.future: unknown key",
            "remove 'future'",
        ),
        (
            "wrong_past: goed",
            "wrong_past: goed\n    ambiguous: {goes: a game}",
            "go.english.ambiguous.goes: is not a form of 'go'",
            "correct the word",
        ),
        (
            "wrong_past: goed",
            "wrong_past: goed\n    ambiguous: {gone: 3}",
            f"go.english.ambiguous.gone: {BAD_VALUE}",
            "write it in quotes",
        ),
    ],
)
def test_bad_verbs_are_refused(tmp_path: Path, old: str, new: str, message: str, fix: str) -> None:
    text = (RAW / "verbs.yaml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "verbs.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as refusal:
        load_verbs(path)
    assert str(refusal.value).startswith(f"{path}:")
    assert message in str(refusal.value)
    assert fix in str(refusal.value).partition("fix:")[2]
    assert all(part in str(refusal.value) for part in ("found:", "expected:", "fix:"))


@pytest.mark.parametrize(
    "form", ["went on", "o'went", "re-went", "wen\u2019t", "fu\u00e9", "fue\u0301"]
)
def test_form_may_have_accents_and_joined_words(tmp_path: Path, form: str) -> None:
    text = (RAW / "verbs.yaml").read_text(encoding="utf-8")
    path = tmp_path / "verbs.yaml"
    path.write_text(text.replace("past: went", f'past: "{form}"', 1), encoding="utf-8")
    assert load_verbs(path)["go"].past["1sg"] == form


def test_verb_without_forms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vv.yaml"
    path.write_text("go:\n")
    with pytest.raises(UserError, match=r"go: has no keys") as refusal:
        load_verbs(path)
    assert "expected: its keys: english, spanish\n" in str(refusal.value)
    assert "as in data/raw/verbs.yaml of the repository" in str(refusal.value)


def test_all_mistakes_in_verbs_are_reported(tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match=r"clitics\.1pl' is given twice"):
        load_verbs(path)

    path.write_text(text.replace("{1pl: me,", "{9sg: me,"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_verbs(path)
    message = str(caught.value)
    assert message.startswith("5 mistakes:\n")
    for key, fix in (
        (f"do.english.participle: {BAD_VALUE}", "' done' (text)"),
        (f"go.english.past: {BAD_VALUE}", "does not read numbers, yes, no, on and off as text"),
        ("go.english.wrong_post: unknown key", "did you mean 'wrong_past'?"),
        ("come.english.wrong_past: is the correct form", "the wrong form of 'come'"),
        ("like.spanish.clitics.9sg: unknown key", "did you mean '1sg'?"),
    ):
        assert f"{path}: {key}\n" in message
        assert fix in message


@pytest.mark.parametrize("content", [None, b"", b"- go", b"{}", b"\xff"])
def test_file_without_verbs_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "verbs.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path))):
        load_verbs(path)


def test_schema_lists_the_persons_and_regularities() -> None:
    parts = load_schema(SCHEMA)["$defs"]
    assert tuple(parts["by_person"]["properties"]) == PERSONS
    assert tuple(parts["by_person"]["required"]) == PERSONS
    assert tuple(parts["regularity"]["enum"]) == REGULARITIES
