"""Rules of the config that no schema can express: how values must agree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minituner.data.split import SplitSettings, shares_of
from minituner.errors import UserError
from minituner.hf.hub import is_transformers
from minituner.pipeline.config_adapter import layers_exist, targets_exist
from minituner.pipeline.config_files import (
    base_can_be_used,
    corpora_exist,
    corpus_is_the_bases,
    files_exist,
    names_without_braces,
    verbs_have_forms,
)
from minituner.pipeline.config_runs import (
    held_out_verbs,
    names_of_arms_and_runs,
    run_combinations,
)
from minituner.pipeline.config_task import (
    controls_have_different_names,
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


# --- other checks --------------------------------------------------------------------------------


def shares_sum_to_one(config: Config) -> Iterator[UserError]:
    """The three splits together are all pairs."""
    try:
        shares_of(SplitSettings(**{key: config["data"]["split"][key] for key in SHARES}))
    except UserError as error:
        yield error


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
    (("base.checkpoint", "base.corpus"), corpus_is_the_bases),
    (("data.split",), shares_sum_to_one),
    (("task", "data"), task_has_its_files),
    (("task",), task_files_exist),
    (("task",), controls_have_different_names),
    (("task", "data.verbs", "data.irregular_verbs", "data.regular_verbs"), verbs_have_forms),
    (("task", "data.corpus", "base.corpus"), corpora_exist),
    (("task", "data", "base"), names_without_braces),
)
