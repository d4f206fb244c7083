"""predict: the answers of hand-made models, and the command as a user types it."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from minituner.__main__ import main
from minituner.adapter import save_adapter
from minituner.checkpoint import save_base
from minituner.errors import UserError
from minituner.lora import lora_layers, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.predict import known_forms, read_prompts, top_answers
from minituner.tensors import weights_sha256
from minituner.tokenizer import encode, save_tokenizer
from minituner.verbs import Verb, load_verbs

ROOT = Path(__file__).parent.parent
EOS_ID = 1


@pytest.fixture(scope="module")
def verbs() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


def chain(*token_ids: int, p: float) -> dict[tuple[int, int], float]:
    """Each token followed by the next with probability p."""
    return dict.fromkeys(pairwise(token_ids), p)


def test_the_answers_are_the_likeliest_with_their_probabilities(
    bigram: Callable[..., MiniGPT], tokenizer: Tokenizer
) -> None:
    (arrow,) = encode(tokenizer, " =>")
    (slash,) = encode(tokenizer, " /")
    went, goed = encode(tokenizer, " went"), encode(tokenizer, " goed")
    (home,) = encode(tokenizer, " home")
    model = bigram(
        chain(*went, slash, p=0.8)
        | chain(*goed, slash, p=0.9)
        | chain(slash, home, EOS_ID, p=0.95)
        | {(arrow, went[0]): 0.6, (arrow, goed[0]): 0.3}
    )
    first, second = top_answers(
        model, tokenizer, "He __ to school.", {"went": "right", "goed": "wrong"}, top=2
    )
    assert (first.english, first.spanish, first.mark) == ("went", "home", "right")
    assert first.probability == pytest.approx(0.6 * 0.8 ** len(went))
    assert (second.english, second.mark) == ("goed", "wrong")
    assert second.probability == pytest.approx(0.3 * 0.9 ** len(goed))


def test_a_likely_answer_behind_an_unlikely_first_token_is_found(
    bigram: Callable[..., MiniGPT], tokenizer: Tokenizer
) -> None:
    # Greedily, "home" comes first, but nothing likely follows it.
    (arrow,), (slash,) = encode(tokenizer, " =>"), encode(tokenizer, " /")
    (home,), (went,) = encode(tokenizer, " home"), encode(tokenizer, " went")
    model = bigram({(arrow, home): 0.5, (arrow, went): 0.4, (went, slash): 0.9, (slash, 1): 0.9})
    (best,) = top_answers(model, tokenizer, "He __.", {}, top=1)
    assert best.english == "went"
    assert best.spanish == "" and best.mark == ""
    assert best.probability == pytest.approx(0.4 * 0.9)


def test_past_forms_are_marked_and_others_are_not(verbs: dict[str, Verb]) -> None:
    marks = known_forms(verbs)
    assert {marks[form] for form in ("went", "gone", "was", "were", "walked")} == {"right"}
    assert {marks[form] for form in ("goed", "eated", "walken")} == {"wrong"}
    assert "goes" not in marks


def test_prompts_are_read_line_by_line_and_a_bad_one_is_named() -> None:
    assert read_prompts(["He __.", "", "  She __.\n"], "f") == ["He __.", "She __."]
    with pytest.raises(UserError, match=r"^f:2: has no blank"):
        read_prompts(["He __.", "She went."], "f")
    with pytest.raises(UserError, match=r"^f:1: has more than one blank"):
        read_prompts(["He __ and __."], "f")


@pytest.fixture
def files(
    base: MiniGPT, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A base, its tokenizer and an adapter, as options of the command."""
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tokenizer, "tokenizer.json")
    save_base("best.pt", base, "tokenizer.json")
    model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, seed=0)
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.lora_B)
    save_adapter("a.safetensors", model, weights_sha256(base.state_dict()), seed=0)
    verbs = str(ROOT / "data/raw/verbs.yaml")
    options = {"base": "best.pt", "tokenizer": "tokenizer.json", "adapter": "a.safetensors"}
    return [x for name, file in (options | {"verbs": verbs}).items() for x in (f"--{name}", file)]


def test_sentences_come_from_arguments_files_and_pipes_alike(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = ['He __ "home" yesterday.', "She hasn't __ the café 😀."]
    printed = []
    Path("s.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(Path("s.txt").read_text(encoding="utf-8")))
    for given in (sentences, ["--file", "s.txt"], ["--file", "-"]):
        assert main(["predict", *given, "--json", "--top", "2", *files]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]
    rows = [json.loads(line) for line in printed[0].splitlines()]
    assert [row["prompt"] for row in rows] == sentences
    for row in rows:
        assert len(row["base"]) == len(row["tuned"]) == 2
        for answers in (row["base"], row["tuned"]):
            assert 1 > answers[0]["probability"] >= answers[1]["probability"] > 0
        assert row["base"] != row["tuned"]
    assert main(["predict", sentences[0], *files]) == 0
    table = capsys.readouterr().out
    assert table.startswith(f"{sentences[0]}\n  base  ") and "\n  tuned " in table


def test_a_users_mistake_ends_in_words(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for given, words in (
        (["He went."], "sentence:1: has no blank"),
        (["--file", "no.txt"], "no.txt: cannot be read"),
        (["He __ " + "very " * 40 + "far."], "longer than the model's context"),
    ):
        assert main(["predict", *given, *files]) == 1
        printed = capsys.readouterr()
        assert words in printed.err and "to mend:" in printed.err
        assert not printed.out
