"""The entrance to bases of every kind: a MiniGPT needs nothing of transformers."""

from __future__ import annotations

from pathlib import Path

from project import run_program

from minituner.model import MiniGPT
from minituner.storage.checkpoint import save_base
from minituner.tokenizer import TextTokenizer, save_tokenizer


def test_minigpt_is_loaded_without_transformers(
    base: MiniGPT, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    save_base(tmp_path / "best.pt", base, tmp_path / "tokenizer.json")
    program = (
        "import sys, minituner.train_seeds, minituner.evaluate_seeds\n"
        "from minituner.bases import load_base_model\n"
        "from minituner.base_files import load_base_tokenizer, stored_bytes\n"
        "model = load_base_model('best.pt', 'tokenizer.json')\n"
        "tokenizer = load_base_tokenizer('best.pt', 'tokenizer.json', model.vocab_size)\n"
        "print(model.vocab_size == tokenizer.vocab_size, stored_bytes('best.pt') > 0)\n"
        "print(sorted({'transformers', 'huggingface_hub', 'peft'} & sys.modules.keys()))"
    )
    done = run_program(program, tmp_path)
    assert done.stdout.splitlines() == ["True True", "[]"], done.stderr
