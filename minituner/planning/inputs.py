"""What a plan is computed from: the base, its tokenizer and the pairs, made here where the pipeline
has not made them yet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from minituner.base_files import BaseFiles, base_files, load_base_tokenizer, stored_bytes
from minituner.bases import load_base_model
from minituner.causal_lm import CausalLM
from minituner.compute import ComputeSettings, place
from minituner.data.corpus import corpus_files, read_rows
from minituner.data.encode import tokenize_pair
from minituner.data.filter import filter_corpus
from minituner.data.pairs import (
    FURTHER_CONTROLS,
    SPLITS,
    Pair,
    TokenizedPair,
    read_tokenized_pairs,
)
from minituner.data.rows import base_text
from minituner.data.split import SplitSettings, draw_own_control, split_own, split_pairs
from minituner.data.task_file import read_control, read_own_task, task_files
from minituner.data.verbs import load_verbs
from minituner.fast.minigpt import new_minigpt
from minituner.model import MiniGPTConfig, init_weights
from minituner.pipeline import paths
from minituner.seeding import generator
from minituner.storage.checkpoint import save_base
from minituner.tokenizer import TextTokenizer, save_tokenizer, train_tokenizer

Config = Mapping[str, Any]
TRANSFORMERS = "minituner.hf.loading"  # imported for a transformers base, which takes seconds


@dataclass
class PlanInputs:
    """A base on its device, its tokenizer, and the pairs of every split."""

    model: CausalLM
    tokenizer: TextTokenizer
    splits: Mapping[str, Sequence[TokenizedPair]]  # further control sets as well: controls/french
    base_bytes: int  # of its files of weights
    load_seconds: float
    estimates: list[str] = field(default_factory=list)  # what is not exact, and why

    @property
    def evaluated(self) -> Mapping[str, Sequence[TokenizedPair]]:
        """The splits that are evaluated: all but the training pairs."""
        return {name: pairs for name, pairs in self.splits.items() if name != "train"}


def read_inputs(config: Config) -> PlanInputs:
    """The inputs of the study's training jobs.

    Raises:
        UserError: A file cannot be used, or there are too few pairs.
    """
    estimates: list[str] = []
    checkpoint = config["base"]["checkpoint"]
    made = all(Path(file).is_file() for file in (paths.BASE, paths.TOKENIZER))
    if checkpoint is None and not made:
        estimates.append(
            "the base is not pretrained yet: a base of its shape with random weights is measured"
        )
        with tempfile.TemporaryDirectory() as folder:
            loaded = _load(_random_base(config, Path(folder)), config)
    elif checkpoint is None:
        loaded = _load(BaseFiles(paths.BASE, paths.TOKENIZER), config)
    else:
        loaded = _load(base_files(checkpoint, config["base"]["tokenizer"]), config)
    model, tokenizer, base_bytes, seconds = loaded
    files = {name: Path(paths.tokenized(name)) for name in (*SPLITS, *_further_controls(config))}
    if all(file.is_file() for file in files.values()):
        splits = {name: read_tokenized_pairs(file) for name, file in files.items()}
    else:
        estimates.append(
            "the pairs are not tokenized yet: they are divided and tokenized here, without the "
            "pipeline's checks"
        )
        splits = _tokenized(divided_pairs(config), config, tokenizer, model.context_length)
    return PlanInputs(model, tokenizer, splits, base_bytes, seconds, estimates)


# --- the base -------------------------------------------------------------------------------------


def _load(files: BaseFiles, config: Config) -> tuple[CausalLM, TextTokenizer, int, float]:
    """The base as the training jobs load it, its tokenizer, its bytes, and the seconds it takes."""
    if not isinstance(files.base, str):  # part of a job's start, which is measured by itself
        import_module(TRANSFORMERS)
    started = time.perf_counter()
    compute = ComputeSettings(**config["compute"])
    model = place(load_base_model(files.base, files.tokenizer), compute)
    seconds = time.perf_counter() - started
    start_token = config["base"]["start_token"]
    tokenizer = load_base_tokenizer(files.base, files.tokenizer, model.vocab_size, start_token)
    return model, tokenizer, stored_bytes(files.base), seconds


def _random_base(config: Config, folder: Path) -> BaseFiles:
    """Write a base of the config's shape, with the tokenizer that the pipeline will train."""
    base = config["base"]
    rows = read_rows(corpus_files(base["corpus"]), load_verbs(config["data"]["verbs"]))
    tokenizer = train_tokenizer(map(base_text, rows), base["vocab_size"])
    model = new_minigpt(MiniGPTConfig(vocab_size=tokenizer.vocab_size, **base["model"]))
    init_weights(model, generator(base["pretrain"]["seed"], "base init"))
    files = BaseFiles(str(folder / "best.pt"), str(folder / "tokenizer.json"))
    save_tokenizer(tokenizer, files.tokenizer)
    save_base(str(files.base), model, files.tokenizer)
    return files


# --- the pairs ------------------------------------------------------------------------------------


def divided_pairs(config: Config) -> dict[str, list[Pair]]:
    """The pairs of every split, as the stages up to ``split`` will choose them.

    Raises:
        UserError: A file cannot be used, or a split would have too few pairs.
    """
    task, data = config["task"], config["data"]
    sizes = {field.name: data["split"][field.name] for field in fields(SplitSettings)}
    settings, seed = SplitSettings(**sizes), data["seed"]
    if task["pairs"] is None:
        verbs = [data[key] for key in ("verbs", "irregular_verbs", "regular_verbs")]
        pairs, control, _ = filter_corpus(corpus_files(data["corpus"]), *verbs)
        splits = split_pairs(pairs, control, settings, seed)
    else:
        first = next(iter(task["controls"].values()))
        own = read_own_task(task_files(task["pairs"]), task_files(first["file"]))
        pairs, control = (found.pairs for found in own)
        splits = split_own(pairs, control, settings, seed, task["scoring"])
    for name, file in _further_controls(config).items():
        items = read_control(task_files(file)).pairs
        splits[name] = draw_own_control(items, pairs, settings, seed, name)
    return splits


def _further_controls(config: Config) -> dict[str, str]:
    """The file of each control set besides the first, by the name of its split."""
    task = config["task"]
    further = list(task["controls"].items())[0 if task["pairs"] is None else 1 :]
    return {f"{FURTHER_CONTROLS}{name}": control["file"] for name, control in further}


def _tokenized(
    splits: Mapping[str, Sequence[Pair]],
    config: Config,
    tokenizer: TextTokenizer,
    context_length: int,
) -> dict[str, list[TokenizedPair]]:
    """The pairs of every split as token ids, without those that are too long for the model."""
    scoring = config["task"]["scoring"]
    encoded = {
        name: [tokenize_pair(pair, tokenizer, scoring=scoring) for pair in pairs]
        for name, pairs in splits.items()
    }
    return {
        name: [pair for pair in pairs if pair.tokens <= context_length]
        for name, pairs in encoded.items()
    }
