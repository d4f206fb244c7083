"""transformers, PEFT and Trainer: the usual choice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import work

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    options, config = work.parse(), work.settings()
    import torch
    from peft import get_peft_model
    from torch.utils.data import DataLoader
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments, set_seed

    torch.set_num_threads(options.threads)
    pairs = work.read_pairs()
    train = config["train"]

    class InOurOrder(Trainer):
        """A Trainer that uses the study's batches and records the loss of each step."""

        order: list[list[int]]
        losses: work.Losses

        def get_train_dataloader(self) -> Any:
            return DataLoader(pairs["train"], batch_sampler=self.order, collate_fn=work.pad)

        def compute_loss(self, model: Any, *arguments: Any, **more: Any) -> Any:
            loss = super().compute_loss(model, *arguments, **more)
            if model.training:
                self.losses.train.append(float(loss))
            return loss

    for seed in range(options.seeds):
        set_seed(seed)
        base = AutoModelForCausalLM.from_pretrained(options.llama or options.opt)
        model = get_peft_model(base, work.peft_config(options))
        if options.losses:
            name_of = PEFT_NAME.format if options.llama else name_in_peft
            work.start_as_ours(model, options, seed, name_of)
        arguments = TrainingArguments(**trainer_settings(train, options.out / "trainer", seed))
        trainer = InOurOrder(model, arguments, data_collator=work.pad, eval_dataset=pairs["val"])
        trainer.order = work.batch_order(
            len(pairs["train"]), train["batch_size"], seed, options.epochs
        )
        trainer.losses = work.Losses(
            sum(p.numel() for p in model.parameters() if p.requires_grad), [], [], []
        )
        before = trainer.evaluate(pairs["control"], metric_key_prefix="control")
        trainer.train()
        after = trainer.evaluate(pairs["control"], metric_key_prefix="control")
        model.save_pretrained(options.out / f"seed-{seed}")
    if options.losses:
        history = trainer.state.log_history
        trainer.losses.val = [row["eval_loss"] for row in history if "eval_loss" in row]
        trainer.losses.control = [row["control_loss"] for row in (before, after)]
        trainer.losses.write(options.losses)


def trainer_settings(train: Mapping[str, Any], folder: Path, seed: int) -> dict[str, Any]:
    """The arguments of Trainer for the work that every contestant does."""
    from minituner.batches import EVALUATION_BATCH_SIZE

    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "learning_rate": train["learning_rate"],
        "weight_decay": train["weight_decay"],
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "eval_strategy": "steps",  # also after the last step
        "eval_steps": train["validate_every"],
        "eval_on_start": True,
        "per_device_eval_batch_size": EVALUATION_BATCH_SIZE,
        "prediction_loss_only": True,
        "remove_unused_columns": False,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "seed": seed,
    }


PEFT_NAME = "base_model.model.{}.default.weight"


def name_in_peft(name: str) -> str:
    """PEFT's name, before saving, for a parameter of an adapter of minituner's own model."""
    from minituner.interop.opt_export import opt_name
    from minituner.interop.peft_tensors import PARTS

    layer, _, part = name.rpartition(".")
    return PEFT_NAME.format(f"{opt_name(layer)}.{PARTS[part].removesuffix('.weight')}")


if __name__ == "__main__":
    main()
