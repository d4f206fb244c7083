"""The project as a whole: rules and scripts that match, tracked code, light imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from project import ROOT, run_program

import minituner
from minituner.pipeline.source_closure import import_closure

SCRIPTS = sorted((ROOT / "workflow_scripts").glob("*.py"))
WITH_TORCH = ("pretrain_base", "evaluate_base", "train", "evaluate")
LIGHT = [script for script in SCRIPTS if script.stem not in WITH_TORCH]

# A rule's header: `rule train:`, `checkpoint tokenize:` or `use rule train as train_full with:`.
HEADER = r"(?:rule|checkpoint|use rule (?P<parent>\w+) as) (?P<name>\w+)(?: with)?:\n"
RULE = re.compile(rf"^{HEADER}(?P<body>(?:(?:    .*)?\n)+)", re.MULTILINE)
SECTION = re.compile(r"^    (\w+):(.*\n(?:(?:        .*)?\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Rule:
    """A rule as it is written; ``sections`` holds the parent's where it has none of its own."""

    name: str
    parent: str | None
    docstring: str
    sections: dict[str, str]


def read_rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    text = "\n".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
    for found in sorted(RULE.finditer(text), key=lambda found: found["parent"] is not None):
        parent = rules.get(found["parent"] or "")
        inherited = parent.sections if parent else {}
        rules[found["name"]] = Rule(
            found["name"],
            found["parent"],
            parent.docstring if parent else found["body"].lstrip().partition("\n    input:")[0],
            inherited | dict(SECTION.findall(found["body"])),
        )
    return rules


RULES = read_rules()


def test_rules_are_all_read() -> None:
    text = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    assert len(RULES) == len(re.findall(r"^(?:use )?(?:rule|checkpoint) ", text, re.MULTILINE))
    inherited = {rule.name: rule.parent for rule in RULES.values() if rule.parent}
    assert inherited == {
        "train_full": "train",
        "evaluate_full": "evaluate",
        "pretrain_another_base": "pretrain_base",
        "evaluate_another_base": "evaluate_base",
    }


def test_every_script_has_the_name_of_its_rule() -> None:
    assert {script.stem for script in SCRIPTS} == {r.name for r in RULES.values() if not r.parent}


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_rule_has_docstring_log_environment_and_tracked_code(rule: Rule) -> None:
    script = rule.parent or rule.name
    assert rule.docstring.startswith('"""')
    assert f'"../workflow_scripts/{script}.py"' in rule.sections["script"]
    assert f'code=source("{script}")' in rule.sections["input"]
    assert '"../envs/minituner.yaml"' in rule.sections["conda"]
    logs = [other.sections["log"] for other in RULES.values()]
    assert logs.count(rule.sections["log"]) == 1


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES.values() if rule.name != "gates"], ids=lambda rule: rule.name
)
def test_rule_outputs_are_marked_update(rule: Rule) -> None:
    outputs = re.findall(r"^        (?:\w+=|\*\*)(.*)", rule.sections["output"], re.MULTILINE)
    assert outputs
    assert all("update(" in output for output in outputs)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_thin(script: Path) -> None:
    text = script.read_text()
    assert "with run_stage(snakemake) as job:" in text
    assert len(text.splitlines()) <= 12
    assert not re.search(r"^\s*(def|class|while) ", text, re.MULTILINE)


def imports_of(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Every import statement of a file, those inside functions too."""
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]


def names_of(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    return [statement.module or ""]


def modules_loaded_by(*scripts: Path) -> dict[str, str]:
    """The modules that Python has loaded after the scripts' imports, and their files."""
    imports = [script.read_text().partition("\nwith ")[0] for script in scripts]
    show = "for name in list(sys.modules): print(name, vars(sys.modules[name]).get('__file__'))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*imports, "import sys", show])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", ["evaluate", "render", "summarize"])
def test_source_closure_covers_the_modules_that_are_loaded(name: str) -> None:
    script = ROOT / f"workflow_scripts/{name}.py"
    files = {
        str(Path(file).relative_to(ROOT))
        for module, file in modules_loaded_by(script).items()
        if module.split(".")[0] == "minituner"
    }
    assert {"minituner/pipeline/stage.py", "minituner/pipeline/manifest.py"} <= files
    assert files <= set(import_closure(f"workflow_scripts/{name}.py", ROOT))


