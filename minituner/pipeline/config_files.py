"""Rules about the files that the config names: they exist, and can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from minituner.base_files import base_files
from minituner.data.corpus import corpus_files
from minituner.data.filter import check_known
from minituner.data.task_file import task_files
from minituner.data.verbs import load_verbs
from minituner.errors import UserError
from minituner.hf.hub import is_transformers
from minituner.pipeline.config_task import VERB_KEYS, has_own_task, named_task_files
from minituner.pipeline.project import PROJECT
from minituner.storage.schema import Problem

Config = Mapping[str, Any]
BASE_CORPUS = "data/processed/base-corpus"  # the default: what the project pretrains its base on


def verbs_have_forms(config: Config) -> Iterator[UserError]:
    """The taught verbs and those of the control set are in data.verbs."""
    data = config["data"]
    if has_own_task(config) or not all(key in data for key in VERB_KEYS):
        return
    if Path(data["verbs"]).is_file():
        try:
            check_known(
                load_verbs(data["verbs"]),
                irregular_verbs=data["irregular_verbs"],
                regular_verbs=data["regular_verbs"],
            )
        except UserError as error:
            yield error


def files_exist(config: Config) -> Iterator[Problem]:
    """The files that the config names."""
    for keys in (("data", "verbs"), ("base", "checkpoint"), ("base", "tokenizer")):
        file = config[keys[0]].get(keys[1])
        if keys == ("data", "verbs") and not _reads_verbs(config):
            continue
        folder = keys == ("base", "checkpoint") and is_transformers(file)
        if file is not None and not folder and not Path(file).is_file():
            yield Problem(
                keys,
                "there is no such file",
                found=file,
                expected="a file, its path relative to the study's folder",
                fix="fix the path, or put the file there",
            )


def base_can_be_used(config: Config) -> Iterator[UserError]:
    """A folder, or a model of the hub, holds a causal language model and its tokenizer."""
    checkpoint, tokenizer = config["base"]["checkpoint"], config["base"]["tokenizer"]
    if checkpoint is not None and checkpoint.endswith((".safetensors", ".bin")):
        yield UserError(
            checkpoint,
            "is only a part of a transformers model",
            found="a file of weights",
            expected="the folder that it is in, or the .pt file of a MiniGPT",
            fix=f"name the folder: {Path(checkpoint).parent}",
        )
    if is_transformers(checkpoint) and (tokenizer is None or Path(tokenizer).is_file()):
        try:
            base_files(checkpoint, tokenizer)
        except UserError as error:
            yield error


def corpus_is_the_bases(config: Config) -> Iterator[Problem]:
    """A transformers base is not said to have read the corpus that the project pretrains on."""
    checkpoint, corpus = config["base"]["checkpoint"], config["base"]["corpus"]
    given = is_transformers(checkpoint) and corpus is not None
    if given and Path(corpus).resolve() == PROJECT / BASE_CORPUS:
        yield Problem(
            ("base", "corpus"),
            "is what the project's own base reads, not a transformers model",
            found=corpus,
            expected="null, or the rows that the model was trained on, if you have them",
            fix="write corpus: null under base",
        )


def corpora_exist(config: Config) -> Iterator[UserError]:
    """The folders of rows that the config names."""
    for folder in _corpora(config):
        try:
            corpus_files(folder)
        except UserError as error:
            yield error


def _corpora(config: Config) -> list[str]:
    """The folders of rows that are read."""
    own = [] if has_own_task(config) else [config["data"].get("corpus")]
    return [folder for folder in (*own, config["base"]["corpus"]) if folder is not None]


def _reads_verbs(config: Config) -> bool:
    """Whether the forms of verbs are needed: to read a corpus of rows."""
    return not has_own_task(config) or config["base"]["corpus"] is not None


def names_without_braces(config: Config) -> Iterator[UserError]:
    """Snakemake treats {name} in a path as a pattern, and never applies a rule with such an input:
    its outputs would silently not be updated."""
    base = config["base"]
    names = [base["checkpoint"], base["tokenizer"]]
    names += [config["data"].get("verbs")] if _reads_verbs(config) else []
    with suppress(UserError):  # corpora_exist and task_files_exist report it
        for folder in _corpora(config):
            names += corpus_files(folder)
        for file in named_task_files(config):
            names += task_files(file)
    for name in names:
        if name is not None and re.search("[{}]", name):
            yield UserError(
                name,
                "has a brace in its name",
                found=re.sub("[^{}]", "", name),
                expected="a path without { and }, which Snakemake treats as a pattern",
                fix="rename it",
            )
