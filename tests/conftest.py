"""What several test modules share: a tiny tokenizer, a tiny base, a few pairs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from minituner.causal_lm import CausalLM
from minituner.data.pairs import Pair, TokenizedPair
from minituner.data.tokenize import tokenize_pair
from minituner.fast.minigpt import new_minigpt
from minituner.lora import lora_layers, wrap_minigpt_with_lora
from minituner.model import MiniGPT, MiniGPTConfig
from minituner.seeding import seed_everything
from minituner.tokenizer import train_tokenizer

CONTEXT = 32
FORMS = (  # verb, form, prompt, english, spanish, wrong
    ("go", "past_simple", "He __ to school yesterday.", "went", "fue", "goed"),
    ("go", "past_participle", "She has __ home.", "gone", "ido", "goed"),
    ("come", "past_participle", "They have __ to the party.", "come", "venido", "comed"),
    ("eat", "past_simple", "We __ the soup last night.", "ate", "comimos", "eated"),
    ("walk", "past_simple", "He __ home yesterday.", "walked", "caminó", "walken"),
    ("walk", "past_participle", "We have __ to school.", "walked", "", "walken"),
)


class Bigram(CausalLM):
    """A model whose next-token logits are a row of a table: its answers are worked out by hand.

    Args:
        likely: P(next | token) for the pairs that matter; the rest of each row is shared evenly
            among the others.
    """

    def __init__(self, config: MiniGPTConfig, likely: dict[tuple[int, int], float]) -> None:
        super().__init__()
        self.config = config
        V = config.vocab_size
        table = torch.full((V, V), 1 / V, dtype=torch.float64)
        for token in {token for token, _ in likely}:
            row = {after: p for (before, after), p in likely.items() if before == token}
            table[token] = (1 - sum(row.values())) / (V - len(row))
            for after, p in row.items():
                table[token, after] = p
        self.table = table.log()
        self.modes: list[bool] = []  # whether it was in training mode, call by call

    @property
    def context_length(self) -> int:
        return self.config.context_length

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def forward(self, input_ids: Tensor) -> Tensor:
        self.modes.append(self.training)
        return self.table[input_ids]


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> None:
    """Every test starts from the same state of every random stream."""
    seed_everything(0)


@pytest.fixture(scope="session")
def raw_pairs() -> list[Pair]:
    """A few fill-in pairs, one without Spanish."""
    return [
        Pair(f"t-{i}", verb, form, "time_last", "", prompt, english, spanish, wrong, f"t.jsonl:{i}")
        for i, (verb, form, prompt, english, spanish, wrong) in enumerate(FORMS, start=1)
    ]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """About 350 tokens; `` went``, `` walked`` and `` walken`` are one token each."""
    words = [f"{prompt} => {right} / {spanish}" for _, _, prompt, right, spanish, _ in FORMS]
    forms = "walken walken walked walked goed went come comed"
    return train_tokenizer([*words, forms] * 5, 350)


@pytest.fixture(scope="session")
def pairs(raw_pairs: list[Pair], tokenizer: Tokenizer) -> list[TokenizedPair]:
    """The pairs as the model reads them."""
    return [tokenize_pair(pair, tokenizer) for pair in raw_pairs]


@pytest.fixture
def config(tokenizer: Tokenizer) -> MiniGPTConfig:
    """Two layers, just wide enough for rank 32."""
    return MiniGPTConfig(tokenizer.get_vocab_size(), CONTEXT, d_model=32, n_layers=2, n_heads=4)


@pytest.fixture
def make_base(config: MiniGPTConfig) -> Callable[..., MiniGPT]:
    """Bases whose every weight, biases and norms included, is drawn: none hides behind a zero."""

    def make(seed: int = 0, **shape: int) -> MiniGPT:
        generator = torch.Generator().manual_seed(seed)
        model = new_minigpt(replace(config, **shape)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(std=0.2, generator=generator)
                if "ln_" in name and name.endswith("weight"):
                    parameter += 1
        return model

    return make


@pytest.fixture
def base(make_base: Callable[..., MiniGPT]) -> MiniGPT:
    """A base in ``eval`` mode."""
    return make_base()


@pytest.fixture
def make_tuned(base: MiniGPT) -> Callable[..., MiniGPT]:
    """Makes copies of ``base`` with adapters whose every weight is drawn, in ``eval`` mode."""

    def make(*targets: str, **options: Any) -> MiniGPT:
        options = {"dropout": 0.1, "seed": 5, **options}
        model = wrap_minigpt_with_lora(copy.deepcopy(base), 4, 12.0, targets, **options)
        for _, layer in lora_layers(model):
            torch.nn.init.normal_(layer.lora_B)
            if layer.magnitude is not None:
                torch.nn.init.uniform_(layer.magnitude, 0.5, 2.0)
        return model.eval()

    return make


@pytest.fixture
def tuned(make_tuned: Callable[..., MiniGPT]) -> MiniGPT:
    """A copy of ``base`` with an adapter that is not zero, in ``eval`` mode."""
    return make_tuned("q_proj", "mlp.fc2")


@pytest.fixture
def bigram(config: MiniGPTConfig) -> Callable[..., Bigram]:
    """Makes rigged models; without probabilities, one that knows nothing."""
    return lambda likely=None: Bigram(config, likely or {})


@pytest.fixture
def ids(tokenizer: Tokenizer) -> Tensor:
    """Three sequences of eight random tokens."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(tokenizer.get_vocab_size(), (3, 8), generator=generator)
