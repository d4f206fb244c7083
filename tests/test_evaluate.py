"""The tokenizer and the pairs' layout, every measure by hand on rigged models, and the gates."""

from __future__ import annotations

import copy
import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from minituner import evaluate
from minituner.data.pairs import Pair, TokenizedPair, pair_rows, read_tokenized_pairs
from minituner.data.tokenize import tokenize_pair
from minituner.errors import UserError
from minituner.evaluate import (
    Judgment,
    Losses,
    Questions,
    accuracy_by,
    accuracy_summary,
    drift,
    english_of,
    evaluate_adapters,
    evaluate_full,
    evaluate_model,
    greedy_answers,
    greedy_prefix,
    judge,
    losses_of,
    max_abs_difference,
    perplexities,
    probe_over_irregularization,
    replies,
)
from minituner.lora import lora_layers, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.statistics.gates import compute_gates, headline_metrics, require_gates
from minituner.storage.adapter import save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.items import copy_items_of_seed, write_items
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import (
    SPECIAL_TOKENS,
    encode,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

MakeBigram = Callable[..., MiniGPT]
BOS_ID, EOS_ID, PAD_ID = 0, 1, 2


# --- the tokenizer ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "He went home.",
        "Él comió ñoquis",
        "🎉 family: 👨‍👩‍👧",
        "\t two  spaces \n",
        "日本語",
        "\x00ÿ",
    ],
)
def test_any_text_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    token_ids = encode(tokenizer, text)
    assert tokenizer.decode(token_ids) == text
    assert not set(token_ids) & set(range(4))


def test_a_special_token_spelt_out_in_a_text_stays_text(tokenizer: Tokenizer) -> None:
    token_ids = encode(tokenizer, "He went <eos> home")
    assert EOS_ID not in token_ids
    assert tokenizer.decode(token_ids) == "He went <eos> home"


def test_the_special_tokens_come_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    assert SPECIAL_TOKENS == ("<bos>", "<eos>", "<pad>", "<unk>")


def test_the_same_texts_train_the_same_tokenizer(tmp_path: Path) -> None:
    texts = ["He went to school.", "She goed home and he walked.", "walked walked went"] * 3
    for name in ("one", "two"):
        save_tokenizer(train_tokenizer(iter(texts), 290), tmp_path / name)
    save_tokenizer(train_tokenizer(texts[:1], 290), tmp_path / "other")
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_a_tokenizer_survives_its_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert encode(loaded, "He went to school. =>") == encode(tokenizer, "He went to school. =>")


@pytest.mark.parametrize("damage", ["gone", "garbage", "no <eos>"])
def test_a_file_that_is_no_tokenizer_of_ours_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "tokenizer.json"
    if damage == "garbage":
        path.write_text("{}")
    elif damage == "no <eos>":
        path.write_text(tokenizer.to_str().replace("<eos>", "<end>"))
    expected = {"gone": "no such file", "garbage": "is not a tokenizer", "no <eos>": "no <eos>"}
    with pytest.raises(UserError, match=expected[damage]) as refusal:
        load_tokenizer(path)
    assert str(refusal.value).startswith(f"{path}: ")


# --- the layout of a pair -----------------------------------------------------------------------


def test_a_pair_is_laid_out_as_documented(tokenizer: Tokenizer, raw_pairs: list[Pair]) -> None:
    pair = tokenize_pair(raw_pairs[0], tokenizer)

    def text(token_ids: list[int]) -> str:
        return tokenizer.decode(token_ids, skip_special_tokens=False)

    assert text(pair.prompt_ids) == "<bos>He __ to school yesterday. =>"
    assert text(pair.target_ids) == " went / fue<eos>"
    assert text(pair.correct_ids) == " went /"
    assert text(pair.wrong_ids) == " goed /"


def test_without_spanish_the_end_of_the_text_ends_the_form(
    tokenizer: Tokenizer, raw_pairs: list[Pair]
) -> None:
    pair = tokenize_pair(replace(raw_pairs[0], spanish=""), tokenizer)
    went, goed = encode(tokenizer, " went"), encode(tokenizer, " goed")
    assert pair.target_ids == pair.correct_ids == [*went, EOS_ID]
    assert pair.wrong_ids == [*goed, EOS_ID]


