"""Rules of the config that no schema can express: how values must agree, which files must exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.base_files import base_files
from minituner.data.corpus import corpus_files
from minituner.data.filter import check_known
from minituner.data.split import SplitSettings, shares_of
from minituner.data.task_file import task_files
from minituner.data.verbs import load_verbs
from minituner.errors import UserError
from minituner.hf.hub import is_transformers
from minituner.pipeline.config_adapter import layers_exist, targets_exist
from minituner.pipeline.config_runs import (
    held_out_verbs,
    names_of_arms_and_runs,
    run_combinations,
)
from minituner.pipeline.config_task import (
    VERB_KEYS,
    controls_have_different_names,
    has_own_task,
    named_task_files,
    task_files_exist,
    task_has_its_files,
)
from minituner.storage.schema import Keys, Problem, are_sound

Config = Mapping[str, Any]
MISSING = object()  # the value of a missing key
SHARES = ("train_share", "val_share", "test_share")


def rule_problems(config: Config, problems: Collection[Problem]) -> Iterator[Problem | UserError]:
    """Every violation of a rule whose values fit the schema.

    Args:
        problems: What does not fit the schema.
    """
    for rule in VALUE_RULES:
        if are_sound(problems, *map(_keys, rule.keys)):
            yield from rule.problems(config)
    for reads, check in CHECKS:
        if are_sound(problems, *map(_keys, reads)):
            yield from check(config)


def _keys(dotted: str) -> Keys:
    return tuple(dotted.split("."))


# --- values that must agree ----------------------------------------------------------------------


@dataclass(frozen=True)
class ValueRule:
    """Values that must agree. The mistake is at the first, unless another was written after it.

    Args:
        keys: The values, dotted.
        violation: A function of the values, in this order; its result is true if they do not agree.
        found: A format string, as are ``expected`` and ``fix``: ``{0}`` is the first value and
            ``{violation}`` the result of that function.
    """

    keys: tuple[str, ...]
    violation: Callable[..., object]
    what: str
    found: str
    expected: str
    fix: str

    def problems(self, config: Config) -> Iterator[Problem]:
        """The violation, if there is one."""
        first, *others = map(_keys, self.keys)
        values = [_value(config, keys) for keys in (first, *others)]
        if MISSING in values:  # only keys that the study does not use may be
            return
        if violation := self.violation(*values):
            found, expected, fix = (
                text.format(*values, violation=violation)
                for text in (self.found, self.expected, self.fix)
            )
            yield Problem(first, self.what, found, expected, fix, others=tuple(others))


def _value(config: Any, keys: Keys) -> Any:
    """The value of these keys, or :data:`MISSING`."""
    for key in keys:
        if key not in config:
            return MISSING
        config = config[key]
    return config


def _too_large(ranks: Sequence[int], d_model: int, checkpoint: str | None) -> str:
    return ", ".join(str(r) for r in ranks if r > d_model and checkpoint is None)


def _divisor_instead(n_heads: int, d_model: int) -> int | None:
    """The divisor of d_model nearest to ``n_heads``; None if that is one."""
    if d_model % n_heads == 0:
        return None
    divisors = (d for d in range(1, d_model + 1) if d_model % d == 0)
    return min(divisors, key=lambda d: abs(d - n_heads))


def _one_without_the_other(checkpoint: str | None, tokenizer: str | None) -> bool:
    return not is_transformers(checkpoint) and (checkpoint is None) != (tokenizer is None)


def _in_both(regular: Iterable[str], irregular: Iterable[str]) -> str:
    return ", ".join(sorted({*regular} & {*irregular}))


VALUE_RULES = (
    ValueRule(
        keys=("lora.rank", "ranks"),
        violation=lambda rank, ranks: rank not in ranks,
        what="the headline rank is not in the sweep",
        found="lora.rank: {0}",
        expected="one of the ranks {1}",
        fix="add it to ranks, or choose another headline rank (lora.rank)",
    ),
    ValueRule(
        keys=("ranks", "base.model.d_model", "base.checkpoint"),
        violation=_too_large,
        what="a rank is larger than the layers it adapts",
        found="{violation}",
        expected="at most base.model.d_model = {1}",
        fix="remove it from ranks",
    ),
    ValueRule(
        keys=("base.model.n_heads", "base.model.d_model"),
        violation=_divisor_instead,
        what="n_heads does not divide d_model",
        found="{0} heads, d_model {1}",
        expected="n_heads: a divisor of d_model",
        fix="for example n_heads: {violation}, or a d_model that is a multiple of {0}",
    ),
    ValueRule(
        keys=("data.regular_verbs", "data.irregular_verbs"),
        violation=_in_both,
        what="a verb is both taught and in the control set",
        found="{violation}",
        expected="no verb in both irregular_verbs and regular_verbs",
        fix="remove it from one of the two",
    ),
    ValueRule(
        keys=("base.checkpoint", "base.tokenizer"),
        violation=_one_without_the_other,
        what="a MiniGPT of your own needs both its files",
        found="checkpoint: {0}, tokenizer: {1}",
        expected="both paths, or null for both",
        fix="name the tokenizer.json that the checkpoint was trained with",
    ),
    ValueRule(
        keys=("base.start_token", "base.checkpoint"),
        violation=lambda token, checkpoint: token is not None and not is_transformers(checkpoint),
        what="only a transformers base can have another token before a text",
        found="{0}",
        expected="null, which for a MiniGPT is <bos>",
        fix="write start_token: null, or name the folder of a transformers model: base.checkpoint",
    ),
    ValueRule(
        keys=("base.corpus", "base.checkpoint"),
        violation=lambda corpus, checkpoint: corpus is None and checkpoint is None,
        what="there is nothing to pretrain the base on",
        found="null",
        expected="a folder of *.jsonl, or a checkpoint of your own",
        fix="for example data/processed/base-corpus",
    ),
    ValueRule(
        keys=("base.seeds", "base.checkpoint"),
        violation=lambda seeds, checkpoint: seeds and checkpoint is not None,
        what="a base of your own has no other seeds",
        found="{0}",
        expected="an empty list",
        fix="write seeds: [], or let the pipeline pretrain the base: checkpoint: null",
    ),
    ValueRule(
        keys=("compute.dtype", "base.checkpoint"),
        violation=lambda dtype, checkpoint: (
            dtype != "float32" and (checkpoint is None or Path(checkpoint).is_file())
        ),
        what="is not for a MiniGPT",
        found="{0}",
        expected="float32; bfloat16 is for the frozen weights of a transformers base",
        fix="write dtype: float32",
    ),
    ValueRule(
        keys=("base.seeds", "base.pretrain.seed"),
        violation=lambda seeds, seed: seed in seeds,
        what="the seed of the study's own base is among base.seeds",
        found="{1}",
        expected="the seeds of further bases",
        fix="remove it from base.seeds",
    ),
)


# --- the files -----------------------------------------------------------------------------------


def shares_sum_to_one(config: Config) -> Iterator[UserError]:
    """The three splits together are all pairs."""
    try:
        shares_of(SplitSettings(**{key: config["data"]["split"][key] for key in SHARES}))
    except UserError as error:
        yield error


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
        file = _value(config, keys)
        if keys == ("data", "verbs") and not _reads_verbs(config):
            continue
        folder = keys == ("base", "checkpoint") and is_transformers(file)
        if file not in (None, MISSING) and not folder and not Path(file).is_file():
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


# Each check with the keys it reads.
CHECKS: tuple[
    tuple[tuple[str, ...], Callable[[Config], Iterator[Problem] | Iterator[UserError]]], ...
] = (
    (("ablations",), names_of_arms_and_runs),
    (("ablations",), run_combinations),
    (("ablations", "data.irregular_verbs", "task.pairs"), held_out_verbs),
    (("lora.target_modules", "ablations", "base.checkpoint"), targets_exist),
    (("lora.layers", "ablations", "base.checkpoint", "base.model.n_layers"), layers_exist),
    (("task", "data.verbs", "base"), files_exist),
    (("base.checkpoint", "base.tokenizer"), base_can_be_used),
    (("data.split",), shares_sum_to_one),
    (("task", "data"), task_has_its_files),
    (("task",), task_files_exist),
    (("task",), controls_have_different_names),
    (("task", "data.verbs", "data.irregular_verbs", "data.regular_verbs"), verbs_have_forms),
    (("task", "data.corpus", "base.corpus"), corpora_exist),
    (("task", "data", "base"), names_without_braces),
)
