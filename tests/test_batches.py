"""Examples become padded batches, by hand; every pass covers every example once."""

from __future__ import annotations

import torch
from models import PAD_ID

from minituner.batches import IGNORE_INDEX, Example, Loader, completion_examples, pad, text_examples
from minituner.data.pairs import TokenizedPair
from minituner.seeding import generator
from minituner.tokenizer import TextTokenizer


def test_pad_id_of_the_tests_is_the_tokenizers(tokenizer: TextTokenizer) -> None:
    assert tokenizer.pad_id == PAD_ID


def test_pad_labels_the_next_tokens_where_they_are_scored() -> None:
    batch = pad([Example([1, 5, 6, 9], 2), Example([1, 7], 1), Example([1, 8, 4], 1)], PAD_ID)
    assert batch.input_ids.tolist() == [[1, 5, 6], [1, PAD_ID, PAD_ID], [1, 8, PAD_ID]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]
    assert batch.scored.tolist() == [[False, True, True], [True, False, False], [True, True, False]]
    assert batch.labels.tolist() == [
        [IGNORE_INDEX, 6, 9],
        [7, IGNORE_INDEX, IGNORE_INDEX],
        [8, 4, IGNORE_INDEX],
    ]


def test_completion_examples_score_the_answers_only(pairs: list[TokenizedPair]) -> None:
    batch = pad(completion_examples(pairs), PAD_ID)
    for pair, input_ids, labels in zip(pairs, batch.input_ids, batch.labels, strict=True):
        text = pair.prompt_ids + pair.target_ids
        assert input_ids.tolist()[: len(text) - 1] == text[:-1]
        prompt, answer = len(pair.prompt_ids) - 1, len(pair.target_ids)
        assert labels[:prompt].tolist() == [IGNORE_INDEX] * prompt
        assert labels[prompt : prompt + answer].tolist() == pair.target_ids
        assert (labels[prompt + answer :] == IGNORE_INDEX).all()


def test_text_examples_score_every_token_but_the_first() -> None:
    texts = [[1, 5, 6, 9], [1, 7]]
    batch = pad(text_examples(texts), PAD_ID)
    assert batch.labels.tolist() == [[5, 6, 9], [7, IGNORE_INDEX, IGNORE_INDEX]]


def numbered(n: int) -> list[Example]:
    """Examples that tell which they are by their second token, of several lengths."""
    return [Example([1, 100 + i] + [9] * (i % 3), 1) for i in range(n)]


def seen(loader: Loader) -> list[list[int]]:
    """Which examples are in each batch of one pass."""
    return [[int(label) - 100 for label in batch.labels[:, 0]] for batch in loader]


def test_loader_without_a_generator_keeps_the_order() -> None:
    loader = Loader(numbered(10), 4, PAD_ID)
    assert seen(loader) == seen(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(loader) == 3


def test_loader_covers_every_example_once_in_an_order_of_its_generator() -> None:
    loader = Loader(numbered(10), 4, PAD_ID, generator(0, "batches"))
    first = seen(loader)
    torch.rand(5)  # torch's own stream plays no part
    second = seen(loader)
    for one_pass in (first, second):
        assert [len(batch) for batch in one_pass] == [4, 4, 2]
        assert sorted(i for batch in one_pass for i in batch) == list(range(10))
    assert first != second
    again = Loader(numbered(10), 4, PAD_ID, generator(0, "batches"))
    assert [seen(again), seen(again)] == [first, second]
    assert seen(Loader(numbered(10), 4, PAD_ID, generator(1, "batches"))) != first


def test_texts_of_a_batch_are_without_padding() -> None:
    texts = [[1, 5, 6, 7, 9], [1, 4, 6], [1, 5]]
    batch = pad([Example(text, 1) for text in texts], PAD_ID)
    assert batch.texts() == [text[:-1] for text in texts]  # the last token is not an input