def test_prompt_and_answer_concatenate_to_the_whole_texts_tokens(
    tokenizer: Tokenizer, raw_pairs: list[Pair], pairs: list[TokenizedPair]
) -> None:
    for raw, pair in zip(raw_pairs, pairs, strict=True):
        for form, form_ids in ((raw.english, pair.correct_ids), (raw.wrong, pair.wrong_ids)):
            whole = encode(tokenizer, f"{raw.prompt} => {form}{' /' if raw.spanish else ''}")
            end = [] if raw.spanish else [EOS_ID]
            assert pair.prompt_ids + form_ids == [BOS_ID, *whole, *end]
        answer = f" {raw.english} / {raw.spanish}" if raw.spanish else f" {raw.english}"
        whole = encode(tokenizer, f"{raw.prompt} =>{answer}")
        assert pair.prompt_ids + pair.target_ids == [BOS_ID, *whole, EOS_ID]
        # What is judged is what was trained: the target begins with the form and its end.
        assert pair.target_ids[: len(pair.correct_ids)] == pair.correct_ids


def test_tokenized_pairs_survive_their_file(pairs: list[TokenizedPair], tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in pair_rows(pairs)]
    (tmp_path / "test.jsonl").write_text("\n".join(lines) + "\n")
    assert read_tokenized_pairs(tmp_path / "test.jsonl") == pairs


def judge_pairs(model: MiniGPT, pairs: Sequence[TokenizedPair]) -> list[Judgment]:
    return [judge(reply) for reply in replies(model, Questions.of(pairs, PAD_ID))]


def pair_losses(model: MiniGPT, pairs: Sequence[TokenizedPair]) -> list[Losses]:
    return [losses_of(reply) for reply in replies(model, Questions.of(pairs, PAD_ID))]


