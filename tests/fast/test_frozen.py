"""What is computed once must be what would have been computed again: entries, shared beginnings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from minituner.fast.frozen import keep_frozen_part, lowest_adapted_fc2

from minituner.adapter_tensors import lora_parameters
from minituner.batches import IGNORE_INDEX, Batch, Example, pad
from minituner.data.pairs import TokenizedPair
from minituner.fast import frozen
from minituner.loop import token_losses
from minituner.lora import lora_layers, merge_, reset_adapters, wrap_minigpt_with_lora
from minituner.model import MiniGPT
from minituner.train import completion_examples

PAD_ID = 2


@pytest.fixture
def examples(pairs: list[TokenizedPair]) -> list[Example]:
    """The pairs as they are trained on."""
    return completion_examples(pairs)


def tuned(base: MiniGPT, *targets: str, seed: int = 0, **options: bool) -> MiniGPT:
    """Adapters that do something, in float64."""
    model = wrap_minigpt_with_lora(
        copy.deepcopy(base), 4, target_modules=targets, dropout=0.3, seed=seed, **options
    )
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.lora_B)
    return model.double()


def losses_and_gradients(model: MiniGPT, batch: Batch) -> list[torch.Tensor]:
    losses = token_losses(model, batch)
    losses.sum().backward()
    gradients = [parameter.grad for parameter in lora_parameters(model)]
    assert all(gradient is not None and gradient.any() for gradient in gradients)
    for parameter in lora_parameters(model):
        parameter.grad = None
    return [losses.detach(), *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}])
@pytest.mark.parametrize("targets", [("mlp.fc2",), ("blocks.1.mlp.fc2", "blocks.2.attn.q_proj")])
@pytest.mark.parametrize("training", [True, False])
def test_with_its_entry_a_batch_has_the_same_losses_and_gradients(
    make_base: Callable[..., MiniGPT],
    examples: list[Example],
    targets: tuple[str, ...],
    options: dict[str, bool],
    training: bool,
) -> None:
    model = tuned(make_base(n_layers=3), *targets, **options).train(training)
    kept = keep_frozen_part(model, examples, PAD_ID)
    assert all(example.entry is not None for example in kept)
    results = []
    for some in (examples, kept):
        reset_to = 7  # the same dropout for both
        for _, layer in lora_layers(model):
            layer.dropout_rng = torch.Generator().manual_seed(reset_to)
        results.append(losses_and_gradients(model, pad([some[i] for i in (3, 0, 4)], PAD_ID)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_entries_of_one_seed_serve_every_other(
    make_base: Callable[..., MiniGPT], examples: list[Example]
) -> None:
    base = make_base()
    kept = keep_frozen_part(tuned(base, "mlp.fc2", seed=0), examples, PAD_ID)
    again = keep_frozen_part(tuned(base, "mlp.fc2", seed=1), examples, PAD_ID)
    for one, other in zip(kept, again, strict=True):
        assert one.entry is not None and other.entry is not None
        assert torch.equal(one.entry.residual, other.entry.residual)
        assert torch.equal(one.entry.hidden, other.entry.hidden)
        assert torch.equal(one.entry.projected, other.entry.projected)


@pytest.mark.parametrize(
    ("targets", "block"),
    [
        (["mlp.fc2"], 0),
        (["blocks.1.mlp.fc2"], 1),
        (["mlp.fc1", "mlp.fc2"], None),  # block 0 has one on fc1, below its fc2
        (["q_proj"], None),
        (["blocks.1.mlp.fc2", "blocks.0.attn.v_proj"], None),
        (["blocks.2.mlp.fc2"], None),  # the last block computes the wanted tokens alone
    ],
)
def test_the_lowest_adapter_decides_what_is_frozen(
    make_base: Callable[..., MiniGPT],
    examples: list[Example],
    targets: list[str],
    block: int | None,
) -> None:
    base = make_base(n_layers=3)
    kept = keep_frozen_part(tuned(base, "mlp.fc2"), examples, PAD_ID)
    model = tuned(base, *targets)
    assert lowest_adapted_fc2(model) == block
    # Entries of another model are not carried over.
    entries = [example.entry for example in keep_frozen_part(model, kept, PAD_ID)]
    assert [entry and entry.block for entry in entries] == [block] * len(examples)


def test_a_base_has_no_frozen_part_of_its_own(base: MiniGPT, examples: list[Example]) -> None:
    assert keep_frozen_part(base, examples, PAD_ID) == examples


def test_what_would_take_too_much_memory_is_not_kept(
    base: MiniGPT, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tuned(base, "mlp.fc2").float()
    tokens = sum(len(example.ids) - 1 for example in examples)
    kept = keep_frozen_part(model, examples, PAD_ID)
    held = sum(
        tensor.numel() * 4
        for example in kept
        if (entry := example.entry) is not None
        for tensor in (entry.residual, entry.hidden, entry.projected)
    )
    assert held == 4 * tokens * 6 * base.config.d_model
    monkeypatch.setattr(frozen, "KEPT_BYTES", held - 1)
    assert keep_frozen_part(model, examples, PAD_ID) == examples


def test_an_entry_into_merged_weights_is_none_of_ours(
    base: MiniGPT, examples: list[Example]
) -> None:
    model = tuned(base, "mlp.fc2").eval()
    before = token_losses(model, pad(examples, PAD_ID))
    merge_(model)
    merged = token_losses(model, pad(keep_frozen_part(model, examples, PAD_ID), PAD_ID))
    torch.testing.assert_close(merged, before, rtol=1e-9, atol=1e-9)


# --- shared beginnings ----------------------------------------------------------------------------


def test_beginnings_in_common_are_computed_once() -> None:
    texts = [[1, 5, 6, 7, 9], [1, 5, 6, 8, 9], [1, 4, 6, 7], [1, 5]]
    layout = pad([Example(text, 1) for text in texts], PAD_ID, share=True).layout
    # 1 5 6 7, then 8 of the second, then 4 6 of the third; the last token of a text is no input.
    assert layout.places.tolist() == [0, 1, 2, 3, 7, 9, 10]
    rows = layout.rows.view(4, 4)
    assert rows[layout.mask].tolist() == [0, 1, 2, 3, 0, 1, 2, 4, 0, 5, 6, 0]


@pytest.mark.parametrize("keep", [False, True])
def test_sharing_changes_no_score(
    make_base: Callable[..., MiniGPT], pairs: list[TokenizedPair], keep: bool
) -> None:
    model = tuned(make_base(n_layers=3), "mlp.fc2").eval()
    wrong = [replace(pair, target_ids=pair.wrong_ids) for pair in pairs]
    examples = completion_examples([*pairs, *wrong, *pairs])
    if keep:
        examples = keep_frozen_part(model, examples, PAD_ID)
    plain, shared = (pad(examples, PAD_ID, share) for share in (False, True))
    assert len(shared.layout.places) < 0.6 * len(plain.layout.places)
    assert torch.equal(plain.labels, shared.labels) and (plain.labels != IGNORE_INDEX).any()
    torch.testing.assert_close(
        token_losses(model, shared), token_losses(model, plain), rtol=1e-12, atol=1e-12
    )


def test_seeds_start_from_the_same_entries_after_a_reset(
    base: MiniGPT, examples: list[Example]
) -> None:
    model = wrap_minigpt_with_lora(base, 4, target_modules=["mlp.fc2"], seed=0)
    kept = keep_frozen_part(model, examples, PAD_ID)
    reset_adapters(model, 1)
    untouched = token_losses(model.eval(), pad(kept, PAD_ID))
    torch.testing.assert_close(untouched, token_losses(model, pad(examples, PAD_ID)))
