"""The config of a task of one's own: what it needs, and what it does without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from minituner.errors import SeveralErrors, UserError
from minituner.pipeline.config import check_config, read_config
from minituner.pipeline.config_task import VERB_KEYS, has_own_task

SCHEMA = ROOT / "rules" / "config.schema.yaml"


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Any]:
    """A study of one's own pairs over a base of one's own: neither verbs nor a corpus."""
    for name in ("pairs.jsonl", "control.jsonl", "french.jsonl", "base.pt", "tokenizer.json"):
        (tmp_path / name).write_text("{}\n")
    config = read_config([ROOT / "config.yaml"])
    for key in VERB_KEYS:
        del config["data"][key]
    config["task"] |= {
        "pairs": str(tmp_path / "pairs.jsonl"),
        "controls": {
            "plain": {"file": str(tmp_path / "control.jsonl")},
            "french-2": {"file": str(tmp_path / "french.jsonl"), "max_drift": 0.05},
        },
    }
    config["base"] |= {
        "checkpoint": str(tmp_path / "base.pt"),
        "tokenizer": str(tmp_path / "tokenizer.json"),
        "corpus": None,
    }
    return config


def refusal(config: dict[str, Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        check_config(config, SCHEMA)
    return caught.value


def test_own_pairs_need_no_verbs(own: dict[str, Any]) -> None:
    check_config(own, SCHEMA)
    assert has_own_task(own)


def test_own_pairs_need_no_corpus_of_verbs(own: dict[str, Any]) -> None:
    """The keys may be there, as in the config that theirs is an overlay on."""
    own["data"] |= {"verbs": "nowhere.yaml", "corpus": "nowhere"}
    own["data"] |= {"irregular_verbs": ["x"], "regular_verbs": ["y"]}
    check_config(own, SCHEMA)


def test_a_base_corpus_is_read_with_verbs(own: dict[str, Any]) -> None:
    own["base"] |= {"checkpoint": None, "tokenizer": None, "corpus": "data/processed/base-corpus"}
    own["data"]["verbs"] = "nowhere.yaml"
    assert str(refusal(own)).startswith("config.yaml: data.verbs: there is no such file")


def test_a_study_of_verbs_needs_its_keys(own: dict[str, Any]) -> None:
    own["task"]["pairs"] = None
    error = refusal(own)
    assert isinstance(error, SeveralErrors)
    assert error.count == len(VERB_KEYS)
    assert "config.yaml: data.verbs: the key is missing" in str(error)


def test_own_pairs_need_a_control(own: dict[str, Any]) -> None:
    own["task"]["controls"] = {}
    assert "task.controls: a task of your own needs a control set" in str(refusal(own))


def test_missing_files_are_reported_at_once(own: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").unlink()
    (tmp_path / "french.jsonl").rename(tmp_path / "french.csv")
    own["task"]["controls"]["french-2"]["file"] = str(tmp_path / "french.csv")
    message = str(refusal(own))
    assert message.count("is not a task file") == 2
    assert "minituner convert" in message


@pytest.mark.parametrize("name", ["a/b", "", "a b", "a.b", "-a", "é"])
def test_names_of_control_sets(own: dict[str, Any], name: str) -> None:
    controls = own["task"]["controls"]
    controls[name] = controls["plain"]
    assert "a name of letters, digits, - and _" in str(refusal(own))


def test_names_that_differ_in_capitals_alone(own: dict[str, Any]) -> None:
    controls = own["task"]["controls"]
    controls["Plain"] = controls["plain"]
    assert "found:    plain and Plain" in str(refusal(own))


@pytest.mark.parametrize("control", [{}, {"file": "x.jsonl", "limit": 1}, {"file": 1}, "x.jsonl"])
def test_malformed_control_sets(own: dict[str, Any], control: object) -> None:
    own["task"]["controls"]["plain"] = control
    assert "task.controls.plain" in str(refusal(own))


def test_braces_in_a_task_file(own: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "{x}.jsonl"
    file.write_text("{}\n")
    own["task"]["pairs"] = str(file)
    assert "has a brace in its name" in str(refusal(own))


def test_no_arm_leaves_out_a_verb(own: dict[str, Any]) -> None:
    own["ablations"]["verbs"]["enabled"] = True
    assert "a run leaves out a verb, and the task is not the study's verbs" in str(refusal(own))
    own["ablations"]["verbs"]["enabled"] = False
    check_config(own, SCHEMA)
