"""The shipped config fits its schema, and every bad value is refused by its key."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

from minituner.errors import UserError
from minituner.pipeline.config import check_config, read_config
from minituner.pipeline.config_adapter import layers_exist, targets_exist
from minituner.pipeline.config_task import VERB_KEYS
from minituner.pretrain import PretrainConfig
from minituner.statistics.intervals import StatisticsSettings
from minituner.train import LoRATrainConfig

SCHEMA = ROOT / "rules" / "config.schema.yaml"


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return read_config([ROOT / "config.yaml"])


@pytest.fixture
def config(shipped: dict[str, Any]) -> dict[str, Any]:
    """A copy for each test to change."""
    return copy.deepcopy(shipped)


def test_shipped_config_is_accepted(config: dict[str, Any]) -> None:
    check_config(config, SCHEMA)


def test_schema_has_the_keys_of_the_config(config: dict[str, Any]) -> None:
    root = yaml.safe_load(SCHEMA.read_text())

    def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
        if "$ref" in schema:
            schema = schema | root["$defs"][schema["$ref"].rpartition("/")[2]]
        if "properties" not in schema:  # a mapping whose keys are the user's: the ablations
            return
        # Those of the verbs are required unless the pairs are the user's own: test_config_task.
        verb_keys = set(VERB_KEYS) if where == "config.data" else set()
        assert set(values) == set(schema["properties"]) == set(schema["required"]) | verb_keys
        assert schema["additionalProperties"] is False, where
        for key, value in values.items():
            if isinstance(value, dict):
                compare(value, schema["properties"][key], f"{where}.{key}")

    compare(config, root, "config")


def test_config_has_the_settings_of_the_study(config: dict[str, Any]) -> None:
    assert config["ranks"] == [2, 4, 8, 16, 32]
    assert config["lora"] | {"target_modules": None} == {
        "rank": 8,
        "alpha": 16,
        "dropout": 0.05,
        "target_modules": None,
        "layers": None,
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
        (put("lora.rnak", 8), "lora.rnak", "did you mean 'rank'?"),
        (put("sedes", [0]), "sedes", "did you mean 'seeds'?"),
        (put("lora.alpha", "16"), "lora.alpha", "'16' (text)\n  expected: a number"),
        (put("train.learning_rate", "1e-4"), "train.learning_rate", "write 0.0001, without quotes"),
        (put("train.held_out_verb", "eat"), "train.held_out_verb", "unknown key"),
        (put("base.seeds", [0]), "base.seeds", "the seeds of further bases"),
        (put("ablations.rank", ARM), "ablations.rank", "the name is taken"),
        (put("ablations.Mine", ARM), "ablations.Mine", "a name of lower-case letters"),
        (put("ablations.mine\n", ARM), "ablations.mine\n", "a name of lower-case letters"),
        (put("ablations.mine", ARM | {"runs": {}}), "ablations.mine.runs", "at least 1"),
        (put("ablations.mine", ARM | {"ranks": "all"}), "ablations.mine.ranks", "one of sweep"),
        (
            put("ablations.scaling.runs.up/there", {}),
            "ablations.scaling.runs.up/there",
            "a name of letters",
        ),
        (
            put("ablations.scaling.runs.mine", {"lora": {"rank": 4}}),
            "ablations.scaling.runs.mine.lora.rank",
            "unknown key",
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
            "sets alpha twice",
        ),
        (
            put("ablations.full.runs.mine", {"full": True, "train": {"loraplus_lr_ratio": 4}}),
            "ablations.full.runs.mine",
            "it has no adapter",
        ),
        (put("ablations.scaling.runs.Fixed", {}), "ablations.scaling.runs.Fixed", "twice"),
        (put("ablations.scaling.runs", {1: {}}), "ablations.scaling.runs.1", "write it in quotes"),
        (put("ranks", "2"), "ranks", "expected: a list"),
        (put("ranks", [0, 8]), "ranks.0", "at least 1"),
        (put("ranks", [8, 8]), "ranks", "no value twice"),
        (put("ranks", [8, 385]), "ranks", "at most base.model.d_model = 384"),
        (put("ranks", [2, 4]), "lora.rank", "one of the ranks [2, 4]"),
        (put("ranks", []), "ranks", "at least 1"),
        (put("lora.alpha", 0), "lora.alpha", "above 0"),
        (put("lora.alpha", -2), "lora.alpha", "above 0"),
        (put("lora.dropout", 1.0), "lora.dropout", "below 1"),
        (put("lora.target_modules", ["v_porj"]), "lora.target_modules.0", "did you mean 'v_proj'?"),
        (
            put("lora.target_modules", "mlp.fc2"),
            "lora.target_modules",
            "expected: all-linear, or a",
        ),
        (put("lora.target_modules", 8), "lora.target_modules", "for example [q_proj, v_proj]"),
        (put("lora.target_modules", []), "lora.target_modules", "[] (a list)"),
        (put("lora.layers", 8), "lora.layers", "fix:      for example `last 8`, or null"),
        (put("lora.layers", "top 8"), "lora.layers", "'top 8' (text)"),
        (put("lora.layers", "last 4"), "lora.layers", "some of the 3 layers, counted from 0"),
        (put("lora.layers", [0, 3]), "lora.layers", "found:    [0, 3]\n"),
        (
            put("ablations.targets.runs.fc1.lora.layers", "first 9"),
            "ablations.targets.runs.fc1.lora.layers",
            "or raise base.model.n_layers",
        ),
        (
            put("ablations.targets.runs.fc1.lora.target_modules", ["fc_1"]),
            "ablations.targets.runs.fc1.lora.target_modules.0",
            "did you mean 'mlp.fc1'?",
        ),
        (put("seeds", [-1]), "seeds.0", "at least 0"),
        (put("train.learning_rate", 0), "train.learning_rate", "above 0"),
        (drop("train.epochs"), "train.epochs", "'epochs' as well"),
        (put("base.checkpoint", "config.yaml"), "base.checkpoint", "both paths"),
        (put("base.corpus", None), "base.corpus", "a folder of *.jsonl"),
        (put("data.regular_verbs", ["go"]), "data.regular_verbs", "no verb in both"),
        (put("base.model.n_heads", 5), "base.model.n_heads", "a divisor of d_model"),
        (put("base.corpus", ""), "base.corpus", "''"),
        # The type in plain words, and no advice that does not help.
        (put("data", None), "data", "nothing (null)\n  expected: its keys: verbs, corpus, "),
        (put("lora", [8]), "lora", "[8] (a list)\n  expected: its keys: rank, "),
        (put("lora.use_dora", "maybe"), "lora.use_dora", "write true or false there"),
        (put("lora.alpha", "nan"), "lora.alpha", "fix:      write a number there"),
        (put("lora.alpha", "1e999"), "lora.alpha", "fix:      write a number there"),
        (put("train.epochs", "3.5"), "train.epochs", "fix:      write a whole number there"),
        (put("ranks", "2"), "ranks", "fix:      write a list there"),
        (put("data.verbs", [1]), "data.verbs", "fix:      write text there"),
        (put("data.verbs", False), "data.verbs", "false (true or false)\n  expected: text"),
        (put("data.verbs", None), "data.verbs", "nothing (null)\n  expected: text"),
        # YAML's .nan and .inf are floats, and 3.0 is not an int: range() would fail an hour later.
        (put("lora.alpha", math.nan), "lora.alpha", "nan"),
        (put("train.learning_rate", math.inf), "train.learning_rate", "inf"),
        (put("train.epochs", 3.0), "train.epochs", "expected: a whole number"),
        (put("ranks", [2, 4, 8.0]), "ranks.2", "8.0 (a number)\n  expected: a whole number"),
    ],
)
def test_bad_value_is_refused(
    config: dict[str, Any], change: Callable[[dict[str, Any]], None], where: str, words: str
) -> None:
    change(config)
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    message = str(refusal.value)
    assert message.startswith(f"config.yaml: {where}: ")
    assert words in message
    assert all(part in message for part in ("found:", "expected:", "fix:"))


def test_wrong_type_is_refused_at_every_key(config: dict[str, Any]) -> None:
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


def test_missing_checkpoint_is_refused(config: dict[str, Any]) -> None:
    config["base"] |= {"checkpoint": "no/such.pt", "tokenizer": "config.yaml"}
    with pytest.raises(UserError, match=r"base\.checkpoint: there is no such file"):
        check_config(config, SCHEMA)


def test_targets_and_layers_that_a_minigpt_has_are_accepted(config: dict[str, Any]) -> None:
    for targets in ("all-linear", ["all-linear"], ["q_proj", "mlp.fc1"]):
        for layers in ("last 3", "first 1", [0, 2], None):
            config["lora"] |= {"target_modules": targets, "layers": layers}
            config["ablations"]["targets"]["runs"]["fc1"]["lora"] |= config["lora"]
            del config["ablations"]["targets"]["runs"]["fc1"]["lora"]["rank"]
            check_config(config, SCHEMA)


def test_names_are_free_for_a_base_that_is_no_minigpt(config: dict[str, Any]) -> None:
    """Which layers it has is known when it is loaded."""
    config["lora"] |= {"target_modules": ["down_proj"], "layers": "last 30"}
    checks = (targets_exist, layers_exist)
    assert [len(list(check(config))) for check in checks] == [1, 1]
    config["base"]["checkpoint"] = "somewhere/llama"
    assert [len(list(check(config))) for check in checks] == [0, 0]


def test_overlay_replaces_only_its_keys(tmp_path: Path, config: dict[str, Any]) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("lora: {rank: 4}\nranks: [4]\n")
    expected = copy.deepcopy(config)
    expected["lora"]["rank"], expected["ranks"] = 4, [4]
    assert read_config([ROOT / "config.yaml", overlay]) == expected


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "- 1\n"])
def test_empty_overlay_is_refused(tmp_path: Path, text: str) -> None:
    """As Snakemake does: "must be given as JSON or YAML with keys at top level"."""
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(text)
    with pytest.raises(UserError, match=r"overlay\.yaml: "):
        read_config([ROOT / "config.yaml", overlay])


def test_config_must_be_utf_8(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("seeds: [0]\n", encoding="utf-8-sig")
    assert read_config([overlay]) == {"seeds": [0]}
    overlay.write_text("seeds: [0]\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"overlay\.yaml: is not UTF-8"):
        read_config([overlay])


# --- several mistakes, and the file of each ------------------------------------------------------


def test_all_mistakes_are_reported_at_once(config: dict[str, Any]) -> None:
    """Both what does not fit the schema, and values that fit it and do not agree."""
    put("lora.rnak", 8)(config)
    put("sedes", [0])(config)
    put("lora.dropout", 1.0)(config)
    drop("train.epochs")(config)
    drop("train.batch_size")(config)
    put("base.model.n_heads", 5)(config)
    put("ranks", [2, 4])(config)
    put("data.verbs", "no/verbs.yaml")(config)
    put("data.corpus", "no/corpus")(config)
    put("base.corpus", "no/base-corpus")(config)
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    message = str(refusal.value)
    assert message.startswith("10 mistakes:\n")
    for words in (
        "config.yaml: lora.rnak: unknown key",
        "config.yaml: sedes: unknown key",
        "config.yaml: lora.dropout: the value cannot be used",
        "config.yaml: train.epochs: the key is missing",
        "config.yaml: train.batch_size: the key is missing",
        "config.yaml: base.model.n_heads: n_heads does not divide d_model",
        "config.yaml: lora.rank: the headline rank is not in the sweep",
        "config.yaml: data.verbs: there is no such file",
        "no/corpus: holds no corpus",
        "no/base-corpus: holds no corpus",
    ):
        assert message.count(words) == 1, words


def test_malformed_values_are_not_compared(config: dict[str, Any]) -> None:
    config["ranks"] = ["two"]
    config["ablations"] = None
    del config["data"]["irregular_verbs"]
    config["base"]["model"] = []
    with pytest.raises(UserError, match="4 mistakes") as refusal:
        check_config(config, SCHEMA)
    for key in ("ablations", "base.model", "data.irregular_verbs", "ranks.0"):
        assert f"config.yaml: {key}: " in str(refusal.value)


def test_overwrite_results_is_refused_in_a_file(config: dict[str, Any], tmp_path: Path) -> None:
    overlay = tmp_path / "own.yaml"
    overlay.write_text("overwrite_results: true\n")
    with pytest.raises(
        UserError, match=r"own\.yaml: overwrite_results: is only for the command line"
    ):
        check_config(config, SCHEMA, [ROOT / "config.yaml", overlay])


def test_braces_in_file_names_are_refused(config: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.jsonl", "{b}.jsonl", "c}.jsonl"):
        (tmp_path / name).touch()
    put("data.corpus", str(tmp_path))(config)
    with pytest.raises(UserError, match="2 mistakes") as refusal:
        check_config(config, SCHEMA)
    assert str(refusal.value).count("{b}.jsonl: has a brace in its name\n  found:    {}\n") == 1
    assert "c}.jsonl: has a brace in its name\n  found:    }\n" in str(refusal.value)


def test_shares_and_unknown_verbs_are_refused(
    config: dict[str, Any],
) -> None:
    put("data.split.train_share", 0.7)(config)
    put("data.irregular_verbs", ["go", "gooo", "bee"])(config)
    with pytest.raises(UserError, match="3 mistakes") as refusal:
        check_config(config, SCHEMA)
    for words in ("the shares do not sum to 1", "found:    gooo\n", "found:    bee\n"):
        assert str(refusal.value).count(words) == 1


def test_missing_files_are_reported_at_once(config: dict[str, Any]) -> None:
    config["base"] |= {"checkpoint": "no/base.pt", "tokenizer": "no/tokenizer.json"}
    with pytest.raises(UserError, match="2 mistakes") as refusal:
        check_config(config, SCHEMA)
    for key in ("base.checkpoint", "base.tokenizer"):
        assert f"config.yaml: {key}: there is no such file" in str(refusal.value)


def test_mistakes_name_their_file(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the last file that holds the value, since that one determines the config."""
    monkeypatch.chdir(tmp_path)
    use_absolute_paths(config)
    config["lora"]["dropout"] = 2
    del config["gates"]["accuracy_gain_pp"]
    texts = {
        "config.yaml": yaml.safe_dump(config),
        "own/one.yaml": "lora: {rnak: 3, alpha: -1}\nseeds: [0, 1.5]\nstatistics: {seed: -1}\n",
        "own/two.yaml": "seeds: [1.5]\nlora: {alpha: .nan}\n"
        "ablations: {mine: {enabled: 1, ranks: headline}}\n",
    }
    paths = []
    for name, text in texts.items():
        paths.append(tmp_path / name)
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_text(text)
    merged = read_config(paths)
    merged["statistics"]["seed"] = "7"  # as --config would
    with pytest.raises(UserError) as refusal:
        check_config(merged, SCHEMA, paths)
    message = str(refusal.value)
    for words in (
        "config.yaml: lora.dropout: ",
        "config.yaml: gates.accuracy_gain_pp: the key is missing",
        "own/one.yaml: lora.rnak: unknown key",
        "own/two.yaml: lora.alpha: ",
        "own/two.yaml: seeds.0: ",
        "own/two.yaml: ablations.mine.enabled: ",
        "own/two.yaml: ablations.mine.runs: the key is missing",
        "--config: statistics.seed: ",
        "pass that with --configfile",
    ):
        assert f"\n{words}" in message or words in message.partition("\n\n")[2], words
    assert "\nown/one.yaml: seeds" not in message
    assert "\nown/two.yaml: gates" not in message


