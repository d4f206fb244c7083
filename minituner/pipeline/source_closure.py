"""The package's modules that a script imports, directly or through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = "minituner"
HOLDS_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)  # or is one; expressions do not


def import_closure(script: str | Path, root: str | Path = ".") -> list[str]:
    """``script``, every module of the package that running it can import, and their schemas.

    The source is parsed and not executed, so imports inside functions are included.

    Args:
        script: A Python file, relative to ``root``.
        root: The folder of the package.

    Returns:
        Paths relative to ``root``, sorted.
    """
    root = Path(root)
    found: set[str] = set()
    waiting = [str(script)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _direct_imports(root / path, root)
    schemas = {str(Path(path).with_suffix(".schema.yaml")) for path in found}
    return sorted(found | {schema for schema in schemas if (root / schema).is_file()})


@cache
def _direct_imports(path: Path, root: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in _executed(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = resolve_name("." * node.level + module, PACKAGE)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return tuple(
        str(file.relative_to(root))
        for name in sorted(names)
        if name.split(".")[0] == PACKAGE
        for file in _files_of(name, root)
    )


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """Every statement that may run, at any depth: all except imports for the type checker."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += (
            child
            for child in ast.iter_child_nodes(node)
            if isinstance(child, HOLDS_STATEMENTS) and not _is_for_the_type_checker(child)
        )


def _is_for_the_type_checker(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _files_of(module: str, root: Path) -> list[Path]:
    """The files that an import of ``module`` executes: its packages' and its own."""
    parts = module.split(".")
    packages = [root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    own = root.joinpath(*parts[:-1], f"{parts[-1]}.py")
    return [file for file in (*packages, own) if file.is_file()]
