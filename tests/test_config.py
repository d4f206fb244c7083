"""The shipped config fits its schema, and every bad value is refused by its key."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from minituner.config import check_config, config_subset, read_config
from minituner.errors import UserError
from minituner.intervals import StatisticsSettings
from minituner.pretrain import PretrainConfig
from minituner.train import LoRATrainConfig

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "rules" / "config.schema.yaml"


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return read_config([ROOT / "config.yaml"])


@pytest.fixture
def config(shipped: dict[str, Any]) -> dict[str, Any]:
    """A copy of its own for every test to change."""
    return copy.deepcopy(shipped)


def test_the_shipped_config_is_accepted(config: dict[str, Any]) -> None:
    check_config(config, SCHEMA)


def test_config_and_schema_have_the_same_keys_at_every_level(config: dict[str, Any]) -> None:
    root = yaml.safe_load(SCHEMA.read_text())

    def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = schema | root["$defs"][schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema:  # a mapping whose keys are the user's: the ablations
            return
        assert set(values) == set(schema["properties"]) == set(schema["required"]), where
        assert schema["additionalProperties"] is False, where
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][key], f"{where}.{key}")

    compare(config, root, "config")


def test_the_config_says_what_the_study_fixes(config: dict[str, Any]) -> None:
    assert config["ranks"] == [2, 4, 8, 16, 32]
    assert config["lora"] | {"target_modules": None} == {
        "rank": 8,
        "alpha": 16,
        "dropout": 0.05,
        "target_modules": None,
        "use_rslora": False,
        "use_dora": False,
    }
    train = LoRATrainConfig(**config["train"])
    assert (train.loraplus_lr_ratio, train.held_out_verb) == (1, None)
    assert (train.learning_rate, train.batch_size, train.epochs) == (1e-4, 16, 3)
    assert (train.validate_every, train.control_every) == (50, 100)
    PretrainConfig(**config["base"]["pretrain"])
    StatisticsSettings(**config["statistics"])


ARM = {"enabled": True, "ranks": "headline", "runs": {"it": {}}}


def put(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            config = config[parent]
        del config[last]

    return change


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        (put("lora.rnak", 8), "lora", "did you mean 'rank'?"),
        (put("sedes", [0]), "top level", "did you mean 'seeds'?"),
        (put("lora.alpha", "16"), "lora.alpha", "of type number"),
        (put("train.learning_rate", "1e-4"), "train.learning_rate", "write 0.0001, without quotes"),
        (put("train.held_out_verb", "eat"), "train", "unknown key 'held_out_verb'"),
        (put("base.seeds", [0]), "base.seeds", "the seeds of further bases"),
        (put("ablations.rank", ARM), "ablations.rank", "the name is taken"),
        (put("ablations.Mine", ARM), "ablations", "a name of letters"),
        (put("ablations.mine", ARM | {"runs": {}}), "ablations.mine.runs", "at least 1"),
        (put("ablations.mine", ARM | {"ranks": "all"}), "ablations.mine.ranks", "one of sweep"),
        (
            put("ablations.scaling.runs.up/there", {}),
            "ablations.scaling.runs",
            "a name of letters",
        ),
        (
            put("ablations.scaling.runs.mine", {"lora": {"rank": 4}}),
            "ablations.scaling.runs.mine.lora",
            "unknown key 'rank'",
        ),
        (
            put("ablations.full.runs.mine", {"full": True, "lora": {"alpha": 4}}),
            "ablations.full.runs.mine",
            "it has no adapter",
        ),
        (
            put("ablations.full.runs.mine", {"held_out_verb": "eet"}),
            "ablations.full.runs.mine.held_out_verb",
            "did you mean 'see'?",
        ),
        (
            put("ablations.scaling.runs.mine", {"held_out_verb": "eat"}),
            "ablations.scaling.runs.mine",
            "cannot be run at every rank",
        ),
        (
            put("ablations.scaling.runs.mine", {"lora": {"alpha": 4, "alpha_over_rank": 2}}),
            "ablations.scaling.runs.mine",
            "says twice what alpha is",
        ),
        (
            put("ablations.full.runs.mine", {"full": True, "train": {"loraplus_lr_ratio": 4}}),
            "ablations.full.runs.mine",
            "it has no adapter",
        ),
        (put("ablations.scaling.runs.Fixed", {}), "ablations.scaling.runs.Fixed", "twice"),
        (put("ablations.scaling.runs", {1: {}}), "ablations.scaling.runs", "of type string"),
        (put("ranks", "2"), "ranks", "of type array"),
        (put("ranks", [0, 8]), "ranks.0", "at least 1"),
        (put("ranks", [8, 8]), "ranks", "no value twice"),
        (put("ranks", [8, 385]), "ranks", "at most base.model.d_model = 384"),
        (put("ranks", [2, 4]), "lora.rank", "one of the ranks [2, 4]"),
        (put("ranks", []), "ranks", "at least 1"),
        (put("lora.alpha", 0), "lora.alpha", "above 0"),
        (put("lora.alpha", -2), "lora.alpha", "above 0"),
        (put("lora.dropout", 1.0), "lora.dropout", "below 1"),
        (put("lora.target_modules", ["v_porj"]), "lora.target_modules.0", "did you mean 'v_proj'?"),
        (put("seeds", [-1]), "seeds.0", "at least 0"),
        (put("train.learning_rate", 0), "train.learning_rate", "above 0"),
        (drop("train.epochs"), "train", "'epochs' as well"),
        (put("base.checkpoint", "config.yaml"), "base", "both paths"),
        (put("base.corpus", None), "base.corpus", "a folder of *.jsonl"),
        (put("data.regular_verbs", ["go"]), "data", "to share none"),
        (put("base.model.n_heads", 5), "base.model.n_heads", "a divisor of d_model"),
        (put("base.corpus", ""), "base.corpus", "''"),
        # YAML's .nan and .inf are floats, and 3.0 is no int: range() would refuse it an hour later.
        (put("lora.alpha", math.nan), "lora.alpha", "nan"),
        (put("train.learning_rate", math.inf), "train.learning_rate", "inf"),
        (put("train.epochs", 3.0), "train.epochs", "of type integer"),
        (put("ranks", [2, 4, 8.0]), "ranks.2", "of type integer"),
    ],
)
def test_a_bad_value_is_refused_by_its_key(
    config: dict[str, Any], change: Callable[[dict[str, Any]], None], where: str, words: str
) -> None:
    change(config)
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    message = str(refusal.value)
    assert message.startswith(f"config.yaml: {where}: ")
    assert words in message
    assert all(part in message for part in ("found:", "expected:", "to mend:"))


def test_a_value_of_the_wrong_kind_is_refused_at_every_key(config: dict[str, Any]) -> None:
    def leaves(values: dict[str, Any], where: str = "") -> list[str]:
        return [
            path
            for key, value in values.items()
            for path in (
                leaves(value, f"{where}{key}.") if isinstance(value, dict) else [f"{where}{key}"]
            )
        ]

    keys = leaves(config)
    assert len(keys) > 40
    for key in keys:
        wrong = copy.deepcopy(config)
        put(key, {})(wrong)
        with pytest.raises(UserError) as refusal:
            check_config(wrong, SCHEMA)
        assert str(refusal.value).startswith(f"config.yaml: {key}: "), key


def test_a_base_of_ones_own_that_is_not_there_is_refused(config: dict[str, Any]) -> None:
    config["base"] |= {"checkpoint": "no/such.pt", "tokenizer": "config.yaml"}
    with pytest.raises(UserError, match=r"base\.checkpoint: there is no such file"):
        check_config(config, SCHEMA)


def test_overlays_replace_only_what_they_name(tmp_path: Path, config: dict[str, Any]) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("lora: {rank: 4}\nranks: [4]\n")
    expected = copy.deepcopy(config)
    expected["lora"]["rank"], expected["ranks"] = 4, [4]
    assert read_config([ROOT / "config.yaml", overlay]) == expected


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- 1\n"])
def test_an_overlay_without_keys_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    """As Snakemake does: "must be given as JSON or YAML with keys at top level"."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    with pytest.raises(UserError, match=r"overlay\.yaml: "):
        read_config([ROOT / "config.yaml", overlay])


def test_a_subset_keeps_its_place(config: dict[str, Any]) -> None:
    assert config_subset(config, "lora.alpha", "lora.rank", "seeds") == {
        "lora": {"alpha": 16, "rank": 8},
        "seeds": [0, 1, 2, 3, 4],
    }
