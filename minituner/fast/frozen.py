"""What no adapter can change: the model below its lowest adapter, computed once a text.

The base is frozen and dropout acts in adapters alone, so up to the lowest adapter every epoch and
every seed computes the same. Where that adapter is on an ``fc2``, as in the study, all of its block
but the adapter itself is spared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from minituner.data.batches import Example, collate
from minituner.lora import LoRALinear, lora_layers
from minituner.model import Entry, MiniGPT

KEPT_BYTES = 2**28  # at most, for one list of examples; longer ones are computed anew each time
BATCH_SIZE = 128  # examples


@torch.no_grad()
def keep_frozen_part(model: MiniGPT, examples: Sequence[Example], pad_id: int) -> list[Example]:
    """The examples with their entry above the frozen part of a wrapped model.

    They have none where :func:`lowest_adapted_fc2` is None, and where the entries would take more
    than ``KEPT_BYTES``.
    """
    block = lowest_adapted_fc2(model)
    tokens = sum(len(example.ids) - 1 for example in examples)
    if block is None or 4 * tokens * 6 * model.config.d_model > KEPT_BYTES:
        return [replace(example, entry=None) for example in examples]
    kept = []
    for start in range(0, len(examples), BATCH_SIZE):
        chosen = examples[start : start + BATCH_SIZE]
        entries = _entries(model, chosen, pad_id, block)
        kept += [
            replace(example, entry=entry) for example, entry in zip(chosen, entries, strict=True)
        ]
    return kept


def _entries(
    model: MiniGPT, examples: Sequence[Example], pad_id: int, block: int
) -> Iterator[Entry]:
    """Each example's entry into a block."""
    batch = collate(examples, pad_id, share=True)
    residual, hidden = model.before_fc2(batch.input_ids, batch.layout, block)
    fc2 = model.block(block).mlp.fc2
    assert isinstance(fc2, LoRALinear)
    entry = Entry(block, residual, hidden, fc2.base(hidden))
    mask = batch.layout.mask
    rows = batch.layout.rows.view(mask.shape)
    return (entry.choose(rows[b, mask[b]]) for b in range(len(examples)))


def lowest_adapted_fc2(model: MiniGPT) -> int | None:
    """The block whose ``fc2`` bears the lowest adapter of all; None if another layer does, or the
    last block, which computes the wanted tokens alone."""
    lowest = next((name for name, _ in lora_layers(model)), "")
    for index in range(model.config.n_layers - 1):
        if lowest == f"blocks.{index}.mlp.fc2":
            return index
    return None
