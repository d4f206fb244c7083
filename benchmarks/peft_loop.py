"""PEFT's layer on our own MiniGPT, in a plain PyTorch loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import work


def main() -> None:
    options, config = work.parse(), work.settings()
    import torch
    import torch.nn.functional as F
    from peft import get_peft_model_state_dict, inject_adapter_in_model

    from minituner.checkpoint import load_base

    torch.set_num_threads(options.threads)
    pairs = work.read_training_pairs()
    train = config["train"]
    dropout = 0.0 if options.losses else config["lora"]["dropout"]
    losses: list[float] = []
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        model: Any = inject_adapter_in_model(
            work.peft_config(options.rank, dropout),
            load_base(work.BASE),
        )
        if options.losses:
            work.start_as_ours(model, options.rank, seed, "{}.default.weight".format)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trainable, lr=train["learning_rate"], weight_decay=train["weight_decay"]
        )
        model.train()
        for chosen in work.batch_order(len(pairs), train["batch_size"], seed, options.epochs):
            batch = work.pad([pairs[i] for i in chosen])
            logits = model(batch["input_ids"])[:, :-1]
            loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if options.losses:
                losses.append(loss.item())
        folder = options.out / f"seed-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(get_peft_model_state_dict(model), folder / "adapter.pt")
    count = sum(p.numel() for p in trainable)
    print(json.dumps({"trained_parameters": count}))
    if options.losses:
        Path(options.losses).write_text(json.dumps(losses))


if __name__ == "__main__":
    main()
