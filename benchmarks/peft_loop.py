"""PEFT's layer in a plain PyTorch loop, on minituner's model (the textbook forward pass) or on a
Llama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import work


def main() -> None:
    options, config = work.parse(), work.settings()
    import torch
    from peft import get_peft_model_state_dict, inject_adapter_in_model

    torch.set_num_threads(options.threads)
    pairs = work.read_pairs()
    train = config["train"]
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        model: Any = inject_adapter_in_model(work.peft_config(options), load(options))
        if options.losses:
            work.start_as_ours(model, options, seed, "{}.default.weight".format)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trainable, lr=train["learning_rate"], weight_decay=train["weight_decay"]
        )
        order = work.batch_order(len(pairs["train"]), train["batch_size"], seed, options.epochs)
        losses = work.Losses(sum(p.numel() for p in trainable), [], [], [])
        for step in range(len(order) + 1):
            if step > 0:
                loss = scored_loss(model, [pairs["train"][i] for i in order[step - 1]], "mean")
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.train.append(loss.item())
            if step % train["validate_every"] == 0 or step == len(order):
                losses.val.append(mean_loss(model, pairs["val"]))
            if step % train["control_every"] == 0 or step == len(order):
                losses.control.append(mean_loss(model, pairs["control"]))
        folder = options.out / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(get_peft_model_state_dict(model), folder / "adapter.pt")
    if options.losses:
        losses.write(options.losses)


def load(options: Any) -> Any:
    """The base, a model of torch or of transformers."""
    if not options.llama:
        return work.load_ours(options)
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(options.llama)


def scored_loss(model: Any, pairs: Sequence[work.Pair], reduction: str) -> Any:
    """The loss of one padded batch, in nats."""
    import torch.nn.functional as F

    batch = work.pad(pairs)
    if hasattr(model, "generate"):  # a model of transformers
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    else:
        logits = model(batch["input_ids"])[:, :-1]
    return F.cross_entropy(
        logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction=reduction
    )


def mean_loss(model: Any, pairs: Sequence[work.Pair]) -> float:
    """The loss in nats over all scored tokens of the pairs, in ``eval`` mode."""
    import torch

    from minituner.batches import EVALUATION_BATCH_SIZE as SIZE

    batches = [pairs[i : i + SIZE] for i in range(0, len(pairs), SIZE)]
    model.eval()
    with torch.no_grad():
        total = sum(scored_loss(model, batch, "sum").item() for batch in batches)
    model.train()
    return float(total / sum(len(target) for _, target in pairs))


if __name__ == "__main__":
    main()
