"""predict: the answers of hand-made models, and the command as a user types it."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from models import EOS_ID, Bigram, chain
from project import ROOT

from minituner.__main__ import main
from minituner.data.known_forms import KnownForms, forms_of_verbs
from minituner.data.verbs import Verb, load_verbs
from minituner.errors import UserError
from minituner.model import MiniGPT
from minituner.predict import MAX_TOKENS, top_answers, typed_prompt
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


def test_top_answers_are_the_likeliest_with_their_probabilities(
    bigram: Callable[..., Bigram], tokenizer: TextTokenizer
) -> None:
    (arrow,) = tokenizer.encode(" =>")
    (slash,) = tokenizer.encode(" /")
    went, goed = tokenizer.encode(" went"), tokenizer.encode(" goed")
    (home,) = tokenizer.encode(" home")
    model = bigram(
        chain(*went, slash, p=0.8)
        | chain(*goed, slash, p=0.9)
        | chain(slash, home, EOS_ID, p=0.95)
        | {(arrow, went[0]): 0.6, (arrow, goed[0]): 0.3}
    )
    first, second = top_answers(
        model, tokenizer, "He __ to school.", KnownForms({"went": "right", "goed": "wrong"}), top=2
    )
    assert (first.form, first.after, first.mark) == ("went", "home", "right")
    assert first.probability == pytest.approx(0.6 * 0.8 ** len(went))
    assert (second.form, second.mark) == ("goed", "wrong")
    assert second.probability == pytest.approx(0.3 * 0.9 ** len(goed))


def test_top_answers_find_a_likely_one_behind_an_unlikely_token(
    bigram: Callable[..., Bigram], tokenizer: TextTokenizer
) -> None:
    # Greedily, "home" comes first, but nothing likely follows it.
    (arrow,), (slash,) = tokenizer.encode(" =>"), tokenizer.encode(" /")
    (home,), (went,) = tokenizer.encode(" home"), tokenizer.encode(" went")
    model = bigram({(arrow, home): 0.5, (arrow, went): 0.4, (went, slash): 0.9, (slash, 1): 0.9})
    (best,) = top_answers(model, tokenizer, "He __.", KnownForms({}), top=1)
    assert best.form == "went"
    assert best.after == "" and best.mark == ""
    assert best.probability == pytest.approx(0.4 * 0.9)


def test_top_answers_order_an_answer_without_an_end_by_its_probability(
    bigram: Callable[..., Bigram], tokenizer: TextTokenizer
) -> None:
    (arrow,), (slash,) = tokenizer.encode(" =>"), tokenizer.encode(" /")
    (home,), (went,) = tokenizer.encode(" home"), tokenizer.encode(" went")
    # "home home home ..." never ends, but is likelier than "went".
    model = bigram(
        {(arrow, home): 0.9, (home, home): 0.99, (arrow, went): 0.05, (went, slash): 0.9}
    )
    endless, ended = top_answers(model, tokenizer, "He __.", KnownForms({}), top=2)
    assert endless.form.startswith("home home") and ended.form == "went"
    assert endless.probability == pytest.approx(0.9 * 0.99 ** (MAX_TOKENS - 1))


def test_forms_of_verbs_marks_past_forms_only(verbs: dict[str, Verb]) -> None:
    marks = forms_of_verbs(verbs).marks
    assert {marks[form] for form in ("went", "gone", "was", "were", "walked")} == {"right"}
    assert {marks[form] for form in ("goed", "eated", "walken")} == {"wrong"}
    assert "goes" not in marks


@pytest.mark.parametrize(
    "typed",
    [
        "He ___ to the café.",
        "He ________ to the café.",
        "He \uff3f\uff3f to the café.",
        "\ufeffHe __ to the café.\r\n",
        "  He\u00a0__\tto  the cafe\u0301.\u200b ",
        "He __ to\u2028the ca\u00adfé.",
    ],
)
def test_typed_prompt_does_not_depend_on_spelling(typed: str) -> None:
    assert typed_prompt(typed.encode(), "f:1") == "He __ to the café."


@pytest.mark.parametrize("typed", ["", " \t", "\ufeff"])
def test_typed_prompt_of_an_empty_line_is_empty(typed: str) -> None:
    assert typed_prompt(typed.encode(), "f:1") == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("She went.", "has no blank"),
        ("He _ home.", "does not have exactly one blank"),
        ("He __ and __.", "does not have exactly one blank"),
        ("He __ and _.", "does not have exactly one blank"),
        ("He \uff3f home.", "does not have exactly one blank"),
        ("He \x1b[2J __.", "has a control character in it"),
        ("He __ \udce9.", "is not UTF-8"),
    ],
)
def test_typed_prompt_names_a_line_that_is_not_a_prompt(line: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        typed_prompt(line.encode("utf-8", "surrogateescape"), "f:2")
    assert refusal.value.where == "f:2"


def test_typed_prompt_keeps_an_emoji_of_several_characters() -> None:
    assert typed_prompt("__ 👩\u200d🏫".encode(), "f:1") == "__ 👩\u200d🏫"


@pytest.fixture
def files(
    base: MiniGPT,
    make_tuned: Callable[..., MiniGPT],
    tokenizer: TextTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """A base, its tokenizer and an adapter, as options of the command."""
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tokenizer, "tokenizer.json")
    save_base("best.pt", base, "tokenizer.json")
    save_adapter("a.safetensors", make_tuned("mlp.fc2"), weights_sha256(base.state_dict()), seed=0)
    verbs = str(ROOT / "data/raw/verbs.yaml")
    options = {"base": "best.pt", "tokenizer": "tokenizer.json", "adapter": "a.safetensors"}
    return [x for name, file in (options | {"verbs": verbs}).items() for x in (f"--{name}", file)]


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


def test_predict_reads_arguments_files_and_pipes_the_same(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = ['He __ "home" yesterday.', "She hasn't __ the café 😀."]
    text = "\n\n".join(sentences)
    outputs = set()
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        Path("s.txt").write_text(text, encoding=encoding)
        for given in (sentences, ["--file", "s.txt"], ["--file", "-"], []):
            pipe(monkeypatch, Path("s.txt").read_bytes())
            assert main(["predict", *given, "--json", "--top", "2", *files]) == 0
            outputs.add(capsys.readouterr().out)
    (printed,) = outputs
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["prompt"] for row in rows] == sentences
    for row in rows:
        assert len(row["base"]) == len(row["tuned"]) == 2
        for answers in (row["base"], row["tuned"]):
            assert 1 > answers[0]["probability"] >= answers[1]["probability"] > 0
        assert row["base"] != row["tuned"]
    assert main(["predict", sentences[0], *files]) == 0
    table = capsys.readouterr().out
    assert table.startswith(f"{sentences[0]}\n  base  ") and "\n  tuned " in table


def test_predict_does_not_take_a_dialog_line_for_an_option(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = ["-he __ home.", "- He __ home.", "-__\uff3f.", "--He __ home?"]
    for given in ([*files, *sentences], [*files, "--", *sentences], [*sentences, *files]):
        assert main(["predict", "--json", "--top", "1", *given]) == 0
        prompts = [json.loads(line)["prompt"] for line in capsys.readouterr().out.splitlines()]
        assert prompts == ["-he __ home.", "- He __ home.", "-__.", "--He __ home?"]


def test_predict_answers_the_others_after_a_bad_sentence(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = "He __ " + "very " * 40 + "far."
    lines = ["He __.", "She went.", "", too_long, "caf\udce9 __", "He\u2028__\x0chome.", "She __."]
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    Path("s.txt").write_bytes(content)
    pipe(monkeypatch, content)
    for given, source in (
        (["--", *lines], "sentence"),
        (["--file", "s.txt"], "s.txt"),
        ([], "standard input"),
    ):
        assert main(["predict", "--json", "--top", "1", *files, *given]) == 1
        printed = capsys.readouterr()
        prompts = [json.loads(line)["prompt"] for line in printed.out.splitlines()]
        assert prompts == ["He __.", "He __ home.", "She __."]
        assert f"{source}:2: the prompt has no blank" in printed.err
        assert f"{source}:4: is longer than the model's context" in printed.err
        assert f"{source}:5: is not UTF-8\n  found:    byte 0xe9" in printed.err
        assert printed.err.endswith("3 of 6 sentences not answered\n")


def test_predict_explains_a_mistake(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, content, words in (
        (["He __.", "--file", "s.txt"], b"", "was given both sentences and a file"),
        (["--file", "no.txt"], b"", "no.txt: cannot be read"),
        (["--file", "."], b"", ".: cannot be read"),
        (["--top", "1000000", "He __."], b"", "predict: --top: is more than the search finds"),
        ([""], b"", "predict: was given no sentence"),
        ([], b"", "predict: was given no sentence"),
        ([], b"\xef\xbb\xbf\r\n\n", "predict: was given no sentence"),
        ([], None, "standard input: is closed"),
    ):
        if content is None:
            monkeypatch.setattr("sys.stdin", None)
        else:
            pipe(monkeypatch, content)
        assert main(["predict", *given, *files]) == 1
        printed = capsys.readouterr()
        assert words in printed.err and "fix:" in printed.err
        assert not printed.out


def test_predict_top_must_be_a_positive_number(capsys: pytest.CaptureFixture[str]) -> None:
    for top in ("0", "-1", "2.5", "many"):
        with pytest.raises(SystemExit):
            main(["predict", f"--top={top}", "He __."])
        assert "must be a whole number of at least 1" in capsys.readouterr().err


def test_predict_answers_an_open_pipe_line_by_line(files: list[str]) -> None:
    """In a process of its own, whose terminal knows no emoji, and which Ctrl-C ends."""
    command = [sys.executable, "-m", "minituner", "predict", "--json", "--top", "1", *files]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        for sentence in ("He ___ home.", "She __ the café 😀."):
            process.stdin.write(f"She went.\n{sentence}\n".encode())
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer["prompt"] == sentence.replace("___", "__")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        said = process.stderr.read().decode()
        assert said.count("the prompt has no blank") == 2 and "Traceback" not in said
