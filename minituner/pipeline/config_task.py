"""Rules of the config's section ``task``: its files, and what a task of one's own needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from minituner.data.task_file import task_files
from minituner.errors import UserError
from minituner.storage.schema import Problem

Config = Mapping[str, Any]
VERB_KEYS = ("verbs", "corpus", "irregular_verbs", "regular_verbs")  # of a study of verbs


def has_own_task(config: Config) -> bool:
    """Whether the pairs are the user's own, and not made of a verb corpus."""
    return config["task"]["pairs"] is not None


def named_task_files(config: Config) -> list[str]:
    """The files and folders of pairs and of control sets that the config names."""
    task = config["task"]
    pairs = [task["pairs"]] if has_own_task(config) else []
    return pairs + [control["file"] for control in task["controls"].values()]


def task_has_its_files(config: Config) -> Iterator[Problem]:
    """A task of one's own has a control set; the study of verbs has its verbs and their corpus."""
    if has_own_task(config):
        if not config["task"]["controls"]:
            yield Problem(
                ("task", "controls"),
                "a task of your own needs a control set",
                found="none",
                expected="at least one, whose perplexity must not rise",
                fix="name one: controls: { name: { file: data/control.jsonl } }",
                others=(("task", "pairs"),),
            )
        return
    for key in VERB_KEYS:
        if key not in config["data"]:
            yield Problem(
                ("data", key),
                "the key is missing",
                found="task.pairs: null",
                expected=f"{key!r}, or pairs of your own under task.pairs",
                fix="add it, as in config.yaml of the repository",
                missing=True,
            )


def task_files_exist(config: Config) -> Iterator[UserError]:
    """The files of pairs and control sets that the config names."""
    for file in named_task_files(config):
        try:
            task_files(file)
        except UserError as error:
            yield error


def controls_have_different_names(config: Config) -> Iterator[Problem]:
    """They become files, and some disks do not tell capitals from small letters."""
    first: dict[str, str] = {}
    for name in config["task"]["controls"]:
        twin = first.setdefault(name.casefold(), name)
        if twin != name:
            yield Problem(
                ("task", "controls", name),
                "the name is used twice",
                found=f"{twin} and {name}",
                expected="names that differ in more than capitals: they become files",
                fix="rename one of them",
            )