def test_light_stages_load_no_torch() -> None:
    loaded = modules_loaded_by(*LIGHT)
    assert {"minituner", "matplotlib", "tokenizers"} <= loaded.keys()
    assert "torch" not in loaded


@pytest.mark.parametrize("script", LIGHT, ids=lambda path: path.stem)
def test_light_stage_imports_no_torch_inside_a_function(script: Path) -> None:
    modules = import_closure(f"workflow_scripts/{script.name}", ROOT)
    for file in (file for file in modules if file.endswith(".py")):
        names = [name for node in imports_of(ROOT / file) for name in names_of(node)]
        assert not any(name.split(".")[0] == "torch" for name in names), file


def test_reading_the_rules_loads_nothing_heavy() -> None:
    """The package's modules that start.smk and common.smk import, and the calls they make."""
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
        "arms_of(read_config(files))\n"
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


def test_source_closure_follows_functions_and_other_modules(
    tmp_path: Path,
) -> None:
    package = tmp_path / "minituner"
    (package / "inner").mkdir(parents=True)
    for file, text in {
        "__init__.py": "",
        "inner/__init__.py": "",
        "inner/deep.py": "from minituner import last\n"
        "if TYPE_CHECKING:\n    import minituner.other\n",
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
        ("pretrain_base", "base_files"),
        ("pretrain_base", "hf/model"),
        ("tokenize", "bases"),
        ("tokenize", "hf/model"),
        ("pretrain_base", "data/split"),
        ("pretrain_base", "results"),
        ("train", "results"),
        ("tokenize", "results"),
        ("train_tokenizer", "data/split"),
        ("tokenize", "lora"),
        ("tokenize", "model"),
        ("evaluate", "pretrain"),
        ("plot", "data/split"),
        ("plot", "pipeline/arms"),
        ("train", "pipeline/arms"),
        ("train", "statistics/ablations"),
        ("compare", "pipeline/arms"),
        ("render", "statistics/ablations"),
        ("simulate", "reporting/plots"),
    ],
)
def test_source_closure_leaves_out_unrelated_modules(script: str, module: str) -> None:
    assert (ROOT / f"minituner/{module}.py").is_file()
    assert f"minituner/{module}.py" not in import_closure(f"workflow_scripts/{script}.py", ROOT)


@pytest.mark.parametrize(
    ("module", "drawing"),
    [
        ("figures", {"plot", "plot_pretraining", "plot_arm", "plot_ablations"}),
        ("plots", {"plot", "plot_pretraining"}),
        ("ablation_plots", {"plot_arm", "plot_ablations"}),
    ],
)
def test_source_closure_has_figures_only_in_the_rules_that_draw(
    module: str, drawing: set[str]
) -> None:
    """So an edit of a color repeats no bootstrap."""
    file = f"minituner/reporting/{module}.py"
    assert (ROOT / file).is_file()
    assert drawing == {
        script.stem
        for script in SCRIPTS
        if file in import_closure(f"workflow_scripts/{script.name}", ROOT)
    }


def test_package_imports_no_snakemake() -> None:
    files = sorted((ROOT / "minituner").rglob("*.py"))
    assert ROOT / "minituner/pipeline/stage.py" in files
    for file in files:
        names = [name for node in imports_of(file) for name in names_of(node)]
        assert not any(name.split(".")[0] == "snakemake" for name in names), file


def test_no_file_names_a_package_index() -> None:
    """The index is the choice of whoever installs."""
    folders = (".ci", "docs", "envs", "minituner", "profiles", "rules", "tests", "workflow_scripts")
    files = [*ROOT.iterdir(), *(path for name in folders for path in (ROOT / name).rglob("*"))]
    texts = [path for path in files if path.is_file() and path.suffix not in (".pyc", ".png")]
    assert {ROOT / name for name in ("Makefile", "pyproject.toml", ".ci/run")} <= set(texts)
    host = re.compile(r"(pypi|pythonhosted|anaconda|npmjs|pytorch)\.(org|com)|--(extra-)?index-url")
    for path in texts:
        found = host.search(path.read_text(encoding="utf-8", errors="replace"))
        assert found is None, f"{path}: {found}"


