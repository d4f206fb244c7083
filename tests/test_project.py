"""The project's own rules: names that match, code that is tracked, imports that stay light."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROOT

import minituner
from minituner.pipeline.source_closure import import_closure

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
    "compare",
    "plot_ablations",
    "render_ablations",
    "simulate",
    "cost",
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


# Runs the imports of each script in turn, our own modules anew for each. Until the scripts that use
# tensors come, torch cannot be imported, and whoever asks for it is put down.
LOAD_EACH = """
import json, sys

asked = []
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            asked.append(name)
            raise ModuleNotFoundError(name)

no_torch, loaded = NoTorch(), {}
sys.meta_path.insert(0, no_torch)
for script, light, statements in json.loads(sys.argv[1]):
    if not light and no_torch in sys.meta_path:
        sys.meta_path.remove(no_torch)
    for name in [name for name in sys.modules if name.split(".")[0] == "minituner"]:
        del sys.modules[name]
    asked.clear()
    error = None
    try:
        exec(statements, {})
    except Exception as problem:
        error = repr(problem)
    ours = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "minituner"]
    loaded[script] = {"ours": ours, "torch": bool(asked), "error": error}
print(json.dumps(loaded))
"""


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Every import statement of a file, those inside functions too."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]


def names_of(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    return [statement.module or ""]


@pytest.fixture(scope="module")
def loaded() -> dict[str, dict[str, Any]]:
    """By script: the files of ours that Python really has loaded after its imports."""
    jobs = [
        (
            script.stem,
            script.stem in WITHOUT_TENSORS,
            "\n".join(map(ast.unparse, imports_of(script))),
        )
        for script in sorted(SCRIPTS, key=lambda script: script.stem not in WITHOUT_TENSORS)
    ]
    command = [sys.executable, "-c", LOAD_EACH, json.dumps(jobs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    by_script: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return by_script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_tracked_code_covers_what_a_script_imports(
    script: Path, loaded: dict[str, dict[str, Any]]
) -> None:
    found = loaded[script.stem]
    assert found["error"] is None
    files = {str(Path(file).relative_to(ROOT)) for file in found["ours"]}
    assert "minituner/pipeline/manifest.py" in files
    closure = set(import_closure(f"workflow_scripts/{script.name}", ROOT))
    assert files | {f"workflow_scripts/{script.name}"} <= closure


@pytest.mark.parametrize("script", WITHOUT_TENSORS)
def test_a_stage_without_tensors_never_waits_for_torch(
    script: str, loaded: dict[str, dict[str, Any]]
) -> None:
    assert not loaded[script]["torch"]
    for file in import_closure(f"workflow_scripts/{script}.py", ROOT):
        names = [name for node in imports_of(ROOT / file) for name in names_of(node)]
        assert not any(name.split(".")[0] == "torch" for name in names), file


def test_reading_the_rules_loads_nothing_heavy() -> None:
    """What start.smk and common.smk import of ours, and the calls they make with it."""
    text = "".join((ROOT / f"rules/{name}.smk").read_text() for name in ("start", "common"))
    imports = re.findall(r"^from minituner\.[^(\n]*(?:\([^)]*\))?$", text, re.MULTILINE)
    assert {line.split()[1] for line in imports} >= {
        f"minituner.{module}"
        for module in ("pipeline.config", "data.corpus", "pipeline.source_closure")
    }
    program = "\n".join(imports) + (
        "\nimport sys\n"
        "files = ['config.yaml']\n"
        "check_config(read_config(files), 'rules/config.schema.yaml', files)\n"
        "corpus_files('data/processed/verb-corpus')\n"
        "import_closure('workflow_scripts/train.py')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert {"minituner", "jsonschema"} <= modules
    assert not modules & {"torch", "numpy", "pandas", "scipy", "matplotlib", "tokenizers"}


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
        ("tokenize", "model"),
        ("evaluate", "pretrain"),
        ("plot", "data"),
        ("plot", "arms"),
        ("train", "arms"),
        ("train", "ablations"),
        ("compare", "arms"),
        ("render", "ablations"),
        ("simulate", "plots"),
    ],
)
def test_an_edit_of_one_module_does_not_rerun_what_it_has_no_part_in(
    script: str, module: str
) -> None:
    assert f"minituner/{module}.py" not in import_closure(f"workflow_scripts/{script}.py", ROOT)


def test_an_edit_of_the_figures_reruns_the_rules_that_draw_and_no_other() -> None:
    drawing = {
        script.stem
        for script in SCRIPTS
        if "minituner/reporting/figures.py"
        in import_closure(f"workflow_scripts/{script.name}", ROOT)
    }
    assert drawing == {"plot", "plot_pretraining", "compare", "plot_ablations"}


def test_the_package_can_be_used_without_snakemake() -> None:
    files = sorted((ROOT / "minituner").rglob("*.py"))
    assert ROOT / "minituner/pipeline/manifest.py" in files
    for file in files:
        names = [name for node in imports_of(file) for name in names_of(node)]
        assert not any(name.split(".")[0] == "snakemake" for name in names), file


def test_no_file_says_where_packages_come_from() -> None:
    """Which index serves them is the matter of whoever installs."""
    folders = (".ci", "docs", "envs", "minituner", "profiles", "rules", "tests", "workflow_scripts")
    files = [*ROOT.iterdir(), *(path for name in folders for path in (ROOT / name).rglob("*"))]
    texts = [path for path in files if path.is_file() and path.suffix not in (".pyc", ".png")]
    assert {ROOT / name for name in ("Makefile", "pyproject.toml", ".ci/run")} <= set(texts)
    host = re.compile(r"(pypi|pythonhosted|anaconda|npmjs|pytorch)\.(org|com)|--(extra-)?index-url")
    for path in texts:
        found = host.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path}: {found}"


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


def test_the_plugins_of_an_executor_are_pinned_and_stay_out_of_the_lock() -> None:
    """Each slows every command of Snakemake, a plain local one too."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    plugins = [
        name for name in extras.pop("slurm") if re.fullmatch(r"snakemake-[\w-]+==[\d.]+", name)
    ]
    assert len(plugins) == 2
    assert "executor-plugin-" not in (ROOT / "envs/requirements.lock").read_text() + str(extras)


