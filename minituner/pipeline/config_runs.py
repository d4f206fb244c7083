"""Rules of the config's ablations: the names of arms and runs, and what a run may combine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minituner.storage.messages import nearest
from minituner.storage.schema import Keys, Problem

Config = Mapping[str, Any]


@dataclass(frozen=True)
class RunRule:
    """A combination that a run of an arm must not have.

    Args:
        broken: Whether it has it, from the arm and the run.
        arm_key: The key of the arm that the run does not agree with, if it is one.
    """

    broken: Callable[[Config, Config], object]
    what: str
    found: str
    expected: str
    fix: str
    arm_key: str | None = None


RUN_RULES = (
    RunRule(
        broken=lambda arm, run: (
            arm["ranks"] == "sweep" and (run.get("full") or "held_out_verb" in run)
        ),
        what="cannot be run at every rank",
        found="full: true or held_out_verb in an arm with ranks: sweep",
        expected="such a run in an arm with ranks: headline",
        fix="move it to a new arm",
        arm_key="ranks",
    ),
    RunRule(
        broken=lambda _arm, run: (
            run.get("full") and (run.get("lora") or "loraplus_lr_ratio" in run.get("train", ()))
        ),
        what="trains all weights, so it has no adapter",
        found="full: true, and lora or loraplus_lr_ratio",
        expected="one of the two",
        fix="remove the keys of the adapter, or full",
    ),
    RunRule(
        broken=lambda _arm, run: {"alpha", "alpha_over_rank"} <= run.get("lora", {}).keys(),
        what="sets alpha twice",
        found="alpha and alpha_over_rank",
        expected="one of the two",
        fix="remove one",
    ),
)


def run_combinations(config: Config) -> Iterator[Problem]:
    """Each run can be trained as its arm requires."""
    for arm, run, keys in _runs(config):
        for rule in RUN_RULES:
            if rule.broken(arm, run):
                others = () if rule.arm_key is None else ((*keys[:2], rule.arm_key),)
                yield Problem(keys, rule.what, rule.found, rule.expected, rule.fix, others=others)


def _runs(config: Config) -> Iterator[tuple[Config, Config, Keys]]:
    """Every arm with each of its runs, and the keys of the run."""
    for name, arm in config["ablations"].items():
        for run, overrides in arm["runs"].items():
            yield arm, overrides, ("ablations", name, "runs", run)


def names_of_arms_and_runs(config: Config) -> Iterator[Problem]:
    """They become folders, so they must be free and differ from each other."""
    for arm in config["ablations"]:
        if arm in ("rank", "bases"):
            yield Problem(
                ("ablations", arm),
                "the name is taken",
                found=arm,
                expected="any name except rank (the study's folder) and bases (see base.seeds)",
                fix="rename the arm",
            )
    first: dict[tuple[str, str], Keys] = {}
    for _, _, keys in _runs(config):
        twin = first.setdefault((keys[1], keys[-1].casefold()), keys)
        if twin != keys:
            yield Problem(
                keys,
                "the name is used twice",
                found=f"{twin[-1]} and {keys[-1]}",
                expected="names that differ in more than capitals: they become folders",
                fix="rename one of them",
                others=(twin,),
            )


def held_out_verbs(config: Config) -> Iterator[Problem]:
    """A verb that a run leaves out is one that would otherwise be taught."""
    own_task = config["task"]["pairs"] is not None
    verbs = config["data"].get("irregular_verbs", [])
    for arm, run, keys in _runs(config):
        verb = run.get("held_out_verb")
        if arm["enabled"] and verb is not None and own_task:
            enabled = (*keys[:2], "enabled")
            yield Problem(
                (*keys, "held_out_verb"),
                "a run leaves out a verb, and the task is not the study's verbs",
                found=verb,
                expected="no held_out_verb with pairs of your own (task.pairs)",
                fix=f"remove the run, or disable the arm: {'.'.join(enabled)}: false",
                others=(("task", "pairs"), enabled),
            )
        elif arm["enabled"] and verb is not None and verb not in verbs:
            enabled = (*keys[:2], "enabled")
            yield Problem(
                (*keys, "held_out_verb"),
                "a run leaves out a verb that is not taught",
                found=verb,
                expected=f"one of data.irregular_verbs: {', '.join(verbs)}",
                fix=f"{nearest(verb, verbs) or 'name another verb'} Or disable the arm: "
                f"{'.'.join(enabled)}: false",
                others=(("data", "irregular_verbs"), enabled),
            )
