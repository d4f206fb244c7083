"""What a config's values must be to one another, and which files it names must be there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from minituner.data.corpus import corpus_files
from minituner.data.filter import check_known
from minituner.data.split import SplitSettings, shares_of
from minituner.data.verbs import load_verbs
from minituner.errors import UserError
from minituner.pipeline.config_schema import Problem, problem
from minituner.storage.sections import nearest

Config = Mapping[str, Any]
SHARES = ("train_share", "val_share", "test_share")
Rule = Callable[[Config], Iterator[Problem | UserError]]


def headline_rank(config: Config) -> Iterator[Problem]:
    """It is one of the sweep's."""
    if config["lora"]["rank"] not in config["ranks"]:
        yield problem(
            "lora.rank",
            "the headline rank is not in the sweep",
            found=f"lora.rank: {config['lora']['rank']}",
            expected=f"one of the ranks {config['ranks']}",
            fix="add it to ranks, or choose another headline rank (lora.rank)",
            compared_with=["ranks"],
        )


def ranks_fit_the_base(config: Config) -> Iterator[Problem]:
    """None is above the width of the layers it adapts."""
    d_model = config["base"]["model"]["d_model"]
    too_large = [rank for rank in config["ranks"] if rank > d_model]
    if too_large and config["base"]["checkpoint"] is None:
        yield problem(
            "ranks",
            "a rank is larger than the layers it adapts",
            found=", ".join(map(str, too_large)),
            expected=f"at most base.model.d_model = {d_model}",
            fix="remove it from ranks",
            compared_with=["base.model.d_model"],
        )


def heads_divide_the_width(config: Config) -> Iterator[Problem]:
    """Each head gets the same share of d_model."""
    d_model, n_heads = (config["base"]["model"][key] for key in ("d_model", "n_heads"))
    if d_model % n_heads:
        divisors = (d for d in range(1, d_model + 1) if d_model % d == 0)
        yield problem(
            "base.model.n_heads",
            "n_heads does not divide d_model",
            found=f"{n_heads} heads, d_model {d_model}",
            expected="n_heads: a divisor of d_model",
            fix=f"e.g. n_heads: {min(divisors, key=lambda d: abs(d - n_heads))}, or a d_model "
            f"that is a multiple of {n_heads}",
            compared_with=["base.model.d_model"],
        )


def verbs_taught_or_kept(config: Config) -> Iterator[Problem]:
    """No verb is both taught and in the control set."""
    both = set(config["data"]["irregular_verbs"]) & set(config["data"]["regular_verbs"])
    if both:
        yield problem(
            "data",
            "a verb is both taught and in the control set",
            found=", ".join(sorted(both)),
            expected="irregular_verbs and regular_verbs to share none",
            fix="remove it from one of the two",
            at="data.regular_verbs",
            compared_with=["data.irregular_verbs"],
        )


def a_base_or_a_corpus(config: Config) -> Iterator[Problem]:
    """A base of one's own comes with its tokenizer; without one there is something to read."""
    base = config["base"]
    if (base["checkpoint"] is None) != (base["tokenizer"] is None):
        yield problem(
            "base",
            "a base of your own needs both its files",
            found=f"checkpoint: {base['checkpoint']}, tokenizer: {base['tokenizer']}",
            expected="both paths, or null for both",
            fix="name the tokenizer.json that the checkpoint was trained with",
            at="base.tokenizer" if base["checkpoint"] is None else "base.checkpoint",
        )
    if base["checkpoint"] is None and base["corpus"] is None:
        yield problem(
            "base.corpus",
            "there is nothing to pretrain the base on",
            found="null",
            expected="a folder of *.jsonl, or a checkpoint of your own",
            fix="e.g. data/processed/base-corpus",
        )


def seeds_of_further_bases(config: Config) -> Iterator[Problem]:
    """They are not the study's own, and only a base that is pretrained here has them."""
    base = config["base"]
    if base["checkpoint"] is not None and base["seeds"]:
        yield problem(
            "base.seeds",
            "a base of your own has no other seeds",
            found=base["seeds"],
            expected="base.seeds to be an empty list",
            fix="write seeds: [], or let the pipeline pretrain the base: checkpoint: null",
            compared_with=["base.checkpoint"],
        )
    if base["pretrain"]["seed"] in base["seeds"]:
        yield problem(
            "base.seeds",
            "the seed of the study's own base is among base.seeds",
            found=base["pretrain"]["seed"],
            expected="the seeds of further bases",
            fix="remove it from base.seeds",
            compared_with=["base.pretrain.seed"],
        )


def arms_and_runs(config: Config) -> Iterator[Problem]:
    """Their names become folders of their own, and each run can be trained as its arm wants it."""
    for arm, body in config["ablations"].items():
        if arm in ("rank", "bases"):
            yield problem(
                f"ablations.{arm}",
                "the name is taken",
                found=arm,
                expected="any name but rank (the study's folder) and bases (see base.seeds)",
                fix="call the arm something else",
            )
        folders: dict[str, str] = {}
        for name, overlay in body["runs"].items():
            where = f"ablations.{arm}.runs.{name}"
            twin = folders.setdefault(name.casefold(), name)
            if twin != name:
                yield problem(
                    where,
                    "the name is given twice",
                    found=f"{twin} and {name}",
                    expected="names that differ in more than capitals: they become folders",
                    fix="call one of them something else",
                    compared_with=[f"ablations.{arm}.runs.{twin}"],
                )
            if body["ranks"] == "sweep" and (overlay.get("full") or "held_out_verb" in overlay):
                yield problem(
                    where,
                    "cannot be run at every rank",
                    found="full: true or held_out_verb in an arm with ranks: sweep",
                    expected="such a run in an arm with ranks: headline",
                    fix="make an arm of its own for it",
                    compared_with=[f"ablations.{arm}.ranks"],
                )
            yield from _overlay(where, overlay)