def test_the_slurm_profile_does_what_the_default_one_does() -> None:
    """It takes that one's place; only the cores are the cluster's."""
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    del default["cores"]
    assert slurm["executor"] == "slurm"
    assert slurm.items() >= default.items()


def test_the_conda_environment_is_made_of_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "envs/minituner.yaml").read_text())
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == minituner.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.parametrize("command", ["--help", "predict --help", "inspect config.json", "convert"])
def test_a_command_that_needs_no_model_imports_no_torch(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    line = f"import sys; from minituner.__main__ import main; sys.exit(main({command.split()!r}))"
    shown = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
    done = subprocess.run(
        [sys.executable, "-c", shown + line],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def module_graph() -> dict[str, set[str]]:
    """By module of the package: the modules of the package that it imports."""
    files = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file
        for file in (ROOT / "minituner").rglob("*.py")
    }
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in imports_of(file):
            if isinstance(node, ast.Import):
                found = {alias.name for alias in node.names}
            else:
                found = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
            graph[name] |= found & files.keys()
    return graph


def test_imports_have_no_circles_between_modules() -> None:
    tuple(TopologicalSorter(module_graph()).static_order())  # CycleError names the circle


def test_imports_have_no_circles_between_folders() -> None:
    """The modules at the top, such as ``lora``, are in none: they stand on ``storage.tensors``, and
    ``storage.adapter`` on them."""
    graph: dict[str, set[str]] = {}
    for name, imported in module_graph().items():
        for other in imported:
            folder, another = name.split(".")[1:-1], other.split(".")[1:-1]
            if folder and another and folder != another:
                graph.setdefault(folder[0], set()).add(another[0])
    tuple(TopologicalSorter(graph).static_order())


def test_folders_of_the_package_import_nothing_by_themselves() -> None:
    for file in (ROOT / "minituner").glob("*/__init__.py"):
        assert file.read_text() == ""
