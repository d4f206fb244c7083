"""What a plan is computed from: the base, its tokenizer and the pairs, or an estimate of them where
the pipeline has not made them yet."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from minituner.base_files import BaseFiles, base_files, load_base_tokenizer, stored_bytes
from minituner.bases import load_base_model
from minituner.causal_lm import CausalLM
from minituner.compute import ComputeSettings, place
from minituner.data.corpus import corpus_files, read_rows
from minituner.data.encode import tokenize_pair
from minituner.data.filter import filter_corpus
from minituner.data.pairs import SPLITS, Pair, TokenizedPair, read_tokenized_pairs
from minituner.data.rows import base_text
from minituner.data.split import SplitSettings, split_own
from minituner.data.task_file import read_own_task, task_files
from minituner.data.verbs import load_verbs
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPTConfig, init_weights
from minituner.pipeline import paths
from minituner.seeding import generator
from minituner.storage.checkpoint import save_base
from minituner.tokenizer import TextTokenizer, save_tokenizer, train_tokenizer

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
    section = config["base"]
    pretrained = Path(paths.BASE).is_file() and Path(paths.TOKENIZER).is_file()
    if section["checkpoint"] is None and not pretrained:
        estimates.append(
            "the base is not pretrained yet: a base of its shape with random weights is measured"
        )
        model, tokenizer, base_bytes, seconds = _random_base(config, compute)
    else:
        files = _files_of(section)
        started = time.perf_counter()
        model = load_model(files, compute)
        seconds = time.perf_counter() - started
        start = section["start_token"]
        tokenizer = load_base_tokenizer(files.base, files.tokenizer, model.vocab_size, start)
        base_bytes = stored_bytes(files.base)
    if all(Path(paths.tokenized(name)).is_file() for name in SPLITS):
        splits = {name: read_tokenized_pairs(paths.tokenized(name)) for name in SPLITS}
    else:
        estimates.append(
            "the pairs are not tokenized yet: their number follows from the study's data and from "
            "data.split"
        )
        splits = estimated_splits(config, tokenizer, model.context_length)
    return PlanInputs(model, tokenizer, splits, base_bytes, seconds, estimates)


def _files_of(base: Config) -> BaseFiles:
    """The files of the base that the section ``base`` of the config names, or the pretrained one's.

    Raises:
        UserError: They cannot be used.
    """
    if base["checkpoint"] is None:
        return base_files(paths.BASE, paths.TOKENIZER)
    return base_files(base["checkpoint"], base["tokenizer"])


def load_model(files: BaseFiles, compute: ComputeSettings) -> CausalLM:
    """The base as the training jobs load it."""
    return place(load_base_model(files.base, files.tokenizer), compute)


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
        loaded = load_model(BaseFiles(str(path), str(tokenizer_path)), compute)
        return loaded, tokenizer, path.stat().st_size, time.perf_counter() - started


def estimated_splits(
    config: Config, tokenizer: TextTokenizer, context_length: int
) -> dict[str, list[TokenizedPair]]:
    """The pairs of the study, divided by ``data.split`` and tokenized; those that are longer than
    the context are left out, which ``tokenize`` may refuse.

    Raises:
        UserError: The data cannot be used.
    """
    own, scoring = config["task"]["pairs"] is not None, config["task"]["scoring"]
    chosen = _own_splits(config) if own else _verb_splits(config)
    tokenized = {
        name: [tokenize_pair(pair, tokenizer, scoring=scoring) for pair in pairs]
        for name, pairs in chosen.items()
    }
    return {
        name: [pair for pair in pairs if pair.tokens <= context_length]
        for name, pairs in tokenized.items()
    }


def _own_splits(config: Config) -> dict[str, list[Pair]]:
    """What ``split`` makes of the task's pairs and its first control set."""
    task, data = config["task"], config["data"]
    control = next(iter(task["controls"].values()))["file"]
    pairs, items = read_own_task(task_files(task["pairs"]), task_files(control))
    sizes = {field.name: data["split"][field.name] for field in fields(SplitSettings)}
    return split_own(
        pairs.pairs, items.pairs, SplitSettings(**sizes), data["seed"], task["scoring"]
    )


def _verb_splits(config: Config) -> dict[str, list[Pair]]:
    """The pairs that ``filter`` keeps, divided by the shares of ``data.split``.

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
    return {
        "train": taught[n_val + n_test :],
        "val": taught[:n_val],
        "test": taught[n_val : n_val + n_test],
        "control": others[:n_control],
        "probe": others[n_control : n_control + n_probe],
    }
