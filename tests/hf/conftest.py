from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import tiny_folder

from minituner.tokenizer import TextTokenizer


@pytest.fixture
def folder(tokenizer: TextTokenizer, tmp_path: Path) -> Path:
    """The folder of a tiny Llama, to change."""
    return tiny_folder(tmp_path / "llama", tokenizer)
