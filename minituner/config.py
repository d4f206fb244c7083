"""The config is checked before anything runs: by its schema, then for what spans several keys."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from minituner.corpus import read_yaml
from minituner.errors import UserError


def check_config(config: Mapping[str, Any], schema_path: str | Path) -> None:
    """Refuse a config that does not fit its schema or contradicts itself.

    Raises:
        UserError: Naming the first key that is wrong, what was found and what was expected.
    """
    import yaml

    schema = yaml.safe_load(Path(schema_path).read_text(encoding="utf-8"))
    errors = _strict_validator()(schema).iter_errors(dict(config))
    first = min(errors, key=lambda error: [str(part) for part in error.path], default=None)
    if first is not None:
        raise _user_error(first)
    _check_ranks(config)
    _check_verbs(config)
    _check_own_base(config)
    _check_ablations(config)
    _check_files(config)


def _strict_validator() -> Any:
    """JSON Schema takes 3.0 for an integer, and NaN and infinity for numbers: here neither is."""
    import jsonschema  # 0.1 s, so only where a config is read

    def is_integer(_checker: object, value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(checker: object, value: object) -> bool:
        return is_integer(checker, value) or (isinstance(value, float) and math.isfinite(value))

    draft = jsonschema.Draft202012Validator
    kinds = draft.TYPE_CHECKER.redefine_many({"integer": is_integer, "number": is_number})
    return jsonschema.validators.extend(draft, type_checker=kinds)


def read_config(paths: Iterable[str | Path]) -> dict[str, Any]:
    """A config with its overlays, merged key by key as Snakemake does.

    Raises:
        UserError: A file is missing, is not YAML or holds no keys.
    """
    config: dict[str, Any] = {}
    for path in paths:
        overlay = read_yaml(path)
        if not isinstance(overlay, dict):
            raise UserError(
                path,
                "holds no keys",
                found=repr(overlay),
                expected="the keys of config.yaml, or some of them",
                mend="write the keys to change, or leave the file out",
            )
        _merge(config, overlay)
    return config


def _merge(config: dict[str, Any], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), dict):
            _merge(config[key], value)
        else:
            config[key] = value


def config_subset(config: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """Only the named parts of a config, nested as they are there.

    Args:
        keys: Dotted paths, such as ``train`` or ``lora.alpha``.
    """
    subset: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, subset
        for parent in parents:
            source, target = source[parent], target.setdefault(parent, {})
        target[last] = source[last]
    return subset


def _user_error(error: Any) -> UserError:
    """One error of jsonschema in our words."""
    where = f"config.yaml: {'.'.join(map(str, error.absolute_path)) or 'top level'}"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(key for key in error.instance if key not in known)
        return UserError(
            where,
            f"unknown key {unknown!r}",
            found=unknown,
            expected=f"one of {', '.join(known)}",
            mend=nearest(str(unknown), known) or f"remove {unknown!r}",
        )
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return UserError(
            where,
            f"the key {missing!r} is missing",
            found=f"only {', '.join(map(str, error.instance)) or 'nothing'}",
            expected=f"{missing!r} as well",
            mend="take it from the config.yaml that the project ships",
        )
    wording: dict[str, Callable[[Any], str]] = {
        "type": lambda value: f"of type {value if isinstance(value, str) else ' or '.join(value)}",
        "minimum": lambda value: f"at least {value}",
        "maximum": lambda value: f"at most {value}",
        "exclusiveMinimum": lambda value: f"above {value}",
        "exclusiveMaximum": lambda value: f"below {value}",
        "minItems": lambda value: f"a list of at least {value}",
        "minLength": lambda _value: "some text",
        "uniqueItems": lambda _value: "no value twice",
        "minProperties": lambda value: f"at least {value}",
        "pattern": lambda _value: "a name of letters, digits and + _ -, an arm's in lower case",
        "enum": lambda value: f"one of {', '.join(map(str, value))}",
    }
    expected = wording[error.validator](error.validator_value)
    suggestion = nearest(str(error.instance), error.schema.get("enum", ()))
    if error.validator == "type" and (number := _as_number(error.instance)) is not None:
        suggestion = f"write {number}, without quotes: YAML reads 1e-4 as text, 1.0e-4 as a number"
    return UserError(
        where,
        "the value cannot be used",
        found=f"{error.instance!r} ({type(error.instance).__name__})",
        expected=expected,
        mend=suggestion or "change it in config.yaml, or in the overlay given by --configfile",
    )


def _as_number(value: object) -> float | None:
    """The number that a text spells, if it does."""
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """A suggestion for a mistyped word, or ``None`` if nothing is near it."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else None


def _check_ranks(config: Mapping[str, Any]) -> None:
    model, lora = config["base"]["model"], config["lora"]
    if lora["rank"] not in config["ranks"]:
        raise UserError(
            "config.yaml: lora.rank",
            "the headline rank is not in the sweep",
            found=lora["rank"],
            expected=f"one of the ranks {config['ranks']}",
            mend="add it to ranks, or choose another headline rank",
        )
    too_large = [rank for rank in config["ranks"] if rank > model["d_model"]]
    if too_large and config["base"]["checkpoint"] is None:
        raise UserError(
            "config.yaml: ranks",
            "a rank is larger than the layers it adapts",
            found=too_large[0],
            expected=f"at most base.model.d_model = {model['d_model']}",
            mend="remove it from ranks",
        )
    if model["d_model"] % model["n_heads"]:
        raise UserError(
            "config.yaml: base.model.n_heads",
            "does not divide d_model",
            found=f"{model['n_heads']} heads, d_model {model['d_model']}",
            expected="a divisor of d_model",
            mend=f"e.g. {_divisor_near(model['d_model'], model['n_heads'])}",
        )