def evaluated(
    model: MiniGPT, tokenizer: Tokenizer, splits: dict[str, list[TokenizedPair]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    questions = {name: Questions.of(pairs, PAD_ID) for name, pairs in splits.items()}
    return evaluate_model(model, tokenizer, questions)


# --- minimal pairs ------------------------------------------------------------------------------

# Tokens of the hand-worked pairs, beyond the specials.
ASK, COME, D, END, OTHER, SPANISH = range(10, 16)


@pytest.fixture
def pair(pairs: list[TokenizedPair]) -> TokenizedPair:
    """One question whose right form is a prefix of the wrong one: come, and comed."""
    return replace(
        pairs[2],
        prompt_ids=[BOS_ID, ASK],
        target_ids=[COME, END, SPANISH, EOS_ID],
        correct_ids=[COME, END],
        wrong_ids=[COME, D, END],
    )


def test_margins_are_as_worked_out_by_hand(bigram: MakeBigram, pair: TokenizedPair) -> None:
    model = bigram({(ASK, COME): 0.5, (COME, END): 0.6, (COME, D): 0.3, (D, END): 0.9})
    (judgment,) = judge_pairs(model, [pair])
    right, wrong = math.log(0.5 * 0.6), math.log(0.5 * 0.3 * 0.9)
    assert judgment.margin == pytest.approx(right - wrong)
    assert judgment.margin_per_token == pytest.approx(right / 2 - wrong / 3)
    assert judgment.correct


def test_the_two_margins_can_disagree(bigram: MakeBigram, pair: TokenizedPair) -> None:
    model = bigram({(ASK, COME): 0.1, (COME, END): 0.5, (COME, D): 0.4, (D, END): 0.99})
    (judgment,) = judge_pairs(model, [pair])
    assert judgment.margin > 0 > judgment.margin_per_token
    summary = accuracy_summary([judgment])
    assert (summary["accuracy"], summary["accuracy_per_token"]) == (1, 0)


def test_the_whole_prompt_is_given(base: MiniGPT, pairs: list[TokenizedPair]) -> None:
    # The first word lies beyond what any rule on neighbors could see.
    first = replace(pairs[0], prompt_ids=[BOS_ID, OTHER, *pairs[0].prompt_ids[2:]])
    judgments = judge_pairs(base, [pairs[0], first])
    assert judgments[0] != judgments[1]


def test_a_tie_is_wrong(bigram: MakeBigram, pair: TokenizedPair) -> None:
    even = replace(pair, wrong_ids=[D, END])
    (judgment,) = judge_pairs(bigram(), [even])
    assert judgment.margin == 0
    assert not judgment.correct
    assert accuracy_summary([judgment])["accuracy"] == 0


def test_judgments_equal_a_plain_sum_over_the_models_log_softmax(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    base.double()

    def log_p(pair: TokenizedPair, form: list[int]) -> float:
        text = torch.tensor([pair.prompt_ids + form])
        logs = base(text)[0].log_softmax(-1)
        start = len(pair.prompt_ids)
        return sum(logs[start + i - 1, token].item() for i, token in enumerate(form))

    for pair, judgment in zip(pairs, judge_pairs(base, pairs), strict=True):
        right, wrong = log_p(pair, pair.correct_ids), log_p(pair, pair.wrong_ids)
        assert judgment.margin == pytest.approx(right - wrong, rel=1e-9)
        per_token = right / len(pair.correct_ids) - wrong / len(pair.wrong_ids)
        assert judgment.margin_per_token == pytest.approx(per_token, rel=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_neither_batch_nor_order_changes_a_score(
    base: MiniGPT, pairs: list[TokenizedPair], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    base.double()
    before = judge_pairs(base, pairs), perplexities(pair_losses(base, pairs))
    monkeypatch.setattr(evaluate, "BATCH_SIZE", batch_size)
    judged = judge_pairs(base, pairs[::-1])[::-1]
    for one, other in zip(before[0], judged, strict=True):
        assert one.margin == pytest.approx(other.margin, rel=1e-9)
        assert one.margin_per_token == pytest.approx(other.margin_per_token, rel=1e-9)
    assert perplexities(pair_losses(base, pairs[::-1])) == pytest.approx(before[1], rel=1e-9)


def test_summaries_are_shares_and_means(pairs: list[TokenizedPair]) -> None:
    judgments = [
        Judgment(2.0, -0.5), Judgment(-1.0, 0.5), Judgment(0.0, 0.0), Judgment(4.0, 2.0)
    ]  # fmt: skip
    assert accuracy_summary(judgments) == {
        "n": 4,
        "accuracy": 0.5,
        "accuracy_per_token": 0.5,
        "margin_nats": 1.25,
        "margin_nats_per_token": 0.5,
    }
    verbs = [
        replace(pair, verb=v) for pair, v in zip(pairs[:4], ("go", "eat", "go", "go"), strict=True)
    ]
    forms = [replace(pair, form=f) for pair, f in zip(verbs, "aaab", strict=True)]
    groups = accuracy_by(forms, judgments)
    assert {name: (group["n"], group["accuracy"]) for name, group in groups.items()} == {
        "eat/a": (1, 0),
        "go/a": (2, 0.5),
        "go/b": (1, 1),
    }


# --- perplexity and drift -----------------------------------------------------------------------


def test_a_model_that_knows_nothing_has_the_vocabularys_size_as_perplexity(
    base: MiniGPT, bigram: MakeBigram, pairs: list[TokenizedPair]
) -> None:
    expected = pytest.approx(base.config.vocab_size)
    assert perplexities(pair_losses(bigram(), pairs)) == {
        "text": expected,
        "target": expected,
    }


def test_perplexities_are_as_worked_out_by_hand(bigram: MakeBigram, pair: TokenizedPair) -> None:
    likely = {
        (BOS_ID, ASK): 0.01, (ASK, COME): 0.5, (COME, END): 0.6, (END, SPANISH): 0.7,
        (SPANISH, EOS_ID): 0.9, (ASK, D): 0.2, (D, EOS_ID): 0.3,
    }  # fmt: skip
    short = replace(pair, target_ids=[D, EOS_ID], correct_ids=[D, EOS_ID])
    result = perplexities(pair_losses(bigram(likely), [pair, short]))
    answers = 0.5 * 0.6 * 0.7 * 0.9 * 0.2 * 0.3  # six tokens, the first pair's weigh twice
    assert result["target"] == pytest.approx(answers ** (-1 / 6))
    assert result["text"] == pytest.approx((answers * 0.01 * 0.01) ** (-1 / 8))


def test_the_prompts_tokens_enter_the_text_and_not_the_target(
    bigram: MakeBigram, pair: TokenizedPair
) -> None:
    before, after = (
        perplexities(pair_losses(bigram({(BOS_ID, ASK): p}), [pair])) for p in (0.5, 0.25)
    )
    assert after["target"] == before["target"]
    assert after["text"] == pytest.approx(before["text"] * 2 ** (1 / 5))


def test_drift_is_the_relative_rise() -> None:
    assert drift(11.0, 10.0) == pytest.approx(0.1)
    assert drift(8.0, 10.0) == pytest.approx(-0.2)
    assert drift(10.0, 10.0) == 0


# --- greedy answers and the probe ---------------------------------------------------------------


def chain(*token_ids: int, p: float = 0.9) -> dict[tuple[int, int], float]:
    """Each token likely followed by the next."""
    return dict.fromkeys(pairwise(token_ids), p)


def one_token(tokenizer: Tokenizer, text: str) -> int:
    (token_id,) = encode(tokenizer, text)
    return token_id


def test_an_answer_ends_where_the_model_ends_it(bigram: MakeBigram, tokenizer: Tokenizer) -> None:
    went, slash, home = (one_token(tokenizer, text) for text in (" went", " /", " home"))
    model = bigram(chain(ASK, went, slash, EOS_ID, home, home))
    assert greedy_answers(model, tokenizer, [[BOS_ID, ASK], [BOS_ID, slash]]) == ["went /", ""]


def test_an_answer_ends_with_its_token_budget_or_the_context(
    bigram: MakeBigram, tokenizer: Tokenizer
) -> None:
    home = one_token(tokenizer, " home")
    model = bigram({(home, home): 0.9})
    prompts = [[BOS_ID, home], [BOS_ID] + [home] * 29]  # 30 of the context's 32 tokens
    answers = greedy_answers(model, tokenizer, prompts, max_tokens=5)
    assert [answer.split() for answer in answers] == [["home"] * 5, ["home"] * 2]


def test_an_answer_does_not_depend_on_the_other_prompts(
    base: MiniGPT, tokenizer: Tokenizer, pairs: list[TokenizedPair]
) -> None:
    prompts = [pair.prompt_ids for pair in pairs]
    assert len({len(prompt) for prompt in prompts}) > 1, "without padding there is nothing to show"
    together = greedy_answers(base, tokenizer, prompts)
    assert together == [greedy_answers(base, tokenizer, [prompt])[0] for prompt in prompts]
    assert together == greedy_answers(base, tokenizer, prompts[::-1])[::-1]
    assert len(set(together)) > 3


def test_what_the_pass_over_the_right_answer_shows_need_not_be_decoded(
    base: MiniGPT, tokenizer: Tokenizer, pairs: list[TokenizedPair]
) -> None:
    prompts = [pair.prompt_ids for pair in pairs]
    # The model's own answers as the right ones, so that some agree to their end, some in part.
    base.double()
    own = [encode(tokenizer, f" {answer}") for answer in greedy_answers(base, tokenizer, prompts)]
    asked = [
        replace(pair, target_ids=ids[: 1 + i], correct_ids=ids[:1])
        for i, (pair, ids) in enumerate(zip(pairs, own, strict=True))
    ]
    for some in (pairs, asked):
        known = [reply.greedy for reply in replies(base, Questions.of(some, PAD_ID))]
        assert all(known)
        assert greedy_answers(base, tokenizer, prompts, known) == greedy_answers(
            base, tokenizer, prompts
        )


@pytest.mark.parametrize(
    ("likeliest", "beginning"), [([5, 6, 7], [5, 6, 7]), ([5, 9, 7], [5, 9]), ([8, 6, 7], [8])]
)
def test_a_greedy_answer_is_the_expected_one_up_to_where_they_part(
    likeliest: list[int], beginning: list[int]
) -> None:
    assert greedy_prefix([5, 6, 7], likeliest) == beginning


@pytest.mark.parametrize(
    ("answer", "english"),
    [("went / fue", "went"), ("went /", "went"), ("went", "went"), ("", ""), ("/ fue", "")],
)
def test_the_english_stands_before_the_slash(answer: str, english: str) -> None:
    assert english_of(answer) == english


@pytest.mark.parametrize(
    ("walked", "ends_walked", "walken", "ends_walken", "failed"),
    [
        (0.6, 0.9, 0.2, 0.9, False),  # walked is the likelier and what the model says
        (0.2, 0.9, 0.6, 0.9, True),  # the reverse
        (0.4, 0.1, 0.2, 0.9, True),  # says walked, but walken with its end is the likelier
        (0.4, 0.9, 0.5, 0.3, True),  # walken is the less likely, but what the model says
        (0.3, 0.5, 0.3, 0.5, True),  # a tie
    ],
)
def test_the_probe_fails_if_walken_is_likelier_or_said(
    bigram: MakeBigram,
    tokenizer: Tokenizer,
    pairs: list[TokenizedPair],
    walked: float,
    ends_walked: float,
    walken: float,
    ends_walken: float,
    failed: bool,
) -> None:
    pair = pairs[4]
    ask, slash = pair.prompt_ids[-1], one_token(tokenizer, " /")
    right, wrong = one_token(tokenizer, " walked"), one_token(tokenizer, " walken")
    likely = {
        (ask, right): walked, (right, slash): ends_walked,
        (ask, wrong): walken, (wrong, slash): ends_walken, (slash, EOS_ID): 0.9,
    }  # fmt: skip
    model = bigram(likely)
    answers = greedy_answers(model, tokenizer, [pair.prompt_ids])
    (row,) = probe_over_irregularization([pair], judge_pairs(model, [pair]), answers)
    assert row["failed"] is failed
    expected = math.log(walked * ends_walked) - math.log(walken * ends_walken)
    assert row["margin_nats"] == pytest.approx(expected)
    assert (row["prompt"], row["expected"], row["over_irregular"]) == (
        "He __ home yesterday.",
        "walked",
        "walken",
    )
    if walked != walken:
        assert english_of(row["answer"]) == ("walked" if walked > walken else "walken")


# --- the base inside the model ------------------------------------------------------------------


def test_equal_weights_differ_by_exactly_zero(base: MiniGPT) -> None:
    assert max_abs_difference(base.state_dict(), copy.deepcopy(base).state_dict()) == 0.0


def test_the_largest_difference_of_any_tensor_is_found() -> None:
    left = {"a": torch.zeros(3), "b": torch.tensor([[1.0, 2.0]]), "c": torch.zeros(2)}
    right = {"a": torch.zeros(3), "b": torch.tensor([[1.0, -0.5]]), "c": torch.full((2,), 0.25)}
    assert max_abs_difference(left, right) == max_abs_difference(right, left) == 2.5


@pytest.mark.parametrize(
    "other", [{}, {"a": torch.zeros(3), "b": torch.zeros(1)}, {"b": torch.zeros(3)}]
)
def test_weights_of_other_names_are_not_compared(other: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="tensors differ"):
        max_abs_difference({"a": torch.zeros(3)}, other)


def test_weights_of_other_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"^a: \(3, 1\) and \(3,\)"):
        max_abs_difference({"a": torch.zeros(3, 1)}, {"a": torch.zeros(3)})


def test_a_nan_is_a_difference() -> None:
    left = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert max_abs_difference(left, left | {"b": torch.full((2,), math.nan)}) != 0


# --- all of it ----------------------------------------------------------------------------------


@pytest.fixture
def splits(pairs: list[TokenizedPair]) -> dict[str, list[TokenizedPair]]:
    """The splits that are evaluated."""
    return {"val": pairs[:2], "test": pairs[1:5], "control": pairs[4:], "probe": pairs[4:5]}


def test_an_adapter_at_its_start_scores_exactly_as_the_base(
    base: MiniGPT, tokenizer: Tokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, dropout=0.5, seed=0).train()
    assert evaluated(model, tokenizer, splits) == evaluated(base, tokenizer, splits)
    assert not any(module.training for module in model.modules())


def test_one_evaluation_holds_every_measure(
    base: MiniGPT, tokenizer: Tokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    metrics, items = evaluated(base, tokenizer, splits)
    json.dumps(metrics, allow_nan=False)
    judged = {name: judge_pairs(base, splits[name]) for name in ("val", "test", "control")}
    for name, judgments in judged.items():
        assert metrics[name]["accuracy"] == sum(j.margin > 0 for j in judgments) / len(judgments)
    for name in ("test", "control"):
        assert metrics[name]["perplexity"] == perplexities(pair_losses(base, splits[name]))
    assert [(item["split"], item["id"]) for item in items] == [
        (name, pair.id) for name in judged for pair in splits[name]
    ]
    assert [item["correct"] for item in items] == [
        int(judgment.margin > 0) for judgments in judged.values() for judgment in judgments
    ]
    assert len(metrics["probe"]) == 1
    assert [p["expected"] for p in metrics["predictions"]] == [
        "gone / ido", "come / venido", "ate / comimos", "walked / caminó"
    ]  # fmt: skip


def test_greedy_accuracy_counts_the_english_alone(
    bigram: MakeBigram, tokenizer: Tokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    arrow, gone = one_token(tokenizer, " =>"), encode(tokenizer, " gone")
    slash, home = one_token(tokenizer, " /"), one_token(tokenizer, " home")
    model = bigram(chain(arrow, *gone, slash, home, EOS_ID))
    metrics, _ = evaluated(model, tokenizer, splits)
    assert {p["answer"] for p in metrics["predictions"]} == {"gone / home"}
    assert metrics["test"]["greedy_accuracy"] == 1 / 4


def saved_adapters(base: MiniGPT, folder: Path, seeds: Sequence[int]) -> dict[int, str | Path]:
    """An adapter of rank 4 for each seed, each of which does something."""
    adapters: dict[int, str | Path] = {}
    for seed in seeds:
        model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, 12.0, ("v_proj",), seed=seed)
        for _, layer in lora_layers(model):
            torch.nn.init.normal_(layer.lora_B)
        adapters[seed] = folder / f"adapter-{seed}.pt"
        save_adapter(adapters[seed], model, weights_sha256(base.state_dict()), seed)
    return adapters


def test_a_rank_is_its_adapters_scores_beside_the_untouched_base(
    base: MiniGPT,
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    adapters = saved_adapters(base, tmp_path, (3, 8))
    before, _ = evaluated(base, tokenizer, splits)
    metrics, items = evaluate_adapters(path, adapters, tokenizer, splits, before)
    json.dumps(metrics, allow_nan=False)

    assert (metrics["rank"], metrics["scaling"]) == (4, 3.0)
    assert metrics["trained_parameters"] == 2 * 4 * (32 + 32)
    sizes = [Path(adapter).stat().st_size for adapter in adapters.values()]
    assert metrics["size_ratio"] == max(sizes) / path.stat().st_size
    assert [run["seed"] for run in metrics["runs"]] == [3, 8]
    assert {item["seed"] for item in items} == {3, 8}
    own = weights_sha256(base.state_dict())
    for run in metrics["runs"]:
        assert run["base_max_abs_diff"] == 0.0
        assert run["base_sha256"] == {"before": own, "after": own}
        for split in ("test", "control"):
            for kind in ("text", "target"):
                after = run[split]["perplexity"][kind]
                assert after != before[split]["perplexity"][kind]
                assert run[split]["drift"][kind] == pytest.approx(
                    after / before[split]["perplexity"][kind] - 1
                )
    first, second = (run["control"]["perplexity"] for run in metrics["runs"])
    assert first != second


def test_the_adapter_of_one_seed_leaves_no_trace_in_the_next(
    base: MiniGPT,
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3, 8))
    before, _ = evaluated(base, tokenizer, splits)

    def runs(seeds: Sequence[int]) -> Any:
        some = {seed: adapters[seed] for seed in seeds}
        return evaluate_adapters(tmp_path / "best.pt", some, tokenizer, splits, before)[0]["runs"]

    assert runs([3, 8]) == [*runs([3]), *runs([8])] == runs([8, 3])[::-1]


def test_a_rank_over_another_base_is_refused(
    make_base: Callable[..., MiniGPT],
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", make_base(1))
    adapters = saved_adapters(make_base(0), tmp_path, (3,))
    with pytest.raises(UserError, match=r"adapter-3\.pt: was made for another base"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, {})


def test_the_adapter_of_another_run_is_refused_by_name(
    base: MiniGPT,
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3,))
    with pytest.raises(UserError, match=r"adapter-3\.pt: is the adapter of another rank"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, {}, rank=8)
    with pytest.raises(UserError, match=r"adapter-3\.pt: is the adapter of another seed"):
        evaluate_adapters(tmp_path / "best.pt", {4: adapters[3]}, tokenizer, splits, {})


def test_a_fully_tuned_model_is_scored_as_the_checkpoint_it_is(
    base: MiniGPT,
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", base)
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        tuned.ln_f.bias[3] += 0.5
    save_base(tmp_path / "model.pt", tuned)
    before, _ = evaluated(base, tokenizer, splits)
    after, expected_items = evaluated(tuned, tokenizer, splits)
    metrics, items = evaluate_full(
        tmp_path / "best.pt", {5: tmp_path / "model.pt"}, tokenizer, splits, before
    )
    run = metrics["runs"][0]
    assert (metrics["rank"], metrics["scaling"]) == (None, None)
    assert metrics["trained_parameters"] == sum(p.numel() for p in base.parameters())
    assert metrics["size_ratio"] == pytest.approx(1, abs=0.01)
    assert run["base_max_abs_diff"] == pytest.approx(0.5)
    assert run["base_sha256"]["before"] != run["base_sha256"]["after"]
    assert run["scale_audit"] == []
    assert run["test"]["accuracy"] == after["test"]["accuracy"]
    assert run["control"]["drift"]["text"] == pytest.approx(
        after["control"]["perplexity"]["text"] / before["control"]["perplexity"]["text"] - 1
    )
    assert items == [{"seed": 5, **item} for item in expected_items]


def test_the_items_losses_add_up_to_the_perplexities(
    base: MiniGPT, tokenizer: Tokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    metrics, items = evaluated(base, tokenizer, splits)
    control = [item for item in items if item["split"] == "control"]
    for kind in ("text", "target"):
        nll = sum(float(item[f"{kind}_nll_nats"]) for item in control)
        tokens = sum(item[f"{kind}_tokens"] for item in control)
        assert metrics["control"]["perplexity"][kind] == pytest.approx(
            math.exp(nll / tokens), rel=1e-5
        )
    assert [item["complement"] for item in control] == [p.complement for p in splits["control"]]


def test_a_rank_of_a_changed_base_is_no_result(
    base: MiniGPT,
    tokenizer: Tokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3,))
    before, _ = evaluated(base, tokenizer, splits)

    def meddle(model: MiniGPT, *rest: Any) -> Any:
        with torch.no_grad():
            model.ln_f.bias[0] += 1e-6
        return evaluate_model(model, *rest)

    monkeypatch.setattr(evaluate, "evaluate_model", meddle)
    with pytest.raises(AssertionError, match="the base was changed"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, before)


# --- the headline and its gates -----------------------------------------------------------------

THRESHOLDS = {
    "accuracy_gain_pp": 10.0,
    "control_ppl_drift": 0.05,
    "base_max_abs_diff": 0.0,
    "adapter_size_ratio": 0.01,
}


def headline(
    before: float = 0.25,
    after: float = 0.5,
    drift: float = 0.03,
    diff: float = 0.0,
    ratio: float = 0.005,
) -> dict[str, Any]:
    """What :func:`compute_gates` reads; by itself it passes every gate."""
    return {
        "before": {"test": {"accuracy": before}},
        "after": {
            "test": {"accuracy": after},
            "control": {"drift": {"text": drift, "target": 9.0}},  # the gate is on the whole text
        },
        "base_max_abs_diff": diff,
        "size_ratio": ratio,
    }


def test_gates_show_value_rule_and_threshold() -> None:
    gates = compute_gates(headline(), THRESHOLDS)
    assert gates == {
        "accuracy_gain_pp": {"value": 25.0, "rule": ">=", "threshold": 10.0, "pass": True},
        "control_ppl_drift": {"value": 0.03, "rule": "<=", "threshold": 0.05, "pass": True},
        "base_max_abs_diff": {"value": 0.0, "rule": "==", "threshold": 0.0, "pass": True},
        "adapter_size_ratio": {"value": 0.005, "rule": "<", "threshold": 0.01, "pass": True},
    }


@pytest.mark.parametrize(
    ("gate", "values", "passes"),
    [
        ("accuracy_gain_pp", {"before": 0.0, "after": 0.1}, True),
        ("accuracy_gain_pp", {"before": 0.0, "after": 0.0999}, False),
        ("accuracy_gain_pp", {"before": 0.5, "after": 0.25}, False),
        ("control_ppl_drift", {"drift": 0.05}, True),
        ("control_ppl_drift", {"drift": 0.0501}, False),
        ("control_ppl_drift", {"drift": -0.5}, True),
        ("control_ppl_drift", {"drift": math.nan}, False),
        ("base_max_abs_diff", {"diff": 1e-45}, False),
        ("base_max_abs_diff", {"diff": math.nan}, False),
        ("adapter_size_ratio", {"ratio": 0.0099}, True),
        ("adapter_size_ratio", {"ratio": 0.01}, False),
        ("adapter_size_ratio", {"ratio": 0.5}, False),
    ],
)
def test_a_gate_turns_at_its_threshold_and_alone(
    gate: str, values: dict[str, float], passes: bool
) -> None:
    gates = compute_gates(headline(**values), THRESHOLDS)
    assert {name: result["pass"] for name, result in gates.items()} == {
        **dict.fromkeys(THRESHOLDS, True),
        gate: passes,
    }


@pytest.mark.parametrize("items", [40, 50, 200])
def test_a_gain_of_exactly_ten_points_passes_whatever_the_start(items: int) -> None:
    for right in range(items - items // 10 + 1):
        values = {"before": right / items, "after": (right + items // 10) / items}
        assert compute_gates(headline(**values), THRESHOLDS)["accuracy_gain_pp"]["pass"], values


def test_passing_gates_are_printed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    require_gates(compute_gates(headline(), THRESHOLDS), "REPORT.md")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["PASS", f"{name}:"] for name in THRESHOLDS]


def test_failing_gates_are_named_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    gates = compute_gates(headline(drift=0.2, ratio=0.02), THRESHOLDS)
    with pytest.raises(UserError) as refusal:
        require_gates(gates, "gates.json")
    message = str(refusal.value)
    assert message.startswith("gates.json: ")
    assert "found:    control_ppl_drift = 0.2, adapter_size_ratio = 0.02\n" in message
    assert "expected: control_ppl_drift <= 0.05, adapter_size_ratio < 0.01\n" in message
    assert "accuracy_gain_pp" not in message
    assert "base_max_abs_diff" not in message
    verdicts = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["PASS", "FAIL", "PASS", "FAIL"]


def test_the_headline_is_one_seeds_run_beside_the_base() -> None:
    runs = [{"seed": s, "base_max_abs_diff": 0.0, "base_sha256": {"before": s}} for s in (4, 7)]
    rank = {"rank": 8, "scaling": 2.0, "trained_parameters": 5, "size_ratio": 0.1}
    metrics = headline_metrics({**rank, "file_bytes": 9, "runs": runs}, {"test": 1}, seed=7)
    assert metrics == {
        **rank,
        "seed": 7,
        "base_max_abs_diff": 0.0,
        "base_sha256": {"before": 7},
        "before": {"test": 1},
        "after": runs[1],
    }


def test_one_seeds_items_are_copied_as_they_stand(tmp_path: Path) -> None:
    items = [
        {"seed": seed, "id": f"i-{seed}", "wrong_form": "null", "margin_nats": "-0.100000"}
        for seed in (1, 11, 1)
    ]
    write_items(tmp_path / "all.csv", items)
    copy_items_of_seed(tmp_path / "all.csv", 1, tmp_path / "one.csv")
    with (tmp_path / "one.csv").open() as stream:
        copied = list(csv.DictReader(stream))
    assert copied == [{key: str(value) for key, value in items[i].items()} for i in (0, 2)]
