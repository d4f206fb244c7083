"""Pairs as tokens of any tokenizer, in both scorings, and without a blank or a prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from minituner.data.encode import tokenize_pair
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.prompts import Scoring, text_and_ends
from minituner.errors import UserError
from minituner.tokenizer import TextTokenizer

MICE = Pair(
    "m", "mouse", "", "", "", "One mouse, two __ here.", "mice", " / ratones",
    ("mouses", "mouse"), "t.jsonl:1",
)  # fmt: skip
PARIS = replace(
    MICE, prompt="The capital of France is", correct="Paris", after=".", wrong=("Lyon",)
)
BLIMP = replace(
    MICE, prompt="", correct="Who had annoyed Tim?", after="", wrong=("Whom had annoyed Tim?",)
)
TEXT = replace(MICE, prompt="", correct="Café 猫 😀 “so”.", after="", wrong=())
CORPUS = [
    *("One mouse, two mice here. => mice / ratones", "mouses mouse mice mouses mouse"),
    *("The capital of France is Paris. Lyon. Paris. Lyon.", "Who had annoyed Tim? Whom had"),
] * 9


def byte_level(trimmed: bool) -> Tokenizer:
    """As GPT-2's, whose offsets may leave out the space before a word."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trimmed)
    return tokenizer


