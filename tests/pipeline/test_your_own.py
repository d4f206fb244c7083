"""docs/your-own.md, followed step by step: every command, and what can be put in its place."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import commands_of
from study import PROJECT, Run, Study
from tiny_models import save_folder, tiny_network

from minituner.pipeline.nested import merge
from minituner.pipeline.project import LINK
from minituner.tokenizer import train_tokenizer

TEXT = (PROJECT / "docs/your-own.md").read_text(encoding="utf-8")
# The blocks that are files: the first line says which.
FILES = {
    name: block
    for block, name in re.findall(
        r"```(?:python|yaml)\n(# (\S+\.(?:py|yaml))\n.*?)```", TEXT, re.DOTALL
    )
}
OWN_BASE, CONTROLS = (
    yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    if not block.startswith("# ")
)
(MODULE,) = re.findall(r"```snakemake\n(.*?)```", TEXT, re.DOTALL)
BLIMP = "regular_plural_subject_verb_agreement_1.jsonl"
CONVERT_BLIMP = f"minituner convert {BLIMP} my-study/data/agreement.jsonl"
# The walk's environment is that of the tests.
INSTALLING = re.compile(r"python3 -m venv|\.venv/bin/pip|source ")


def studies_of(root: Path) -> Path:
    """Where the page's reader works, who has a clone in ``root``."""
    return root.parent / "studies"


def write_file(name: str) -> Callable[[Path], object]:
    """Write one of the page's files, as its reader does; of the seeds, one is enough here."""
    text = FILES[name].replace("seeds: [0, 1]", "seeds: [0]")
    return lambda root: (studies_of(root) / name).write_text(text, encoding="utf-8")


def write_blimp(root: Path) -> None:
    """A file in BLiMP's format."""
    things = ("Tim", "the boys", "Ana and me", "a teacher", "that car", "some drivers")
    lines = (
        {
            "sentence_good": f"{who} {right} {what}.",
            "sentence_bad": f"{who} {wrong} {what}.",
            "UID": BLIMP.removesuffix(".jsonl"),
        }
        for who, right, wrong in [("The cats", "annoy", "annoys"), ("My dog", "likes", "like")]
        for what in things
    )
    (studies_of(root) / BLIMP).write_text("".join(json.dumps(line) + "\n" for line in lines))


# What a command's reader has written before.
AT_HAND: dict[str, Callable[[Path], object]] = {
    "python opposites.py": write_file("opposites.py"),
    "python tiny_llama.py": write_file("tiny_llama.py"),
    "minituner plan my-study": write_file("my-study/config.yaml"),
    "minituner run top-layer": write_file("top-layer/config.yaml"),
    CONVERT_BLIMP: write_blimp,
}


class Reader(Study):
    """Someone at a shell in the folder of their studies, with the project's code elsewhere."""

    def __init__(self, root: Path, project: Study) -> None:
        super().__init__(root)
        self.project = project

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(self.project.root)}

    def beside(self, name: str, **changes: dict[str, Any]) -> Path:
        """A copy of my-study next to it, with changes of its config."""
        folder = self.root / name
        Study(self.root / "my-study").copy(folder)
        config = merge(yaml.safe_load((folder / "config.yaml").read_text()), changes)
        # The first control set is the one that the report is about.
        text = yaml.safe_dump(config, sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        return folder

    def minituner(self, *words: str) -> Run:
        done = self.shell(shlex.join(["minituner", *words]))
        assert done.code == 0, done.output
        return done


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Someone who has typed every command of the page, in order."""
    project = Study.create(tmp_path_factory.mktemp("own") / "minituner")
    reader = Reader(studies_of(project.root), project)
    reader.root.mkdir()
    for command in commands_of("docs/your-own.md"):
        if INSTALLING.match(command.text) or command.text.split()[0] in ("mkdir", "cd"):
            continue
        AT_HAND.get(command.text, lambda _: None)(project.root)
        done = reader.shell(command.to_type)
        if command.text == "minituner run my-study gates":
            assert "accuracy_gain_pp" in done.output
        else:
            assert done.code == 0, f"{command.place}: {done.output}"
    return reader


def test_files_of_the_page_are_found() -> None:
    assert set(FILES) == {
        "opposites.py",
        "tiny_llama.py",
        "my-study/config.yaml",
        "top-layer/config.yaml",
    }
    typed = {command.text for command in commands_of("docs/your-own.md")}
    assert set(AT_HAND) <= typed


def test_every_command_of_the_walk_works(reader: Reader) -> None:
    rows = (reader.root / "my-study/data/opposites.jsonl").read_text().splitlines()
    assert len(rows) == 200
    report = (reader.root / "my-study/REPORT.md").read_text(encoding="utf-8")
    for words in ("opposites", "opposite of another word", "plain sentences", "`tiny-llama`"):
        assert words in report
    assert not re.search(r"went|goed|verb|has never read", report)
    for stated in ("| `adapter_size_ratio` | ", "says little about forgetting"):
        assert stated in report
    assert "**FAIL**" in report
    linked = set(re.findall(r"\]\((\S+)\)", report)) - {"experiments/28-lora-ablations/REPORT.md"}
    assert len(linked) > 3
    for name in linked:  # the project of this test is a copy without the documents
        page = name.removeprefix(f"{LINK}/")
        folder = reader.root / "my-study" if page == name else PROJECT
        assert (folder / page).is_file(), name
    assert (reader.root / "my-adapter/adapter_config.json").is_file()
    assert (reader.root / "my-model/model.safetensors").is_file()
    assert {path.suffix for path in (reader.root / "comparison").iterdir()} >= {".md", ".csv"}


def test_model_of_ones_own(reader: Reader) -> None:
    """With every setting that the page names, over a model in shards."""
    lines = (reader.root / "opposites.csv").read_text().splitlines()
    words = train_tokenizer(lines, 600)
    network = tiny_network("llama", words, num_hidden_layers=10)
    path = save_folder(reader.root / "llama", network, words, max_shard_size="80KB")
    base = OWN_BASE["base"] | {"checkpoint": str(path)}
    lora = OWN_BASE["lora"] | {"rank": 2}
    folder = reader.beside("own-model", **(OWN_BASE | {"base": base, "lora": lora}))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config |= {"ranks": [2]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    reader.minituner("run", "own-model")
    report = (folder / "REPORT.md").read_text(encoding="utf-8")
    assert "`LlamaForCausalLM`" in report and str(path) in report
    reader.minituner("verify", "own-model")


def test_blimp_is_a_control_of_forgetting(reader: Reader) -> None:
    folder = reader.beside("two-controls", **CONTROLS)
    reader.minituner("run", "two-controls")
    gates = json.loads((folder / "experiments/28-lora-finetune/gates.json").read_text())
    assert gates["control_ppl_drift/agreement"]["threshold"] == 0.02
    report = (folder / "REPORT.md").read_text(encoding="utf-8")
    assert "### Control sets" in report and "| agreement | 12 |" in report


def test_module_of_another_workflow(reader: Reader) -> None:
    outer = reader.root / "outer"
    outer.mkdir()
    snakefile = MODULE.replace("/path/to/clone", str(reader.project.root))
    assert snakefile != MODULE
    (outer / "Snakefile").write_text(snakefile, encoding="utf-8")
    config = yaml.safe_load(FILES["top-layer/config.yaml"])
    (outer / "config.yaml").write_text(yaml.safe_dump({"opposites": config}), encoding="utf-8")
    done = Reader(outer, reader.project).snakemake("--cores", "1", "--dry-run")
    assert done.code == 0, done.output
    assert done.jobs.count("opposites_train") == 2
