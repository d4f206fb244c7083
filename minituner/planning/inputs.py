"""What a plan is computed from: the base, its tokenizer and the pairs, or an estimate of them where
the pipeline has not made them yet."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minituner.causal_lm import CausalLM
from minituner.compute import ComputeSettings, place
from minituner.data.corpus import corpus_files, read_rows
from minituner.data.encode import tokenize_pair
from minituner.data.filter import filter_corpus
from minituner.data.pairs import SPLITS, TokenizedPair, read_tokenized_pairs
from minituner.data.rows import base_text
from minituner.data.verbs import load_verbs
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPTConfig, init_weights
from minituner.pipeline import paths
from minituner.seeding import generator
from minituner.storage.checkpoint import load_base, save_base
from minituner.tokenizer import TextTokenizer, load_tokenizer, save_tokenizer, train_tokenizer

Config = Mapping[str, Any]


@dataclass
class PlanInputs:
    """A base on its device, its tokenizer, and the pairs of every split."""

    model: CausalLM
    tokenizer: TextTokenizer
    splits: Mapping[str, Sequence[TokenizedPair]]
    base_bytes: int  # of its file
    load_seconds: float
    estimates: list[str] = field(default_factory=list)  # what is not exact, and why


def read_inputs(config: Config) -> PlanInputs:
    """The inputs of the study's training jobs.

    Raises:
        UserError: A file cannot be used.
    """
    estimates: list[str] = []
    compute = ComputeSettings(**config["compute"])
    base = Path(config["base"]["checkpoint"] or paths.BASE)
    tokenizer_path = Path(config["base"]["tokenizer"] or paths.TOKENIZER)
    if config["base"]["checkpoint"] is None and not (base.is_file() and tokenizer_path.is_file()):
        estimates.append(
            "the base is not pretrained yet: a base of its shape with random weights is measured"
        )
        model, tokenizer, base_bytes, seconds = _random_base(config, compute)
    else:
        started = time.perf_counter()
        model = load_model(base, tokenizer_path, compute)
        seconds = time.perf_counter() - started
        tokenizer = load_tokenizer(tokenizer_path, model.vocab_size)
        base_bytes = stored_bytes(base)
    if all(Path(paths.tokenized(name)).is_file() for name in SPLITS):
        splits = {name: read_tokenized_pairs(paths.tokenized(name)) for name in SPLITS}
    else:
        estimates.append(
            "the pairs are not tokenized yet: their number follows from the corpus and the shares "
            "in data.split"
        )
        splits = estimated_splits(config, tokenizer)
    return PlanInputs(model, tokenizer, splits, base_bytes, seconds, estimates)


def load_model(base: Path, tokenizer: Path, compute: ComputeSettings) -> CausalLM:
    """The base as the training jobs load it."""
    return place(load_base(base, tokenizer), compute)


def stored_bytes(base: Path) -> int:
    """The size of the file of a base, or of all weights in its folder."""
    files = [base] if base.is_file() else base.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def _random_base(
    config: Config, compute: ComputeSettings
) -> tuple[CausalLM, TextTokenizer, int, float]:
    """A base of the config's shape, with the tokenizer that the pipeline will train."""
    base = config["base"]
    rows = read_rows(corpus_files(base["corpus"]), load_verbs(config["data"]["verbs"]))
    tokenizer = train_tokenizer(map(base_text, rows), base["vocab_size"])
    model = new_minigpt(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **base["model"]))
    init_weights(model, generator(base["pretrain"]["seed"], "base init"))
    with tempfile.TemporaryDirectory() as folder:
        path, tokenizer_path = Path(folder) / "best.pt", Path(folder) / "tokenizer.json"
        save_tokenizer(tokenizer, tokenizer_path)
        save_base(path, model, tokenizer_path)
        started = time.perf_counter()
        loaded = load_model(path, tokenizer_path, compute)
        return loaded, tokenizer, path.stat().st_size, time.perf_counter() - started


def estimated_splits(config: Config, tokenizer: TextTokenizer) -> dict[str, list[TokenizedPair]]:
    """The pairs that ``filter`` keeps, tokenized and divided by the shares of ``data.split``.

    ``split`` also keeps similar sentences together and holds some out, so its numbers differ by a
    few pairs.
    """
    data, split = config["data"], config["data"]["split"]
    irregular, regular, _ = filter_corpus(
        corpus_files(data["corpus"]), data["verbs"], data["irregular_verbs"], data["regular_verbs"]
    )
    draw = random.Random(data["seed"])
    taught, others = (draw.sample(pairs, len(pairs)) for pairs in (irregular, regular))
    n_val, n_test = (round(len(taught) * split[f"{name}_share"]) for name in ("val", "test"))
    n_control, n_probe = split["control_pairs"], split["probe_sentences"]
    chosen = {
        "train": taught[n_val + n_test :],
        "val": taught[:n_val],
        "test": taught[n_val : n_val + n_test],
        "control": others[:n_control],
        "probe": others[n_control : n_control + n_probe],
    }
    return {name: [tokenize_pair(p, tokenizer) for p in pairs] for name, pairs in chosen.items()}
