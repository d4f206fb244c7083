"""The project's own rules: names that match, code that is tracked, imports that stay light."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from minituner.imports import import_closure

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
RULES = {
    name: body
    for file in sorted((ROOT / "rules").glob("*.smk"))
    for name, body in re.findall(
        r"^(?:rule|checkpoint) (\w+):\n((?:(?:    .*)?\n)+)", file.read_text(), re.MULTILINE
    )
}
WITHOUT_TENSORS = (
    "filter",
    "split",
    "tokenize",
    "train_tokenizer",
    "headline",
    "gates",
    "plot",
    "plot_pretraining",
    "render",
)


def test_every_script_is_the_script_of_the_rule_of_its_name() -> None:
    assert {script.stem for script in SCRIPTS} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_documented_logged_and_tracks_its_code(rule: str) -> None:
    body = RULES[rule]
    assert body.lstrip().startswith('"""')
    assert f'"../workflow_scripts/{rule}.py"' in body
    assert f'code=source("{rule}")' in body
    assert "    log:\n" in body
    assert '"../envs/minituner.yaml"' in body


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "gates"])
def test_every_output_is_kept_until_it_is_replaced(rule: str) -> None:
    outputs = re.search(r"    output:\n((?:        .*\n)+)", RULES[rule])
    assert outputs is not None
    names = re.findall(r"^        (?:\w+=|\*\*)(.*)", outputs[1], re.MULTILINE)
    assert names
    assert all("update(" in name for name in names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_are_thin(script: Path) -> None:
    text = script.read_text()
    assert "with run_stage(snakemake) as job:" in text
    assert len(text.splitlines()) <= 35
    assert not re.search(r"^\s*(def|class|while) ", text, re.MULTILINE)


def imported_by(script: Path) -> dict[str, list[str]]:
    """What Python really has loaded after a script's imports: our files, and all module names."""
    statements = [
        node
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    program = "\n".join(map(ast.unparse, statements)) + (
        "\nimport sys, json\n"
        "ours = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'minituner']\n"
        "print(json.dumps({'ours': ours, 'all': sorted(sys.modules)}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_tracked_code_covers_what_a_script_imports(script: Path) -> None:
    closure = set(import_closure(f"workflow_scripts/{script.name}", ROOT))
    loaded = imported_by(script)
    assert {str(Path(file).relative_to(ROOT)) for file in loaded["ours"]} <= closure
    assert f"workflow_scripts/{script.name}" in closure
    if script.stem in WITHOUT_TENSORS:
        assert "torch" not in loaded["all"]


def test_an_import_inside_a_function_and_one_through_another_module_are_tracked(
    tmp_path: Path,
) -> None:
    package = tmp_path / "minituner"
    (package / "inner").mkdir(parents=True)
    for file, text in {
        "__init__.py": "",
        "inner/__init__.py": "",
        "inner/deep.py": "from minituner import last\n",
        "a.py": "def f():\n    from minituner.inner import deep\n    return deep\n",
        "last.py": "import os\n",
        "other.py": "",
    }.items():
        (package / file).write_text(text)
    (tmp_path / "script.py").write_text("import minituner.a\n")
    assert import_closure("script.py", tmp_path) == [
        "minituner/__init__.py",
        "minituner/a.py",
        "minituner/inner/__init__.py",
        "minituner/inner/deep.py",
        "minituner/last.py",
        "script.py",
    ]


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("pretrain_base", "lora"),
        ("pretrain_base", "data"),
        ("train_tokenizer", "data"),
        ("tokenize", "lora"),
        ("train", "plots"),
        ("evaluate", "plots"),
        ("headline", "plots"),
        ("render", "plots"),
    ],
)
def test_an_edit_of_one_module_does_not_rerun_what_it_has_no_part_in(
    script: str, module: str
) -> None:
    assert f"minituner/{module}.py" not in import_closure(f"workflow_scripts/{script}.py", ROOT)


def test_the_package_can_be_used_without_snakemake() -> None:
    for file in (ROOT / "minituner").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
            assert not any(name.split(".")[0] == "snakemake" for name in names), file


def test_every_direct_dependency_is_pinned_as_in_the_lock() -> None:
    lock = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "envs/requirements.lock").read_text().splitlines()
    )
    text = (ROOT / "pyproject.toml").read_text()
    pins = re.findall(r'^    "([\w.-]+)==([\w.]+)"', text, re.MULTILINE)
    assert len(pins) >= 12
    for name, pinned in pins:
        assert lock[name.lower()] == pinned, name


def test_the_conda_environment_is_made_of_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "envs/minituner.yaml").read_text())
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]