def metaspace() -> Tokenizer:
    """As Llama's: a space before the text, characters as bytes where it has no token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def characters() -> Tokenizer:
    """Every character is a token, and capitals are small letters."""
    letters = sorted({c for text in CORPUS for c in text.lower()} | set("é猫😀“”_"))
    vocab = {"<unk>": 0} | {letter: i for i, letter in enumerate(letters, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": lambda: byte_level(trimmed=False),
    "byte-level, trimmed": lambda: byte_level(trimmed=True),
    "metaspace": metaspace,  # without splitting at spaces: a token may span words
    "characters": characters,
}
BOS, EOS, PAD = 9001, 9002, 9003


@pytest.fixture(params=MAKERS)
def any_tokenizer(request: pytest.FixtureRequest) -> TextTokenizer:
    return TextTokenizer(MAKERS[request.param](), BOS, EOS, PAD, exact=False)


def whole_ids(pair: Pair, form: str, tokenizer: TextTokenizer, scoring: Scoring) -> list[int]:
    text, *_ = text_and_ends(pair.prompt, form, pair.after, scoring)
    return [BOS, *tokenizer.encode(text), EOS]


@pytest.mark.parametrize("scoring", ["fill_in", "sentence"])
@pytest.mark.parametrize("pair", [MICE, PARIS, BLIMP], ids=["blank", "none", "no prompt"])
def test_ids_are_those_of_running_text(
    any_tokenizer: TextTokenizer, pair: Pair, scoring: Scoring
) -> None:
    """Whatever the tokenizer, the model reads and is scored on the tokens of whole texts."""
    made = tokenize_pair(pair, any_tokenizer, scoring=scoring)
    right = whole_ids(pair, pair.correct, any_tokenizer, scoring)
    assert made.prompt_ids + made.target_ids == right
    assert made.target_ids[: len(made.correct_ids)] == made.correct_ids
    assert made.prompt_ids[0] == BOS
    scored = [made.correct_ids]
    for form, ids in zip(pair.wrong, made.wrong_ids, strict=True):
        wrong = whole_ids(pair, form, any_tokenizer, scoring)
        assert wrong[: len(made.prompt_ids) + len(ids)] == made.prompt_ids + ids
        scored.append(ids)
        if scoring == "sentence":
            assert made.prompt_ids + ids == wrong[:-1]
    if scoring == "sentence":
        assert made.correct_ids == made.target_ids[:-1]
        assert len({ids[0] for ids in scored}) > 1, "what is common to all is in the prompt"
    for one in scored:
        assert all(one != other[: len(one)] for other in scored if other is not one)


def ends_of(made: TokenizedPair, tokenizer: TextTokenizer) -> list[str]:
    """The text of each scored form, the end of the text shown as a bar."""
    return [
        tokenizer.decode([i for i in ids if i != EOS]).strip() + "|" * (EOS in ids)
        for ids in (made.correct_ids, *made.wrong_ids)
    ]


@pytest.mark.parametrize("kind", ["byte-level", "byte-level, trimmed"])
def test_fill_in_scores_the_form_and_the_token_that_ends_it(kind: str) -> None:
    tokenizer = TextTokenizer(MAKERS[kind](), BOS, EOS, PAD, exact=False)
    made = tokenize_pair(MICE, tokenizer)
    assert ends_of(made, tokenizer) == ["mice /", "mouses /", "mouse /"]
    assert tokenizer.decode(made.prompt_ids[1:]) == "One mouse, two __ here. =>"
    assert ends_of(tokenize_pair(replace(MICE, after=""), tokenizer), tokenizer) == [
        "mice|", "mouses|", "mouse|",
    ]  # fmt: skip
    made = tokenize_pair(PARIS, tokenizer)
    assert ends_of(made, tokenizer) == ["Paris.", "Lyon."]
    assert tokenizer.decode(made.prompt_ids[1:]) == "The capital of France is"


def test_sentence_scores_what_follows_the_first_difference() -> None:
    tokenizer = TextTokenizer(characters(), BOS, EOS, PAD, exact=False)
    made = tokenize_pair(replace(MICE, wrong=("mouses",)), tokenizer, scoring="sentence")
    letters = ["".join(map(tokenizer.token, ids)) for ids in (made.correct_ids, *made.wrong_ids)]
    assert letters == ["ice here.", "ouses here."]
    assert "".join(map(tokenizer.token, made.prompt_ids[1:])) == "one mouse, two m"


@pytest.mark.parametrize("scoring", ["fill_in", "sentence"])
def test_a_text_is_all_target(any_tokenizer: TextTokenizer, scoring: Scoring) -> None:
    made = tokenize_pair(TEXT, any_tokenizer, scoring=scoring)
    assert made.prompt_ids == [BOS]
    assert made.target_ids == [*any_tokenizer.encode(TEXT.correct), EOS]
    assert made.wrong_ids == []


def test_prompt_ends_before_a_token_that_spans_it(any_tokenizer: TextTokenizer) -> None:
    """The space before the answer may be the prompt's last, and is still the answer's."""
    spaced = tokenize_pair(replace(PARIS, prompt=PARIS.prompt + " "), any_tokenizer)
    plain = tokenize_pair(PARIS, any_tokenizer)
    assert spaced.prompt_ids == plain.prompt_ids
    assert (spaced.correct_ids, spaced.wrong_ids) == (plain.correct_ids, plain.wrong_ids)


def test_same_tokens_are_refused() -> None:
    tokenizer = TextTokenizer(characters(), BOS, EOS, PAD, exact=False)
    for scoring in ("fill_in", "sentence"):
        with pytest.raises(UserError, match=r"^t\.jsonl:1: the tokenizer does not tell"):
            tokenize_pair(replace(PARIS, wrong=("PARIS",)), tokenizer, scoring=scoring)


def test_a_sentence_that_begins_with_another_is_refused() -> None:
    tokenizer = TextTokenizer(characters(), BOS, EOS, PAD, exact=False)
    bare = replace(PARIS, after="", correct="come", wrong=("comed",))
    for either in (bare, replace(bare, correct="comed", wrong=("come",))):
        with pytest.raises(UserError, match="nothing ends the shorter of two forms"):
            tokenize_pair(either, tokenizer, scoring="sentence")
        # The end of the text, or what follows, tells them apart.
        tokenize_pair(either, tokenizer, scoring="fill_in")
        tokenize_pair(replace(either, after="."), tokenizer, scoring="sentence")


@pytest.mark.parametrize(
    ("prompt", "form", "after", "scoring", "text"),
    [
        ("He __ home.", "went", " / fue", "fill_in", "He __ home. => went / fue"),
        ("He __ home.", "went", " / fue", "sentence", "He went home."),
        ("Paris is in", "France", ".", "fill_in", "Paris is in France."),
        ("Paris is in", "France", ".", "sentence", "Paris is in France."),
        ("Paris is in\t", "France", "", "fill_in", "Paris is in\tFrance"),
        ("", "He went.", "", "fill_in", "He went."),
        ("法国的首都是", "巴黎", "。", "fill_in", "法国的首都是巴黎。"),
        ("Столица Франции", "Париж", "", "fill_in", "Столица Франции Париж"),
        ("🙂", "smile", "", "fill_in", "🙂 smile"),
    ],
)
def test_text_of_a_pair(prompt: str, form: str, after: str, scoring: Scoring, text: str) -> None:
    made, _, form_end = text_and_ends(prompt, form, after, scoring)
    assert made == text
    assert made[:form_end].endswith(form)


def test_an_exact_tokenizer_refuses_what_spans_the_form(tokenizer: TextTokenizer) -> None:
    glued = replace(PARIS, correct="wal", after="ked", wrong=("wen",))  # " walked" is one token
    assert tokenizer.exact
    with pytest.raises(UserError, match="extends over the end of the prompt or of the form"):
        tokenize_pair(glued, tokenizer)
    made = tokenize_pair(glued, replace(tokenizer, exact=False))
    assert tokenizer.decode(made.correct_ids) == " walked"