def test_dependencies_are_pinned_as_in_the_lock() -> None:
    lock = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "envs/requirements.lock").read_text().splitlines()
    )
    text = (ROOT / "pyproject.toml").read_text()
    pins = re.findall(r'^    "([\w.-]+)==([\w.]+)"', text, re.MULTILINE)
    assert len(pins) >= 12
    for name, pinned in pins:
        assert lock[name.lower()] == pinned, name


def test_executor_plugins_are_pinned_and_not_in_the_lock() -> None:
    """Each plugin slows down every Snakemake command, also on a single machine."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    plugins = [
        name for name in extras.pop("slurm") if re.fullmatch(r"snakemake-[\w-]+==[\d.]+", name)
    ]
    assert len(plugins) == 2
    assert "executor-plugin-" not in (ROOT / "envs/requirements.lock").read_text() + str(extras)


def test_slurm_profile_extends_the_default_one() -> None:
    """It replaces that one; only the cores come from the cluster."""
    default, slurm = (
        yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    del default["cores"]
    assert slurm["executor"] == "slurm"
    assert slurm.items() >= default.items()


def test_conda_environment_installs_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "envs/minituner.yaml").read_text())
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]


def test_citation_has_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == minituner.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.parametrize("command", ["--help", "predict --help", "inspect config.json", "convert"])
def test_command_without_a_model_imports_no_torch(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    line = f"import sys; from minituner.__main__ import main; sys.exit(main({command.split()!r}))"
    shown = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); "
    done = run_program(shown + line, tmp_path)
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


def test_imports_between_modules_are_acyclic() -> None:
    tuple(TopologicalSorter(module_graph()).static_order())  # CycleError names the circle


def test_imports_between_folders_are_acyclic() -> None:
    """The modules at the top, such as ``lora``, are in no folder: they import ``storage.tensors``,
    and ``storage.adapter`` imports them."""
    graph: dict[str, set[str]] = {}
    for name, imported in module_graph().items():
        for other in imported:
            folder, another = name.split(".")[1:-1], other.split(".")[1:-1]
            if folder and another and folder != another:
                graph.setdefault(folder[0], set()).add(another[0])
    tuple(TopologicalSorter(graph).static_order())


def test_init_files_of_folders_are_empty() -> None:
    for file in (ROOT / "minituner").glob("*/__init__.py"):
        assert file.read_text() == ""


def defined_names(path: Path) -> set[str]:
    """The functions and classes of a module or Snakefile, and the methods as ``Class.method``."""
    names, current = set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := re.match(r"(?:def|class) (\w+)", line):
            current = found[1]
            names.add(current)
        elif found := re.match(r"    def (\w+)", line):
            names.add(f"{current}.{found[1]}")
    return names


def walks() -> list[tuple[str, str]]:
    """The files that CONTRIBUTING.md's five walks lead to, and the names in them."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("**Five walks**")[2].partition("\n**")[0]
    found = re.findall(r"`([\w/]+\.(?:py|smk))`, `([\w.]+)`(?: and `(\w+)`)?", section)
    return [(file, name) for file, *names in found for name in names if name]


def test_contributing_has_five_walks() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("**Five walks**")[2].partition("\n**")[0]
    assert section.count("\n- ") == 5
    assert len(walks()) == 7


@pytest.mark.parametrize(("file", "name"), walks())
def test_walk_leads_to_a_function_that_exists(file: str, name: str) -> None:
    assert name in defined_names(ROOT / file)


LONGEST_MODULE, LONGEST_FUNCTION = 300, 50  # lines
TEXTBOOK = {"model": 150, "lora": 250}
CODE = sorted(
    file
    for part in ("minituner", "workflow_scripts", "benchmarks")
    for file in (ROOT / part).rglob("*.py")
)


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_modules_and_functions_are_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    longest = TEXTBOOK.get(file.stem, LONGEST_MODULE)
    first_comment = re.search(r"^#.*$", text, re.MULTILINE)
    excused = first_comment is not None and first_comment[0].startswith("# Over 300 lines: ")
    assert len(text.splitlines()) <= longest or excused
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_source_closure_holds_the_schema_of_a_module() -> None:
    assert "minituner/data/verbs.schema.yaml" in import_closure("workflow_scripts/filter.py", ROOT)