def _divisor_near(number: int, wanted: int) -> int:
    divisors = (d for d in range(1, number + 1) if number % d == 0)
    return min(divisors, key=lambda d: abs(d - wanted))


def _check_verbs(config: Mapping[str, Any]) -> None:
    both = set(config["data"]["irregular_verbs"]) & set(config["data"]["regular_verbs"])
    if both:
        raise UserError(
            "config.yaml: data",
            "a verb is both taught and in the control set",
            found=", ".join(sorted(both)),
            expected="irregular_verbs and regular_verbs to share none",
            mend="remove it from one of the two",
        )


def _check_own_base(config: Mapping[str, Any]) -> None:
    base = config["base"]
    if (base["checkpoint"] is None) != (base["tokenizer"] is None):
        raise UserError(
            "config.yaml: base",
            "a base of your own needs both its files",
            found=f"checkpoint: {base['checkpoint']}, tokenizer: {base['tokenizer']}",
            expected="both paths, or null for both",
            mend="name the tokenizer.json that the checkpoint was trained with",
        )
    if base["checkpoint"] is None and base["corpus"] is None:
        raise UserError(
            "config.yaml: base.corpus",
            "there is nothing to pretrain the base on",
            found="null",
            expected="a folder of *.jsonl, or a checkpoint of your own",
            mend="e.g. data/processed/base-corpus",
        )


def _check_ablations(config: Mapping[str, Any]) -> None:
    seeds, further = config["base"]["pretrain"]["seed"], config["base"]["seeds"]
    if config["base"]["checkpoint"] is not None and further:
        raise UserError(
            "config.yaml: base.seeds",
            "a base of your own has no other seeds",
            found=further,
            expected="an empty list",
            mend="write seeds: [], or let the pipeline pretrain the base: checkpoint: null",
        )
    if seeds in further:
        raise UserError(
            "config.yaml: base.seeds",
            "holds the seed of the study's own base",
            found=seeds,
            expected="the seeds of further bases",
            mend="remove it from the list",
        )
    reserved = {"rank", "bases"} & set(config["ablations"])
    if reserved:
        raise UserError(
            f"config.yaml: ablations.{min(reserved)}",
            "the name is taken",
            found=min(reserved),
            expected="any name but rank (the study's folder) and bases (see base.seeds)",
            mend="call the arm something else",
        )
    for arm, body in config["ablations"].items():
        names = [name.casefold() for name in body["runs"]]
        for name, overlay in body["runs"].items():
            where = f"config.yaml: ablations.{arm}.runs.{name}"
            if names.count(name.casefold()) > 1:
                raise UserError(
                    where,
                    "the name is given twice",
                    found=f"{name}, in capitals or not",
                    expected="names that differ in more than that: they become folders",
                    mend="call it something else",
                )
            if body["ranks"] == "sweep" and (overlay.get("full") or "held_out_verb" in overlay):
                raise UserError(
                    where,
                    "cannot be run at every rank",
                    found="full: true or held_out_verb in an arm with ranks: sweep",
                    expected="such a run in an arm with ranks: headline",
                    mend="make an arm of its own for it",
                )
            _check_overlay(where, overlay, config["data"]["irregular_verbs"], body["enabled"])


def _check_overlay(
    where: str, overlay: Mapping[str, Any], verbs: Iterable[str], enabled: bool
) -> None:
    lora, train = overlay.get("lora", {}), overlay.get("train", {})
    if overlay.get("full") and (lora or "loraplus_lr_ratio" in train):
        raise UserError(
            where,
            "trains all weights, so it has no adapter",
            found="full: true, and lora or loraplus_lr_ratio",
            expected="one of the two",
            mend="remove what is said of the adapter, or full",
        )
    if {"alpha", "alpha_over_rank"} <= lora.keys():
        raise UserError(
            where,
            "says twice what alpha is",
            found="alpha and alpha_over_rank",
            expected="one of the two",
            mend="remove one",
        )
    verb = overlay.get("held_out_verb")
    if enabled and verb is not None and verb not in verbs:
        raise UserError(
            f"{where}.held_out_verb",
            "is not taught",
            found=verb,
            expected=f"one of data.irregular_verbs: {', '.join(verbs)}",
            mend=nearest(verb, verbs) or "remove the run",
        )


def _check_files(config: Mapping[str, Any]) -> None:
    base = config["base"]
    for key, file in (
        ("data.verbs", config["data"]["verbs"]),
        ("base.checkpoint", base["checkpoint"]),
        ("base.tokenizer", base["tokenizer"]),
    ):
        if file is not None and not Path(file).is_file():
            raise UserError(
                f"config.yaml: {key}",
                "there is no such file",
                found=file,
                expected="a file, its path relative to the project's folder",
                mend="mend the path, or put the file there",
            )