def _overlay(where: str, overlay: Config) -> Iterator[Problem]:
    lora, train = overlay.get("lora", {}), overlay.get("train", {})
    if overlay.get("full") and (lora or "loraplus_lr_ratio" in train):
        yield problem(
            where,
            "trains all weights, so it has no adapter",
            found="full: true, and lora or loraplus_lr_ratio",
            expected="one of the two",
            fix="remove what is said of the adapter, or full",
        )
    if {"alpha", "alpha_over_rank"} <= lora.keys():
        yield problem(
            where,
            "says twice what alpha is",
            found="alpha and alpha_over_rank",
            expected="one of the two",
            fix="remove one",
        )


def held_out_verbs(config: Config) -> Iterator[Problem]:
    """A verb that a run leaves out would otherwise be taught."""
    verbs = config["data"]["irregular_verbs"]
    for arm, body in config["ablations"].items():
        for name, overlay in body["runs"].items():
            verb = overlay.get("held_out_verb")
            if body["enabled"] and verb is not None and verb not in verbs:
                where = f"ablations.{arm}.runs.{name}.held_out_verb"
                yield problem(
                    where,
                    "a run leaves out a verb that is not taught",
                    found=f"{where}: {verb}",
                    expected=f"one of data.irregular_verbs: {', '.join(verbs)}",
                    fix=f"{nearest(verb, verbs) or 'name another verb'} Or leave out the arm: "
                    f"ablations.{arm}.enabled: false",
                    compared_with=["data.irregular_verbs", f"ablations.{arm}.enabled"],
                )


def shares_sum_to_one(config: Config) -> Iterator[UserError]:
    """The three splits are all of the pairs."""
    try:
        shares_of(SplitSettings(**{key: config["data"]["split"][key] for key in SHARES}))
    except UserError as error:
        yield error


def verbs_have_forms(config: Config) -> Iterator[UserError]:
    """Those taught and those kept are among data.verbs."""
    data = config["data"]
    if Path(data["verbs"]).is_file():
        try:
            check_known(
                load_verbs(data["verbs"]),
                irregular_verbs=data["irregular_verbs"],
                regular_verbs=data["regular_verbs"],
            )
        except UserError as error:
            yield error


def files_are_there(config: Config) -> Iterator[Problem]:
    """The files that the config names."""
    for key in ("data.verbs", "base.checkpoint", "base.tokenizer"):
        part, name = key.split(".")
        file = config[part][name]
        if file is not None and not Path(file).is_file():
            yield problem(
                key,
                "there is no such file",
                found=file,
                expected="a file, its path relative to the project's folder",
                fix="fix the path, or put the file there",
            )


def corpora_are_there(config: Config) -> Iterator[UserError]:
    """The folders of rows that the config names."""
    for folder in (config["data"]["corpus"], config["base"]["corpus"]):
        try:
            if folder is not None:
                corpus_files(folder)
        except UserError as error:
            yield error


def names_without_braces(config: Config) -> Iterator[UserError]:
    """Snakemake takes {name} in a path for a pattern, and a rule with such an input for one that
    never applies: what it should make would be left as it is, without a word."""
    data, base = config["data"], config["base"]
    names = [data["verbs"], base["checkpoint"], base["tokenizer"]]
    for folder in (data["corpus"], base["corpus"]):
        with suppress(UserError):  # corpora_are_there says it
            names += corpus_files(folder) if folder is not None else []
    for name in names:
        if name is not None and re.search("[{}]", name):
            yield UserError(
                name,
                "has a brace in its name",
                found=re.sub("[^{}]", "", name),
                expected="a path without { and }, which Snakemake takes for a pattern",
                fix="rename it",
            )


# Each rule with the keys it reads: it is only asked where the schema has no quarrel with those.
RULES: tuple[tuple[Iterable[str], Rule], ...] = (
    (("lora.rank", "ranks"), headline_rank),
    (("base.checkpoint", "base.model.d_model", "ranks"), ranks_fit_the_base),
    (("base.model.d_model", "base.model.n_heads"), heads_divide_the_width),
    (("data.irregular_verbs", "data.regular_verbs"), verbs_taught_or_kept),
    (("base.checkpoint", "base.tokenizer", "base.corpus"), a_base_or_a_corpus),
    (("base.checkpoint", "base.seeds", "base.pretrain.seed"), seeds_of_further_bases),
    (("ablations",), arms_and_runs),
    (("ablations", "data.irregular_verbs"), held_out_verbs),
    (("data.verbs", "base.checkpoint", "base.tokenizer"), files_are_there),
    (("data.split",), shares_sum_to_one),
    (("data.verbs", "data.irregular_verbs", "data.regular_verbs"), verbs_have_forms),
    (("data.corpus", "base.corpus"), corpora_are_there),
    (("data", "base"), names_without_braces),
)