def test_duplicate_key_in_an_overlay_names_both_lines(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    overlay = tmp_path / "own.yaml"
    overlay.write_text("data:\n  verbs: mine.yaml\nseeds: [0]\ndata:\n  corpus: mine\n")
    for call in (
        lambda: read_config([ROOT / "config.yaml", overlay]),
        lambda: check_config(config, SCHEMA, [ROOT / "config.yaml", overlay]),
    ):
        with pytest.raises(UserError, match=r"the key 'data' is given twice") as refusal:
            call()
        assert str(refusal.value).startswith(f"{overlay}:4: ")
        assert "on line 1 and on line 4" in str(refusal.value)


def test_seed_above_32_bits_is_refused(config: dict[str, Any]) -> None:
    config["seeds"] = [2**64]
    with pytest.raises(UserError, match=r"seeds\.0: the value cannot be used"):
        check_config(config, SCHEMA)


def use_absolute_paths(config: dict[str, Any]) -> None:
    """The config's own are relative to the project's folder."""
    for section, key in (("data", "corpus"), ("base", "corpus"), ("data", "verbs")):
        config[section][key] = str(ROOT / config[section][key])


def checked(tmp_path: Path, text: str, *, base: str | None = None) -> str:
    """The message about an overlay on the project's config, or on another one."""
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "config.yaml").read_text() if base is None else base)
    (tmp_path / "own.yaml").write_text(text)
    paths = [path, tmp_path / "own.yaml"]
    with pytest.raises(UserError) as refusal:
        check_config(read_config(paths), SCHEMA, paths)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ranks: [2]", "ranks: the headline rank is not in the sweep"),
        ("lora: {rank: 3}", "lora.rank: the headline rank is not in the sweep"),
        ("ranks: [2]\nlora: {rank: 3}", "lora.rank: the headline rank is not in the sweep"),
        ("base: {model: {d_model: 385}}", "base.model.d_model: n_heads does not divide d_model"),
        ("base: {model: {n_heads: 5}}", "base.model.n_heads: n_heads does not divide d_model"),
        ("base: {model: {d_model: 24}}", "base.model.d_model: a rank is larger than"),
        (
            "data: {irregular_verbs: [walk, go, come, see]}",
            "data.irregular_verbs: a verb is both taught and in the control set",
        ),
        (
            "data: {regular_verbs: [go]}",
            "data.regular_verbs: a verb is both taught and in the control set",
        ),
        ("base: {pretrain: {seed: 1}}", "base.pretrain.seed: the seed of the study's own base"),
        ("data: {irregular_verbs: [be, have]}", "data.irregular_verbs: a run leaves out a verb"),
    ],
)
def test_contradiction_names_the_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], text: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    use_absolute_paths(config)
    config["base"]["seeds"] = [1, 2]
    for body in config["ablations"].values():
        body["enabled"] = True
    assert f"own.yaml: {place}" in checked(tmp_path, text, base=yaml.safe_dump(config))


def test_contradiction_on_the_command_line(config: dict[str, Any]) -> None:
    config["ranks"] = [2, 4]
    with pytest.raises(UserError, match=r"^--config: ranks: the headline rank") as refusal:
        check_config(config, SCHEMA, [ROOT / "config.yaml"])
    assert "add it to ranks" in str(refusal.value)


def test_misspelled_required_key_is_one_mistake(config: dict[str, Any]) -> None:
    config["train"]["epocs"] = config["train"].pop("epochs")
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    message = str(refusal.value)
    assert message.startswith("config.yaml: train.epocs: unknown key\n")
    assert "did you mean 'epochs'?" in message


def test_empty_section_is_one_mistake(config: dict[str, Any]) -> None:
    config["threads"] = {}
    with pytest.raises(UserError) as refusal:
        check_config(config, SCHEMA)
    message = str(refusal.value)
    assert message.startswith("config.yaml: threads: has no keys\n")
    assert "expected: its keys: pretrain, train, evaluate\n" in message
    assert "an overlay that changes none of them leaves out threads" in message
