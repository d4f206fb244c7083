"""The commands in the documents can be typed: programs, targets, options and packages exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from documented import DOCUMENTS, NOT_RUN, PROSE, ROOT, Command, commands_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from snakemake.cli import get_argument_parser

from minituner.__main__ import main

REPORTS = ("REPORT.md", "experiments/28-lora-ablations/REPORT.md")
COMMANDS = [command for name in (*DOCUMENTS, *REPORTS) for command in commands_of(name)]
TO_RUN = [command for command in COMMANDS if command.text not in NOT_RUN]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def options_of(command: Command) -> list[str]:
    """The words of a command, without the program that its output is piped into."""
    return shlex.split(command.to_type.partition(" | ")[0])


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE))


def snakemake_targets() -> set[str]:
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    rules = (
        re.findall(r"^(?:rule|checkpoint) (\w+):", file.read_text(encoding="utf-8"), re.MULTILINE)
        for file in files
    )
    return {name for names in rules for name in names} | {
        f"ablate_{a}" for a in CONFIG["ablations"]
    }


def test_commands_of_finds_commands_in_every_kind_of_place() -> None:
    found = {(command.document, command.text) for command in COMMANDS}
    assert {
        ("README.md", "make report"),
        ("README.md", "source .venv/bin/activate"),
        ("README.md", "snakemake report ablations --report report.html"),
        ("README.md", "snakemake gates"),
        ("config.yaml", "snakemake ablate_verbs"),
        ("Dockerfile", "docker build --tag minituner ."),
        ("docs/verbs.md", "rm -r experiments REPORT.md"),
        ("docs/your-own.md", "minituner plan my-study"),
        ("docs/your-own.md", "python tiny_llama.py"),
    } <= found
    long = next(command for command in COMMANDS if "default-resources" in command.text)
    assert "profiles/slurm report --default-resources mem_mb=1000" in long.text


def test_every_document_is_searched() -> None:
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert documents | {"README.md", "CONTRIBUTING.md"} <= set(DOCUMENTS)


def test_every_exception_is_still_a_command_in_a_document() -> None:
    assert set(NOT_RUN) <= {command.text for command in COMMANDS}
    everything = "".join((ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS)
    assert all(first in everything for first in PROSE)


@pytest.mark.parametrize("command", TO_RUN, ids=lambda command: f"{command.place} {command.text}")
def test_documented_commands_exist(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A command of an unknown kind fails: nothing would run it."""
    match options_of(command):
        case ["make", *words]:
            assert {word for word in words if "=" not in word} <= make_targets()
            assert {word.partition("=")[0] for word in words if "=" in word} <= {"CONFIG"}
        case ["snakemake", *arguments]:
            options = get_argument_parser([]).parse_args(arguments)
            for target in options.targets:
                assert target in snakemake_targets() or (ROOT / target).is_file(), target
        case ["python", "-m", "minituner", name, *arguments] | ["minituner", name, *arguments]:
            with pytest.raises(SystemExit) as ended:
                main([name, "--help"])
            assert ended.value.code == 0
            known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
            assert {word for word in arguments if word.startswith("--")} <= known
        case ["source", ".venv/bin/activate"] | ["rm", "-r", "experiments", "REPORT.md"]:
            pass
        case ["python3", "-m", "venv", ".venv"] | ["mkdir" | "cd", "../studies"]:
            pass
        case [".venv/bin/pip", "install", "--constraint", lock, "--editable", package]:
            assert (ROOT / lock).is_file()
            assert runtime_pins(package.removeprefix(".[").removesuffix("]"))
        case ["python", script]:
            text = (ROOT / command.document).read_text(encoding="utf-8")
            assert f"```python\n# {script}\n" in text
        case _:
            pytest.fail(f"{command.place}: {command.text} is neither run nor in NOT_RUN")


# --- packages that the environment of `make report` needs ---------------------------------------


def runtime_pins(extra: str | None = None) -> list[str]:
    """The packages that everybody needs, and those of one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = project["optional-dependencies"][extra] if extra else []
    return [*project["dependencies"], *more]


def with_all_they_need(requirements: Iterable[str]) -> set[str]:
    """The packages that pip installs for these requirements on this machine."""
    found: set[str] = set()
    waiting = [(Requirement(text), {""}) for text in requirements]
    while waiting:
        requirement, extras = waiting.pop()
        marker, name = requirement.marker, canonicalize_name(requirement.name)
        if name in found or not (
            marker is None or any(marker.evaluate({"extra": e}) for e in extras)
        ):
            continue
        found.add(name)
        needs = distribution(name).requires or []
        waiting += [(Requirement(text), {"", *requirement.extras}) for text in needs]
    return found


def imported(files: Iterable[Path]) -> set[str]:
    """The packages whose modules these files import, also inside functions."""
    by_module = packages_distributions()
    trees = [ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    modules = {
        name.partition(".")[0]
        for tree in trees
        for node in tree
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }
    return {
        canonicalize_name(by_module[module][0])
        for module in modules - set(sys.stdlib_module_names) - {"minituner", ""}
        if module in by_module
    }


def test_imports_are_direct_dependencies() -> None:
    files = {*(ROOT / "minituner").rglob("*.py"), *(ROOT / "workflow_scripts").glob("*.py")}
    of_transformers = {file for file in files if file.parent.name == "hf"}
    assert {"torch", "numpy", "pandas", "pyyaml"} <= imported(files - of_transformers)
    assert "transformers" in imported(of_transformers)
    for some, extra in ((files - of_transformers, None), (of_transformers, "transformers")):
        pinned = {canonicalize_name(Requirement(pin).name) for pin in runtime_pins(extra)}
        assert imported(some) <= pinned


def test_imports_of_snakemakes_report_are_installed() -> None:
    """It needs packages that Snakemake itself does not install."""
    spec = importlib.util.find_spec("snakemake")
    assert spec is not None and spec.origin is not None
    files = sorted((Path(spec.origin).parent / "report").rglob("*.py"))
    found = imported(files)
    assert {"jinja2", "pygments"} <= found
    assert found <= with_all_they_need(runtime_pins())


def test_the_lock_pins_every_installed_package() -> None:
    lock = {
        canonicalize_name(line.partition("==")[0])
        for line in (ROOT / "envs/requirements.lock").read_text(encoding="utf-8").splitlines()
    }
    # pip freeze leaves setuptools out; pyproject.toml pins it.
    assert with_all_they_need(runtime_pins()) - {"setuptools"} <= lock
