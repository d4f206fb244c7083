"""Every measure of one model, by hand on models whose every probability is known."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from models import BOS_ID, EOS_ID, PAD_ID, Bigram, chain, reference_logits

from minituner import scoring
from minituner.causal_lm import CausalLM
from minituner.data.encode import tokenize_pair
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.prompts import english_of
from minituner.evaluate import (
    accuracy_by_group_and_form,
    accuracy_summary,
    control_metrics,
    drift,
    evaluate_model,
    greedy_accuracy,
    item_rows,
    marked_if_unknown,
    perplexities,
)
from minituner.greedy import greedy_answers
from minituner.lora import wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.probe import probe_over_irregularization
from minituner.results import ControlMetrics, ItemRow, ModelMetrics
from minituner.scoring import PairScore, ScoringBatches, score_pairs
from minituner.tokenizer import TextTokenizer

MakeBigram = Callable[..., Bigram]


def scores_of(model: CausalLM, pairs: Sequence[TokenizedPair]) -> list[PairScore]:
    return score_pairs(model, ScoringBatches.of(pairs, PAD_ID))


def evaluated(
    model: CausalLM, tokenizer: TextTokenizer, splits: Mapping[str, Sequence[TokenizedPair]]
) -> tuple[ModelMetrics, list[ItemRow]]:
    batches = {name: ScoringBatches.of(pairs, PAD_ID) for name, pairs in splits.items()}
    return evaluate_model(model, tokenizer, batches)


# --- scoring ------------------------------------------------------------------------------------

# Tokens of the hand-worked pairs, beyond the specials.
ASK, COME, D, END, OTHER, SPANISH = range(10, 16)


@pytest.fixture
def pair(pairs: list[TokenizedPair]) -> TokenizedPair:
    """One pair whose right form is a prefix of the wrong one: come, and comed."""
    return replace(
        pairs[2],
        prompt_ids=[BOS_ID, ASK],
        target_ids=[COME, END, SPANISH, EOS_ID],
        correct_ids=[COME, END],
        wrong_ids=[[COME, D, END]],
    )


def test_margins_are_as_worked_out_by_hand(bigram: MakeBigram, pair: TokenizedPair) -> None:
    model = bigram({(ASK, COME): 0.5, (COME, END): 0.6, (COME, D): 0.3, (D, END): 0.9})
    (score,) = scores_of(model, [pair])
    right, wrong = math.log(0.5 * 0.6), math.log(0.5 * 0.3 * 0.9)
    assert score.margin == pytest.approx(right - wrong)
    assert score.margin_per_token == pytest.approx(right / 2 - wrong / 3)
    assert score.is_correct


def test_margin_and_margin_per_token_can_disagree(bigram: MakeBigram, pair: TokenizedPair) -> None:
    model = bigram({(ASK, COME): 0.1, (COME, END): 0.5, (COME, D): 0.4, (D, END): 0.99})
    (score,) = scores_of(model, [pair])
    assert score.margin > 0 > score.margin_per_token
    summary = accuracy_summary([score])
    assert (summary["accuracy"], summary["accuracy_per_token"]) == (1, 0)


def test_come_does_not_beat_comed_by_being_its_prefix(
    bigram: MakeBigram, pair: TokenizedPair
) -> None:
    # Without the end, come would have P = 1/2 and comed 1/2 * 0.9. With it, 1/2 * 0.05 and
    # 1/2 * 0.9 * 0.8.
    model = bigram({(ASK, COME): 0.5, (COME, END): 0.05, (COME, D): 0.9, (D, END): 0.8})
    (score,) = scores_of(model, [pair])
    assert score.margin == pytest.approx(math.log(0.05) - math.log(0.9 * 0.8))
    assert not score.is_correct


def test_the_likeliest_of_several_wrong_forms_counts(
    bigram: MakeBigram, pair: TokenizedPair
) -> None:
    model = bigram({(ASK, COME): 0.4, (COME, END): 0.5, (COME, D): 0.4, (D, END): 0.9})
    several = replace(pair, wrong=["camed", "comed"], wrong_ids=[[D, END], [COME, D, END]])
    (score,) = scores_of(model, [several])
    ask_d = 0.6 / (model.vocab_size - 1)  # what is left, for all other tokens
    wrong = [math.log(ask_d * 0.9), math.log(0.4 * 0.4 * 0.9)]
    assert [float(each.sum()) for each in score.wrong] == pytest.approx(wrong)
    assert score.margin == pytest.approx(math.log(0.4 * 0.5) - wrong[1])
    means = (wrong[0] / 2, wrong[1] / 3)
    assert score.margin_per_token == pytest.approx(math.log(0.4 * 0.5) / 2 - max(means))
    assert several.wrong[score.likeliest_wrong] == "comed"
    (row,) = item_rows("test", [several], [score])
    assert row["wrong_form"] == "comed"
    # One text per right and per wrong form, and each pair keeps its own.
    scores = scores_of(model, [pair, several, replace(pair, wrong_ids=[[D, END]])])
    assert [len(each.wrong) for each in scores] == [1, 2, 1]
    right = math.log(0.4 * 0.5)
    margins = [right - wrong[1], right - wrong[1], right - wrong[0]]
    assert [each.margin for each in scores] == pytest.approx(margins)


def test_tie_is_wrong(bigram: MakeBigram, pair: TokenizedPair) -> None:
    even = replace(pair, wrong_ids=[[D, END]])
    (score,) = scores_of(bigram(), [even])
    assert score.margin == 0
    assert not score.is_correct
    assert accuracy_summary([score])["accuracy"] == 0


def log_p(model: MiniGPT, prompt: list[int], form: list[int]) -> list[float]:
    """log P of each token of a form after a prompt, one text at a time: what the literature calls
    the log-likelihood of a continuation."""
    logs = reference_logits(model, torch.tensor([prompt + form]))[0].log_softmax(-1)
    return [float(logs[len(prompt) + i - 1, token]) for i, token in enumerate(form)]


@torch.no_grad()
def test_scores_equal_the_log_likelihood_of_each_continuation(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    base.double()
    # The last differs from the first in its first word alone, far from the form.
    other = replace(pairs[0], prompt_ids=[BOS_ID, OTHER, *pairs[0].prompt_ids[2:]])
    scores = scores_of(base, [*pairs, other])
    for pair, score in zip([*pairs, other], scores, strict=True):
        right, wrong, target, text = (
            log_p(base, prompt, form)
            for prompt, form in (
                (pair.prompt_ids, pair.correct_ids),
                (pair.prompt_ids, pair.wrong_ids[0]),
                (pair.prompt_ids, pair.target_ids),
                (pair.prompt_ids[:1], pair.prompt_ids[1:] + pair.target_ids),
            )
        )
        found = (score.correct, score.wrong[0], score.target, score.text)
        for tokens, expected in zip(found, (right, wrong, target, text), strict=True):
            assert tokens.tolist() == pytest.approx(expected, rel=1e-9)
        assert score.margin == pytest.approx(sum(right) - sum(wrong), rel=1e-9)
        per_token = sum(right) / len(right) - sum(wrong) / len(wrong)
        assert score.margin_per_token == pytest.approx(per_token, rel=1e-9)
    assert abs(scores[0].margin - scores[-1].margin) > 1e-3


def test_scores_do_not_depend_on_what_follows_the_form(
    base: MiniGPT, tokenizer: TextTokenizer, raw_pairs: list[Pair]
) -> None:
    one, other = (
        [
            score.margin
            for score in scores_of(
                base.double(),
                [tokenize_pair(replace(raw, after=after), tokenizer) for raw in raw_pairs],
            )
        ]
        for after in (" / fue", " / otra cosa muy larga")
    )
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_scores_do_not_depend_on_batch_or_order(
    base: MiniGPT, pairs: list[TokenizedPair], monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    base.double()
    before = scores_of(base, pairs), perplexities(scores_of(base, pairs))
    monkeypatch.setattr(scoring, "EVALUATION_BATCH_SIZE", batch_size)
    scores = scores_of(base, pairs[::-1])[::-1]
    for one, other in zip(before[0], scores, strict=True):
        assert one.margin == pytest.approx(other.margin, rel=1e-9)
        assert one.margin_per_token == pytest.approx(other.margin_per_token, rel=1e-9)
    assert perplexities(scores_of(base, pairs[::-1])) == pytest.approx(before[1], rel=1e-9)


# --- accuracy -----------------------------------------------------------------------------------


def score_with(margin: float, per_token: float) -> PairScore:
    """A score of given margins: one token against two."""
    nothing = torch.zeros(1)
    correct = torch.tensor([2 * per_token - margin])
    return PairScore(nothing, nothing, correct, [torch.full((2,), per_token - margin)], [], False)


def test_summaries_are_shares_and_means(pairs: list[TokenizedPair]) -> None:
    margins = ((2.0, -0.5), (-1.0, 0.5), (0.0, 0.0), (4.0, 2.0))
    scores = [score_with(*each) for each in margins]
    assert [(score.margin, score.margin_per_token) for score in scores] == list(margins)
    assert accuracy_summary(scores) == {
        "n": 4,
        "accuracy": 0.5,
        "accuracy_per_token": 0.5,
        "margin_nats": 1.25,
        "margin_nats_per_token": 0.5,
    }
    verbs = [
        replace(pair, group=v) for pair, v in zip(pairs[:4], ("go", "eat", "go", "go"), strict=True)
    ]
    forms = [replace(pair, form=f) for pair, f in zip(verbs, "aaab", strict=True)]
    groups = accuracy_by_group_and_form(forms, scores)
    assert {name: (group["n"], group["accuracy"]) for name, group in groups.items()} == {
        "eat/a": (1, 0),
        "go/a": (2, 0.5),
        "go/b": (1, 1),
    }


# --- perplexity and drift -----------------------------------------------------------------------


def test_perplexity_of_a_uniform_model_is_the_vocabularys_size(
    base: MiniGPT, bigram: MakeBigram, pairs: list[TokenizedPair]
) -> None:
    expected = pytest.approx(base.config.vocab_size)
    assert perplexities(scores_of(bigram(), pairs)) == {
        "text": expected,
        "target": expected,
    }


def test_perplexities_are_as_worked_out_by_hand(bigram: MakeBigram, pair: TokenizedPair) -> None:
    likely = {
        (BOS_ID, ASK): 0.01, (ASK, COME): 0.5, (COME, END): 0.6, (END, SPANISH): 0.7,
        (SPANISH, EOS_ID): 0.9, (ASK, D): 0.2, (D, EOS_ID): 0.3,
    }  # fmt: skip
    short = replace(pair, target_ids=[D, EOS_ID], correct_ids=[D, EOS_ID])
    result = perplexities(scores_of(bigram(likely), [pair, short]))
    answers = 0.5 * 0.6 * 0.7 * 0.9 * 0.2 * 0.3  # six tokens, the first pair's weigh twice
    assert result["target"] == pytest.approx(answers ** (-1 / 6))
    assert result["text"] == pytest.approx((answers * 0.01 * 0.01) ** (-1 / 8))


def test_prompt_tokens_count_in_the_text_and_not_in_the_target(
    bigram: MakeBigram, pair: TokenizedPair
) -> None:
    before, after = (
        perplexities(scores_of(bigram({(BOS_ID, ASK): p}), [pair])) for p in (0.5, 0.25)
    )
    assert after["target"] == before["target"]
    assert after["text"] == pytest.approx(before["text"] * 2 ** (1 / 5))


def test_drift_is_the_relative_change() -> None:
    assert drift(11.0, 10.0) == pytest.approx(0.1)
    assert drift(8.0, 10.0) == pytest.approx(-0.2)
    assert drift(10.0, 10.0) == 0


@pytest.mark.parametrize("perplexity", [1.0, 499.0, 500.0])
def test_a_control_set_within_the_bound_is_not_marked(perplexity: float) -> None:
    metrics: ControlMetrics = {"n": 3, "perplexity": {"text": perplexity, "target": 9999.0}}
    assert marked_if_unknown(metrics, vocab_size=1000) == metrics


@pytest.mark.parametrize("perplexity", [500.1, 686.0, 1000.0, 5000.0])
def test_a_control_set_that_is_hardly_better_than_guessed_is_marked(perplexity: float) -> None:
    """A model that guesses evenly among a thousand tokens has a perplexity of a thousand."""
    metrics: ControlMetrics = {"n": 3, "perplexity": {"text": perplexity, "target": 1.0}}
    assert marked_if_unknown(metrics, vocab_size=1000) == {**metrics, "unknown_above": 500.0}


# --- the probe ----------------------------------------------------------------------------------


def one_token(tokenizer: TextTokenizer, text: str) -> int:
    (token_id,) = tokenizer.encode(text)
    return token_id


@pytest.mark.parametrize(
    ("walked", "ends_walked", "walken", "ends_walken", "failed"),
    [
        (0.6, 0.9, 0.2, 0.9, False),  # walked is likelier, and the answer
        (0.2, 0.9, 0.6, 0.9, True),  # the reverse
        (0.4, 0.1, 0.2, 0.9, True),  # the answer is walked, but walken with its end is likelier
        (0.4, 0.9, 0.5, 0.3, True),  # walken is less likely, but the answer
        (0.3, 0.5, 0.3, 0.5, True),  # a tie
    ],
)
def test_probe_fails_if_walken_is_likelier_or_answered(
    bigram: MakeBigram,
    tokenizer: TextTokenizer,
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
    margins = [score.margin for score in scores_of(model, [pair])]
    (row,) = probe_over_irregularization([pair], margins, answers)
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


# --- one model ----------------------------------------------------------------------------------


@pytest.fixture
def splits(pairs: list[TokenizedPair]) -> dict[str, list[TokenizedPair]]:
    """The splits that are evaluated."""
    return {"val": pairs[:2], "test": pairs[1:5], "control": pairs[4:], "probe": pairs[4:5]}


@pytest.mark.parametrize("target", ["mlp.fc2", "q_proj"])
def test_adapter_at_its_start_scores_exactly_as_the_base(
    base: MiniGPT, tokenizer: TextTokenizer, pairs: list[TokenizedPair], target: str
) -> None:
    # No text is in two splits: the last bits of a cached one are those of its first batch.
    splits = {"val": pairs[:2], "test": pairs[2:4], "control": pairs[4:5], "probe": pairs[5:]}
    model = wrap_minigpt_with_lora(
        copy.deepcopy(base), 4, target_modules=(target,), dropout=0.5, seed=0
    ).train()
    assert evaluated(model, tokenizer, splits) == evaluated(base, tokenizer, splits)
    assert not any(module.training for module in model.modules())


def test_evaluate_model_has_every_measure(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    metrics, items = evaluated(base, tokenizer, splits)
    json.dumps(metrics, allow_nan=False)
    scores = {name: scores_of(base, splits[name]) for name in ("val", "test", "control")}
    for name, found in scores.items():
        assert metrics[name]["accuracy"] == sum(s.margin > 0 for s in found) / len(found)
    for name in ("test", "control"):
        assert metrics[name]["perplexity"] == perplexities(scores_of(base, splits[name]))
    assert [(item["split"], item["id"]) for item in items] == [
        (name, pair.id) for name in scores for pair in splits[name]
    ]
    assert [item["correct"] for item in items] == [
        int(score.margin > 0) for found in scores.values() for score in found
    ]
    assert len(metrics["probe"]) == 1
    assert [p["expected"] for p in metrics["predictions"]] == [
        "gone / ido", "come / venido", "ate / comimos", "walked / caminó"
    ]  # fmt: skip


def test_greedy_accuracy_counts_the_english_only(
    bigram: MakeBigram, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    arrow, gone = one_token(tokenizer, " =>"), tokenizer.encode(" gone")
    slash, home = one_token(tokenizer, " /"), one_token(tokenizer, " home")
    model = bigram(chain(arrow, *gone, slash, home, EOS_ID))
    metrics, _ = evaluated(model, tokenizer, splits)
    assert {p["answer"] for p in metrics["predictions"]} == {"gone / home"}
    assert metrics["test"]["greedy_accuracy"] == 1 / 4


def test_item_losses_add_up_to_the_perplexities(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
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


# --- texts of a control set -----------------------------------------------------------------------


def as_text(pair: TokenizedPair) -> TokenizedPair:
    """The whole of a pair as a text without a wrong form."""
    ids = pair.prompt_ids[1:] + pair.target_ids
    return replace(
        pair, id=f"{pair.id}-text", wrong=[], wrong_ids=[], prompt="", prompt_ids=[BOS_ID],
        target_ids=ids, correct_ids=ids,
    )  # fmt: skip


def test_a_text_has_a_perplexity_and_no_accuracy(base: MiniGPT, pairs: list[TokenizedPair]) -> None:
    texts = [as_text(pair) for pair in pairs]
    scores = scores_of(base, texts)
    metrics = control_metrics(texts, scores)
    assert metrics.keys() == {"n", "perplexity"}
    whole = perplexities(scores_of(base, pairs))["text"]
    assert metrics["perplexity"] == pytest.approx({"text": whole, "target": whole})
    assert all(math.isnan(score.margin) and not score.is_correct for score in scores)
    row = item_rows("control", texts[:1], scores[:1])[0]
    assert not {"wrong_form", "margin_nats", "margin_nats_per_token", "correct"} & row.keys()


def test_accuracy_of_a_control_set_is_that_of_its_pairs(
    base: MiniGPT, pairs: list[TokenizedPair]
) -> None:
    mixed = [as_text(pairs[0]), *pairs[1:], as_text(pairs[2])]
    metrics = control_metrics(mixed, scores_of(base, mixed))
    alone = control_metrics(pairs[1:], scores_of(base, pairs[1:]))
    assert metrics["n"] == len(mixed)
    assert metrics["accuracy"] == alone["accuracy"]
    assert metrics["margin_nats"] == pytest.approx(alone["margin_nats"])
    assert metrics["by_group_and_form"].keys() == alone["by_group_and_form"].keys()


def test_a_model_is_evaluated_without_a_probe(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    texts = [as_text(pair) for pair in splits["control"]]
    metrics, items = evaluated(base, tokenizer, splits | {"probe": [], "control": texts})
    assert metrics["probe"] == []
    json.dumps(metrics, allow_nan=False)
    assert ["wrong_form" in item for item in items if item["split"] == "control"] == [False] * 2


def test_greedy_accuracy_needs_the_token_that_ends_the_form(
    bigram: MakeBigram, pair: TokenizedPair
) -> None:
    for after, correct in ((END, True), (D, False)):
        model = bigram({(ASK, COME): 0.9, (COME, after): 0.9, (after, OTHER): 0.9})
        (score,) = scores_of(model, [pair])
        assert score.greedy_is_correct is correct
        assert greedy_accuracy([score]) == float(correct)


# --- further control sets -------------------------------------------------------------------------


def test_control_set_of_texts_has_perplexity_and_no_accuracy(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    texts = [as_text(pair) for pair in splits["control"]]
    metrics, items = evaluated(base, tokenizer, {**splits, "controls/french": texts})
    french = metrics["controls"]["french"]
    of_pairs = metrics["control"]["perplexity"]["text"]  # of the same tokens
    assert french["perplexity"] == {
        "text": pytest.approx(of_pairs),
        "target": french["perplexity"]["text"],
    }
    assert french["n"] == len(texts)
    assert "accuracy" not in french and "by_group_and_form" not in french
    rows = [item for item in items if item["split"] == "controls/french"]
    assert [row["id"] for row in rows] == [pair.id for pair in texts]
    assert not {"margin_nats", "correct", "wrong_form"} & set().union(*rows)
    nll = sum(float(row["text_nll_nats"]) for row in rows)
    tokens = sum(row["text_tokens"] for row in rows)
    assert french["perplexity"]["text"] == pytest.approx(math.exp(nll / tokens), rel=1e-5)


def test_further_control_set_of_pairs_has_an_accuracy(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    metrics, items = evaluated(base, tokenizer, {**splits, "controls/blimp": splits["val"]})
    bound = tokenizer.vocab_size / 2  # which a base of random weights exceeds
    assert metrics["controls"] == {"blimp": {**metrics["val"], "unknown_above": bound}}
    assert [item["split"] for item in items][-2:] == ["controls/blimp"] * 2


def test_without_further_control_sets_nothing_is_said_of_them(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    metrics, items = evaluated(base, tokenizer, splits)
    assert "controls" not in metrics
    assert {item["split"] for item in items} == {"val", "test", "control"}


def test_a_model_that_knows_a_control_set_and_not_another(
    bigram: MakeBigram, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> None:
    known = as_text(splits["control"][0])
    strange = replace(known, target_ids=known.target_ids[::-1])
    model = bigram(chain(*known.prompt_ids, *known.target_ids))
    sets = {"control": [known], "controls/strange": [strange]}
    metrics, _ = evaluated(model, tokenizer, {**splits, **sets})
    assert "unknown_above" not in metrics["control"]
    assert metrics["controls"]["strange"]["unknown_above"] == tokenizer.vocab_size / 2
