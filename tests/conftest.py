"""Fixtures that several test modules share: a tiny tokenizer, a tiny base, a few pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from models import Bigram, tuned_copy
from torch import Tensor

from minituner import commands
from minituner.data.encode import tokenize_pair
from minituner.data.pairs import Pair, TokenizedPair
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPT, MiniGPTConfig
from minituner.seeding import seed_everything
from minituner.tokenizer import TextTokenizer, train_tokenizer

CONTEXT = 32
FORMS = (  # verb, form, prompt, correct, spanish, wrong
    ("go", "past_simple", "He __ to school yesterday.", "went", "fue", "goed"),
    ("go", "past_participle", "She has __ home.", "gone", "ido", "goed"),
    ("come", "past_participle", "They have __ to the party.", "come", "venido", "comed"),
    ("eat", "past_simple", "We __ the soup last night.", "ate", "comimos", "eated"),
    ("walk", "past_simple", "He __ home yesterday.", "walked", "caminó", "walken"),
    ("walk", "past_participle", "We have __ to school.", "walked", "", "walken"),
)


@pytest.fixture(autouse=True)
def study_of_the_process() -> Iterator[None]:
    """A command sets the study that messages name; the next test has the project's own again."""
    yield
    commands.use_study(commands.Study())


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> None:
    """Every test starts from the same state of every random stream."""
    seed_everything(0)


@pytest.fixture(scope="session")
def raw_pairs() -> list[Pair]:
    """A few fill-in pairs, one without Spanish."""
    return [
        Pair(
            f"t-{i}",
            verb,
            form,
            "time_last",
            "",
            prompt,
            correct,
            f" / {spanish}",
            (wrong,),
            f"t.jsonl:{i}",
        )
        for i, (verb, form, prompt, correct, spanish, wrong) in enumerate(FORMS, start=1)
    ]


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    """About 350 tokens; `` went``, `` walked`` and `` walken`` are one token each."""
    words = [f"{prompt} => {right} / {spanish}" for _, _, prompt, right, spanish, _ in FORMS]
    forms = "walken walken walked walked goed went come comed"
    return train_tokenizer([*words, forms] * 5, 350)


@pytest.fixture(scope="session")
def pairs(raw_pairs: list[Pair], tokenizer: TextTokenizer) -> list[TokenizedPair]:
    """The pairs as the model reads them."""
    return [tokenize_pair(pair, tokenizer) for pair in raw_pairs]


@pytest.fixture
def config(tokenizer: TextTokenizer) -> MiniGPTConfig:
    """Two layers, just wide enough for rank 32."""
    return MiniGPTConfig(tokenizer.vocab_size, CONTEXT, d_model=32, n_layers=2, n_heads=4)


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
    """Copies of ``base`` with adapters that do something, in ``eval`` mode: see
    :func:`models.tuned_copy`."""
    return lambda *targets, **options: tuned_copy(base, targets, **options)


@pytest.fixture
def tuned(make_tuned: Callable[..., MiniGPT]) -> MiniGPT:
    """One such copy."""
    return make_tuned("q_proj", "mlp.fc2")


@pytest.fixture
def bigram(config: MiniGPTConfig) -> Callable[..., Bigram]:
    """Makes models of given probabilities; without any, one that knows nothing."""
    return lambda likely=None: Bigram(config, likely or {})


@pytest.fixture
def ids(tokenizer: TextTokenizer) -> Tensor:
    """Three sequences of eight random tokens."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(tokenizer.vocab_size, (3, 8), generator=generator)
